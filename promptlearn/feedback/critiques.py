"""Which verdicts are critiques, and which critiques say the same.

Knows nothing about token budgets or quotes. Two critiques can only be alike where the same judge gave the same label.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptlearn.records import Example, Rollout, Verdict, as_text
from promptlearn.words import words_in

_WORD = re.compile(r"\w+")
_ALIKE = 0.5
"""Weighted word overlap from which two critiques count as one failure mode."""
_STOP_WORDS = frozenset(
    _WORD.findall(
        "a an and are as at be been but by did do does for from had has have he her his i if in into is it its me my "
        "no not of on or our she should so some such than that the their them then there these they this to was we "
        "were what when where which while who will with would you your"
    )
)


@dataclass(frozen=True, slots=True)
class JudgedRow:
    """One example, what the prompt made of it, and what the judges say."""

    example: Example
    rollout: Rollout
    verdicts: tuple[Verdict, ...]
    score: float | None = None
    """What all judges together gave it; None: not known."""


@dataclass(frozen=True, slots=True)
class Critique:
    """A verdict that found something wrong, with the row that it is about."""

    order: int
    """Position of the row."""
    row: JudgedRow
    verdict: Verdict
    cost: float
    """Its part in what the row lost."""


def critiques(rows: Sequence[JudgedRow]) -> list[Critique]:
    """The failing verdicts, in row order. What was not judged (`score=None`) is no evidence, and nobody learns
    from a gold judge.
    """
    return [critique for order, row in enumerate(rows) for critique in _of_row(order, row)]


def _of_row(order: int, row: JudgedRow) -> list[Critique]:
    """What the row lost is shared out to its critiques by what each judge found missing."""
    failing = [verdict for verdict in row.verdicts if _fails(verdict)]
    missing = [1 - (verdict.score or 0.0) for verdict in failing]
    lost = max(missing, default=0.0) if row.score is None else 1 - row.score
    total = math.fsum(missing)
    shares = [one / total if total else 1 / len(missing) for one in missing]
    return [Critique(order, row, verdict, lost * share) for verdict, share in zip(failing, shares, strict=True)]


def _fails(verdict: Verdict) -> bool:
    if verdict.score is None or verdict.gold:
        return False
    return verdict.score < 1 if verdict.passed is None else not verdict.passed


def clusters(found: Sequence[Critique]) -> list[list[Critique]]:
    """Critiques that say the same, together: by judge and label first, then greedily by the words they use.

    Deterministic: each critique, in order, joins the cluster whose first critique it is most like, or opens one.
    """
    groups: dict[tuple[str, str | None], list[Critique]] = {}
    for critique in found:
        groups.setdefault((critique.verdict.name, critique.verdict.label), []).append(critique)
    return [cluster for group in groups.values() for cluster in _by_words(group)]


def _by_words(group: Sequence[Critique]) -> list[list[Critique]]:
    words = [_own_words(critique) for critique in group]
    frequency = Counter(word for said in words for word in said)
    weights = {word: math.log(1 + len(group) / df) for word, df in frequency.items()}
    found: list[list[Critique]] = []
    leaders: list[frozenset[str]] = []
    for critique, said in zip(group, words, strict=True):
        scores = [_overlap(said, leader, weights) for leader in leaders]
        best = max(range(len(scores)), key=scores.__getitem__, default=None)
        if best is not None and scores[best] >= _ALIKE:
            found[best].append(critique)
        else:
            found.append([critique])
            leaders.append(said)
    return found


def _overlap(a: frozenset[str], b: frozenset[str], weights: Mapping[str, float]) -> float:
    """Jaccard overlap, in which a word counts more the fewer critiques of the group use it."""
    if a == b:
        return 1.0
    return math.fsum(weights[word] for word in sorted(a & b)) / math.fsum(weights[word] for word in sorted(a | b))


def _own_words(critique: Critique) -> frozenset[str]:
    """What the critique says beyond quoting the row: its words without those of input and output.

    What was expected stays: rows that miss the same answer belong together.
    """
    verdict, example = critique.verdict, critique.row.example
    said = _words(f"{verdict.explanation} {verdict.suggestion or ''}") - _STOP_WORDS
    quoted = _words(" ".join([*(as_text(value) for value in example.inputs.values()), critique.row.rollout.output]))
    expected = "" if example.expected is None else as_text(example.expected)
    return (said - (quoted - _words(expected))) or said


def _words(text: str) -> frozenset[str]:
    return frozenset(words_in(text.casefold()))
