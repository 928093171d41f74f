"""Joins two prompts as version control joins two branches: what only one of them changed since `base` is taken over.

Knows prompts and their rules; asks no model and knows no score. Of rules that say the same the shorter one stays, with
the sources of both (invariant 11). Where both changed the same thing, or contradict each other, the first one's side
stands, and the conflict is told.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from promptlearn.contract import violations
from promptlearn.meaning import Meaning, likeness, meaning, says_same
from promptlearn.proposing.wording import normalised, says
from promptlearn.records import Demonstration, Prompt, Rule, as_text

T = TypeVar("T")

_ALIKE = 0.8
"""Cosine of two subjects from which two rules may say the same, or contradict each other."""
_SHOWN = 60


@dataclass(frozen=True, slots=True)
class Joined:
    """Two prompts in one."""

    prompt: Prompt
    conflicts: tuple[str, ...] = ()
    """What both changed in their own way, in words; empty for a clean join."""
    rewritten: bool = False
    """Both wrote the text anew, and the second one's text is not in it."""


def join(first: Prompt, second: Prompt, base: Prompt) -> Joined:
    """Both prompts in one that keeps the first one's contract; `base` is what both were made from.

    What the contract has no room for is left out: demonstrations and rules of the second, the last ones first.
    """
    text, texts_differ = _merged(first.text, second.text, base.text)
    rules, contradictions = _rules(first, second, base, text, texts_differ)
    shown, demos_differ = _demonstrations(first, second, base)
    conflicts = ["the text, which both wrote anew"] if texts_differ else []
    conflicts += ["the demonstrations, which both chose anew"] if demos_differ else []
    prompt = _fitting(replace(first.with_text(text), rules=tuple(rules), demonstrations=shown), first)
    return Joined(prompt, (*conflicts, *contradictions), texts_differ)


def _merged(first: T, second: T, base: T) -> tuple[T, bool]:
    """The side that changed something; the first, and that it is a conflict, where both did."""
    if first in (second, base):
        return second, False
    return first, second != base


def _rules(first: Prompt, second: Prompt, base: Prompt, text: str, texts_differ: bool) -> tuple[list[Rule], list[str]]:
    mine, theirs, old = (_by_wording(prompt) for prompt in (first, second, base))
    # A rewrite takes its rules into its text; where that text is left out, they must not go.
    gone = set() if texts_differ else old.keys() - theirs.keys()
    kept = [_from_both(rule, theirs.get(key)) for key, rule in mine.items() if key not in gone]
    new = [rule for key, rule in theirs.items() if key not in mine and key not in old and not says(text, rule.text)]
    return _united(kept, new)


def _by_wording(prompt: Prompt) -> dict[str, Rule]:
    return {f"{rule.part}\n{normalised(rule.text)}": rule for rule in prompt.rules}


def _from_both(rule: Rule, other: Rule | None) -> Rule:
    if other is None:
        return rule
    return replace(rule, sources=tuple(dict.fromkeys(rule.sources + other.sources)), effect=rule.effect or other.effect)


def _united(kept: Sequence[Rule], new: Sequence[Rule]) -> tuple[list[Rule], list[str]]:
    """Both lists in one, without what contradicts the first; and what does."""
    if not new:
        return list(kept), []
    meanings = [meaning(rule.text) for rule in (*kept, *new)]
    near = likeness([one.subject for one in meanings], _ALIKE)
    rules, conflicts = list(kept), list[str]()
    for at, rule in enumerate(new, len(kept)):
        alike = [other for other in near[at] if other < len(kept) and kept[other].part == rule.part]
        if same := [other for other in alike if says_same(meanings[other], meanings[at])]:
            rules[same[0]] = _shorter(rules[same[0]], rule)
        elif against := [other for other in alike if _contradict(meanings[other], meanings[at])]:
            conflicts.append(f"“{_short(kept[against[0]].text)}” against “{_short(rule.text)}”")
        else:
            rules.append(rule)
    return rules, conflicts


def _contradict(one: Meaning, other: Meaning) -> bool:
    """The opposite of the same, or another value for what shares a value; values alone differ from case to case."""
    if one.values == other.values:
        return True
    return bool(one.values & other.values or one.values & other.others or other.values & one.others)


def _shorter(one: Rule, other: Rule) -> Rule:
    text = min((one.text, other.text), key=len)
    return Rule(text, tuple(dict.fromkeys(one.sources + other.sources)), part=one.part)


def _demonstrations(first: Prompt, second: Prompt, base: Prompt) -> tuple[tuple[Demonstration, ...], bool]:
    mine, theirs, old = (_by_content(prompt) for prompt in (first, second, base))
    keys, differ = _merged(list(mine), list(theirs), list(old))
    if differ:
        keys = [*mine, *(key for key in theirs if key not in mine)]
    return tuple(mine.get(key) or theirs[key] for key in keys), differ


def _by_content(prompt: Prompt) -> Mapping[str, Demonstration]:
    return {
        "\n".join([*(f"{name}: {as_text(value)}" for name, value in demo.inputs.items()), demo.output]): demo
        for demo in prompt.demonstrations
    }


def _fitting(prompt: Prompt, first: Prompt) -> Prompt:
    """The prompt without what its contract has no room for."""
    while prompt.demonstrations[len(first.demonstrations) :] and violations(prompt, first):
        prompt = replace(prompt, demonstrations=prompt.demonstrations[:-1])
    while prompt.rules[len(first.rules) :] and violations(prompt, first):
        prompt = replace(prompt, rules=prompt.rules[:-1])
    return prompt


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"
