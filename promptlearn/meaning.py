"""What a rule is about and what it says of it, taken apart by code; and how alike two subjects are.

Two wordings have the same subject where the cosine of their TF-IDF weighted character n-grams (3 to 5, within words) is
high enough, once everything is taken out that decides *what* is said of it: negations, numbers, opposites such as lower
and upper, and what stands in quotes or back-ticks. The same subject with the same values and polarity is the same
statement; with others it is a contradiction. Knows words; not who said them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

ALIKE = 0.5
"""Cosine from which two wordings have the same subject."""
_FEWEST = 2
"""Words of a subject below which its values are part of it: `use `x`` and `use `y`` share no subject."""

QUOTES = re.compile(r"`[^`\n]+`|\"[^\"\n]+\"|“[^”\n]+”|‘[^’\n]+’|«[^»\n]+»|(?<!\w)'[^'\n]+'(?!\w)")
"""What stands in back-ticks or quotation marks."""
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")
_SPELLED: Mapping[str, str] = {
    name: str(value)
    for value, name in enumerate(_WORD.findall("zero one two three four five six seven eight nine ten eleven twelve"))
}
_NOT = re.compile(
    r"\b(?:not|never|no|none|nothing|nobody|without|avoid|stop|don'?t|doesn'?t|mustn'?t|shouldn'?t|won'?t|can'?t|cannot"
    r"|refrain from|forbidden|omit|leave out|exclude|skip|remove|hide|refuse)\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"(?:,\s*(?:and\s+)?(?:not|never)\s+|\b(?:instead of|rather than)\s+|(?<=\w)\s+over\s+(?=long|short))"
    r"(?P<other>[^,.;:]*)",
    re.IGNORECASE,
)
_POLES: Mapping[str, tuple[str, str]] = {
    word: (axis, pole)
    for axis, poles in {
        "case": ("lower lowercase small", "upper uppercase capital capitals"),
        "length": ("short shorter brief concise", "long longer detailed verbose"),
        "formality": ("formal", "informal casual"),
        "bound": ("most fewer less under maximum", "least more minimum"),
        "number": ("singular", "plural"),
        "order": ("before first start begin open", "after last end close"),
        "place": ("above", "below"),
        "units": ("metric", "imperial"),
        "voice": ("active", "passive"),
    }.items()
    for pole in poles
    for word in pole.split()
}
"""Word → what it measures, and which end of it."""
_EMPTY = frozenset(
    _WORD.findall(
        "a an and any are as at be been by do does every everything all each for from had has have in into is it its "
        "of on or our so that the their them then there these they this those to was we were what when where which who "
        "will with you your always ever must should shall please make sure if only just even also whatever whenever "
        "people somebody someone customer customers user users use used add include mention show say label go goes "
        "belong belongs name per answer answers reply replies about question questions mail mails message messages"
    )
)
"""Words that tell no subject from another."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """A rule taken apart."""

    subject: str
    """Its content words."""
    values: frozenset[str]
    """Quoted texts and numbers that it asserts."""
    others: frozenset[str]
    """Quoted texts, numbers and words that it sets aside: `not `x``, `instead of y`."""
    poles: Mapping[str, str] = field(default_factory=dict)
    """What it measures → which end of it."""
    negative: bool = False


def meaning(text: str) -> Meaning:
    """A rule taken apart; see the module."""
    others: set[str] = set()
    for contrast in _CONTRAST.finditer(text):
        others |= _values(contrast["other"]) or set(_content(contrast["other"]))
    plain = _CONTRAST.sub(" ", text)
    values, bare = _values(plain), unquoted(plain)
    content = _content(bare)
    poles = dict(_POLES[word] for word in content if word in _POLES)
    subject = [word for word in content if word not in _POLES]
    if len(subject) < _FEWEST:
        subject += sorted(values) + sorted(poles)
    subject = subject or [word.casefold() for word in _WORD.findall(bare)]
    return Meaning(" ".join(subject), frozenset(values), frozenset(others), poles, len(_NOT.findall(bare)) % 2 == 1)


def relate(one: Meaning, other: Meaning, alike: float) -> Literal["same", "opposite", "different"]:
    """How two rules stand to each other whose subjects are so much alike."""
    if alike < ALIKE:
        return "different"
    swapped = one.values & other.others or other.values & one.others
    apart = one.values and other.values and one.values.isdisjoint(other.values)
    ends = any(pole != other.poles.get(axis, pole) for axis, pole in one.poles.items())
    return "opposite" if swapped or apart or ends or one.negative != other.negative else "same"


def says_same(one: Meaning, other: Meaning) -> bool:
    """Whether two rules on the same subject also name the same, and are both for it or against it."""
    return one.values == other.values and one.poles == other.poles and one.negative == other.negative


def quoted(text: str) -> list[str]:
    """What stands in back-ticks or quotation marks, without them, in order."""
    return [match[0][1:-1] for match in QUOTES.finditer(text)]


def unquoted(text: str) -> str:
    """`text` with a blank in the place of everything that stands in back-ticks or quotation marks."""
    return QUOTES.sub(" ", text)


def likeness(subjects: Sequence[str], least: float) -> list[dict[int, float]]:
    """For each subject the others that are at least so much alike, with their cosine (0 to 1)."""
    near: list[dict[int, float]] = [{} for _ in subjects]
    if len(subjects) < 2:
        return near
    import numpy as np
    from scipy import sparse

    grams = [_grams(subject) for subject in subjects]
    columns = {gram: at for at, gram in enumerate(sorted({gram for own in grams for gram in own}))}
    rows = [at for at, own in enumerate(grams) for _ in own]
    counts = sparse.csr_array(
        (np.ones(len(rows)), (rows, [columns[gram] for own in grams for gram in own])), (len(subjects), len(columns))
    )
    frequency = np.bincount(counts.indices, minlength=len(columns))
    weighted = counts.multiply(1 + np.log((1 + len(subjects)) / (1 + frequency))).tocsr()
    lengths = np.sqrt(weighted.multiply(weighted).sum(axis=1))
    unit = weighted.multiply(1 / np.where(lengths > 0, lengths, 1)[:, None]).tocsr()
    for start in range(0, len(subjects), _CHUNK):
        block = (unit[start : start + _CHUNK] @ unit.T).tocoo()
        for row, column, value in zip(block.row.tolist(), block.col.tolist(), block.data.tolist(), strict=True):
            if value >= least and start + row != column:
                near[start + row][column] = round(value, 9)
    return [dict(sorted(found.items())) for found in near]


_CHUNK = 1000
_SIZES = range(3, 6)


def _grams(subject: str) -> list[str]:
    """Each character n-gram of each word once; word boundaries count as characters."""
    found: dict[str, None] = {}
    for word in subject.split():
        marked = f" {word} "
        for size in _SIZES:
            found.update(dict.fromkeys(marked[at : at + size] for at in range(len(marked) - size + 1)))
    return list(found)


def _content(text: str) -> list[str]:
    words = (word.casefold().removesuffix("'s").removesuffix("’s") for word in _WORD.findall(_NOT.sub(" ", text)))
    return [word for word in words if word not in _EMPTY and word not in _SPELLED]


def _values(text: str) -> set[str]:
    bare = unquoted(text).casefold()
    spelled = {_SPELLED[word] for word in _WORD.findall(bare) if word in _SPELLED}
    return {" ".join(value.casefold().split()) for value in quoted(text)} | set(_NUMBER.findall(bare)) | spelled
