"""Reads rules that say by number what they were made from: `<rule from="1, 3">…</rule>`.

Knows the tagged lines of a reply and the statements that were shown; asks no model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from promptlearn.errors import ModelError
from promptlearn.proposing.wording import as_rule, normalised
from promptlearn.records import Rule
from promptlearn.words import count_words, is_spaceless, words_in

_LEAST_WORDS = 3
_TELLING = 4
"""Letters of a word from which it says something."""
_RULE = re.compile(r"<rule\s+from\s*=?\s*[\"']?([^\"'>]*)[\"']?\s*>(.*?)</rule\s*>", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(r"<rule\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_TEMPLATE_WORDS = normalised("the text of the rule")


@dataclass(frozen=True, slots=True)
class Statement:
    """What was shown under a number, and where it is from."""

    text: str
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """A rule of the reply, and the statements that it names, counted from 0."""

    rule: Rule
    of: tuple[int, ...]


def read_numbered(reply: str, shown: Sequence[Statement], variables: frozenset[str], noun: str) -> list[Made]:
    """The rules of a reply; `noun` is what the template calls a statement. Raises `ModelError("unparseable", …)`."""
    found = _RULE.findall(reply)
    if len(_OPENED.findall(reply)) > len(found):
        raise ModelError("unparseable", 'a <rule> is not closed or has no numbers; write <rule from="1, 2">…</rule>')
    if not found:
        raise ModelError("unparseable", "the reply has no <rule> line; reply with such lines only")
    return [_made(numbers, as_rule(text, variables), shown, noun) for numbers, text in found]


def _made(numbers: str, text: str, shown: Sequence[Statement], noun: str) -> Made:
    said = [int(number) for number in _NUMBER.findall(numbers)]
    if not said or any(number not in range(1, len(shown) + 1) for number in said):
        raise ModelError("unparseable", f"from={numbers!r} names no {noun}; the {noun}s are 1 to {len(shown)}")
    if count_words(text) < _LEAST_WORDS or normalised(text) == _TEMPLATE_WORDS:
        raise ModelError("unparseable", f"{text[:60]!r} is no rule; write what the assistant must do")
    of = tuple(dict.fromkeys(number - 1 for number in said))
    if not _telling(text) & {word for at in of for word in _telling(shown[at].text)}:
        raise ModelError("unparseable", f"{text[:60]!r} says nothing that the {noun}s {numbers} say")
    return Made(Rule(text, tuple(dict.fromkeys(name for at in of for name in shown[at].sources))), of)


def _telling(text: str) -> set[str]:
    return {word for word in words_in(normalised(text)) if len(word) >= _TELLING or is_spaceless(word)}
