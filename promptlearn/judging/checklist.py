"""Criteria one by one: how they are asked for, and how a reply about them is read.

Pure functions of texts. Every criterion gets exactly one verdict and the words that show it: a missing, doubled or
unknown criterion, and a quote that stands nowhere in what was shown, make the reply unreadable. None of them is ever a
zero (invariant 4).

What meets a criterion was written or done: the question's words do not show it, nor does one letter of an answer. A
criterion that something is absent is met by any words from where it could stand.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from promptlearn.errors import ModelError
from promptlearn.judging.excerpt import listing, quote
from promptlearn.models.structured import Field
from promptlearn.records import CriterionVerdict, Json
from promptlearn.template import unbroken

_NAME = r"[A-Za-z]\w*(?:-+\w+)*"
"""What a criterion may be called."""
_LINE = re.compile(
    r"\W*(?P<name>\w+(?:-+\w+)*)(?=[^\w:|-]*[:|-])\W++(?P<word>met|unmet|not[ _]met)\b"
    r"\W*?(?:[:|-]\s*(?P<quote>.*))?\Z",
    re.I,
)
"""No two of its parts can share a run of dashes: a reply's long rule would be tried in every way there is."""
_MARKS = "\"'“”‘’«»`"
_LEAST = 2
"""Letters or digits of a quote that shows something."""
_EDGE = r"(?:(?<![a-z0-9])|(?![a-z0-9]))"
"""Not inside of a word. Scripts that have no spaces have none of these either."""
_HOW = (
    "quote whole words of what was written or done, not of what was asked; where something has to be absent, those "
    "that come nearest to it"
)
_NOTHING = frozenset({"", "none", "nothing", "n/a", "-"})


def check_names(names: Sequence[str]) -> None:
    """Raises `ValueError` for criteria whose lines in a reply could not be read, or not be told apart."""
    for name in names:
        if re.fullmatch(_NAME, name) is None:
            raise ValueError(f"a criterion is called by one word, such as names_the_price, not {name!r}")
    folded = [name.casefold() for name in names]
    double = [name for name in names if folded.count(name.casefold()) > 1]
    if double:
        raise ValueError(f"the criteria {double[0]!r} and {double[1]!r} differ in case only")


def checks_field(names: Sequence[str]) -> Field:
    """What the model is asked for."""
    return Field(
        "checks",
        "string",
        f"one line for each of {', '.join(names)}, in the form `NAME: met: 'QUOTE'` or `NAME: unmet: 'QUOTE'`; QUOTE "
        "is copied word for word from what you were shown; for unmet it may be `nothing`",
    )


def all_met(names: Sequence[str], words: str) -> str:
    """The reply to `checks_field` that says of every criterion that it is met by `words`."""
    return "\n".join(f"{name}: met: '{words}'" for name in names)


def as_list(criteria: Mapping[str, str]) -> str:
    """The criteria as a judge reads them."""
    return "\n".join(f"- {name}: {text}" for name, text in criteria.items())


def read_checks(
    raw: Json, criteria: Mapping[str, str], done: Sequence[str], given: Sequence[str]
) -> tuple[CriterionVerdict, ...]:
    """One verdict per criterion, in their order. Raises `ModelError("unparseable")` that says what is wrong.

    `done` is what the judge was shown of what is under judgement, `given` the rest. Quotes are looked for in them
    whatever their case and white space, as the texts are and as they stand in a fence.
    """
    done, given = [*map(_folded, done)], [*map(_folded, given)]
    by_fold = {name.casefold(): name for name in criteria}
    found: dict[str, CriterionVerdict] = {}
    for line in as_lines(raw):
        match = _LINE.match(line)
        if match is None:
            raise _unreadable(f'the line {quote(line)} is not `NAME: met: "QUOTE"` or `NAME: unmet: "QUOTE"`')
        name = by_fold.get(match["name"].casefold())
        if name is None:
            raise _unreadable(f"{match['name']!r} is no criterion; they are {listing([*criteria])}")
        if name in found:
            raise _unreadable(f"the criterion {name} stands twice; give each one verdict")
        found[name] = _verdict(name, match["word"].casefold() == "met", match["quote"] or "", done, given)
    missing = [name for name in criteria if name not in found]
    if missing:
        raise _unreadable(f"the criterion {missing[0]} has no verdict; give a line for each of {listing([*criteria])}")
    return tuple(found[name] for name in criteria)


def share_met(checks: Sequence[CriterionVerdict]) -> float:
    return sum(check.met for check in checks) / len(checks)


def label_of(checks: Sequence[CriterionVerdict]) -> str:
    """What critiques are grouped by: which criteria are not met."""
    unmet = [check.name for check in checks if not check.met]
    return f"unmet: {', '.join(unmet)}" if unmet else "all met"


def unmet_words(checks: Sequence[CriterionVerdict], criteria: Mapping[str, str]) -> str:
    """What an explanation says of the criteria that are not met, behind its own words."""
    said = [
        f"\nNot met: {check.name} ({criteria[check.name].strip()}){f': {quote(check.quote)}' if check.quote else ''}"
        for check in checks
        if not check.met
    ]
    return "".join(said)


def as_lines(raw: Json) -> list[str]:
    """The lines of a reply's part, also where a model gave a list of lines in JSON."""
    text = raw if isinstance(raw, str) else ""
    if text.lstrip().startswith("["):
        try:
            listed = json.loads(text)
        except ValueError:
            listed = None
        if isinstance(listed, list) and all(isinstance(line, str) for line in listed):
            text = "\n".join(listed)
    return [line.strip() for line in text.splitlines() if line.strip()]


def _verdict(name: str, met: bool, said: str, done: Sequence[str], given: Sequence[str]) -> CriterionVerdict:
    words = said.strip().strip(_MARKS).strip()
    if words.casefold() in _NOTHING:
        if met and any(done):
            raise _unreadable(f"the criterion {name} is met by nothing: {_HOW}")
        return CriterionVerdict(name, met, "")
    copies = (words, unbroken(words))
    for copied in copies:
        folded = _folded(copied)
        if any(_shows(folded, text) for text in done) if met else any(folded in text for text in (*done, *given)):
            return CriterionVerdict(name, met, copied)
    if any(_folded(copied) in text for copied in copies for text in (*done, *given)):
        raise _unreadable(f"the quote {quote(words)} does not show that {name} is met: {_HOW}")
    raise _unreadable(f"the quote {quote(words)} for {name} stands nowhere in what you were shown; copy it exactly")


def _shows(words: str, text: str) -> bool:
    """Whether `words` are all of `text`, several words of it, or a whole one that is more than a letter."""
    if words == text:
        return True
    if sum(map(str.isalnum, words)) < _LEAST:
        return False
    return words in text if " " in words else bool(re.search(f"{_EDGE}{re.escape(words)}{_EDGE}", text))


def _folded(text: str) -> str:
    return " ".join(text.casefold().split())


def _unreadable(message: str) -> ModelError:
    return ModelError("unparseable", message)
