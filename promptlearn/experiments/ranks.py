"""Which of several prompts is better, and how sure that is: paired tests of all against all, and intervals of ranks.

Pure functions of scores on the same rows. For every ordered pair the one-sided hypothesis "the first is no better than
the second" is tested on the paired differences; Holm's step-down procedure (1979) holds the chance of a single false
rejection among all of them at `LEVEL`. A prompt's rank lies, for all prompts together with 95 % confidence, between

    1 + number of prompts that are shown to be better     and     n - number of prompts that are shown to be worse

(Mogstad, Romano, Shaikh and Wilhelm 2024, "Inference for ranks", Review of Economic Studies 91:476). Prompts that
nobody can tell apart share an interval.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import exp

import numpy as np
from numpy.typing import NDArray

from promptlearn.records import Json
from promptlearn.selection.stats import holm, mcnemar

LEVEL = 0.05
MOST = 200
"""Prompts that are compared; their pairs grow with the square."""
FLIPS = 9999
"""Random sign changes of a permutation test."""
_BLOCK = 256
"""Rows whose signs are drawn at a time, so that memory does not grow with them."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Place:
    """Between which ranks a prompt is; 1 is the best."""

    low: int
    high: int
    of: int
    """Prompts compared."""

    def __str__(self) -> str:
        return (f"{self.low}" if self.low == self.high else f"{self.low}–{self.high}") + f" of {self.of}"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two prompts on the rows on which both were judged."""

    first: str
    second: str
    difference: float | None
    """Mean of first minus second; None without a common row."""
    n: int
    p_value: float
    """One-sided, of the one that did better."""
    adjusted: float
    """After Holm's correction; at most `LEVEL`: one is shown to be better."""

    @property
    def better(self) -> str | None:
        if self.adjusted > LEVEL or not self.difference:
            return None
        return self.first if self.difference > 0 else self.second

    def to_json(self) -> dict[str, Json]:
        return {
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "n": self.n,
            "p_value": self.p_value,
            "p_adjusted": self.adjusted,
            "better": self.better,
        }


@dataclass(frozen=True, slots=True)
class Ranking:
    """Prompts that were compared on the same rows."""

    places: Mapping[str, Place]
    comparisons: tuple[Comparison, ...]


def rank(scores: Mapping[str, Sequence[float | None]]) -> Ranking:
    """Compare all prompts: name → score on each row, the rows in one order; None where it was not judged.

    Rows on which one of two has no score are not in their difference. The tests are stricter: a row that only the other
    failed on is left out, and one that only the prompt itself failed on counts as lost, so that nobody wins by failing
    where it is hard.
    """
    names = list(scores)
    table = np.array([[np.nan if one is None else one for one in scores[name]] for name in names], dtype=float)
    p_values = _p_values(table) if len(names) > 1 else {}
    adjusted = _holm(p_values)
    better = {pair for pair, p in adjusted.items() if p <= LEVEL}
    size = len(names)
    places = {
        name: Place(
            1 + sum((other, at) in better for other in range(size)),
            size - sum((at, other) in better for other in range(size)),
            size,
        )
        for at, name in enumerate(names)
    }
    return Ranking(places, tuple(_comparison(names, table, p_values, adjusted)))


def _comparison(
    names: Sequence[str],
    table: Floats,
    p_values: Mapping[tuple[int, int], float],
    adjusted: Mapping[tuple[int, int], float],
) -> list[Comparison]:
    found = []
    for first, second in p_values:
        if first < second:
            common = table[first] - table[second]
            common = common[~np.isnan(common)]
            difference = float(common.mean().round(12)) if len(common) else None
            pair = (second, first) if difference is not None and difference < 0 else (first, second)
            found.append(
                Comparison(names[first], names[second], difference, len(common), p_values[pair], adjusted[pair])
            )
    return found


def _holm(p_values: Mapping[tuple[int, int], float]) -> dict[tuple[int, int], float]:
    ordered = sorted(p_values)
    return dict(zip(ordered, holm([p_values[pair] for pair in ordered]), strict=True))


def _p_values(table: Floats) -> dict[tuple[int, int], float]:
    """Row numbers of a table (prompts, examples) → p-value of "the first is no better than the second"."""
    scores = np.nan_to_num(table)
    flipped = _flipped_sums(scores)
    found = {}
    for second, judged in enumerate(~np.isnan(table)):
        sums = flipped if judged.all() else _flipped_sums(scores * judged)
        for first in range(len(table)):
            if first != second:
                differences = scores[first] * judged - scores[second]
                found[first, second] = _p_value(differences, sums[first] - flipped[second])
    return found


def _p_value(differences: Floats, flipped: Floats) -> float:
    """One-sided p-value of a mean difference of at most 0, by changing the signs of the differences.

    Differences of -1, 0 and 1: exact McNemar test. Others: `FLIPS` random sign changes; below what these can tell,
    Hoeffding's bound for such sums (1963), exp(-s²/2Σd²). `flipped` are the sums under random signs.
    """
    differences = differences.round(12)
    total = float(differences.sum())
    if total <= 0:
        return 1.0
    if np.isin(differences, (-1.0, 0.0, 1.0)).all():
        return mcnemar(int((differences > 0).sum()), int((differences < 0).sum())) / 2
    bound = exp(-(total**2) / (2 * float((differences**2).sum())))
    if bound < 1 / (FLIPS + 1):
        return bound
    return (1 + int((flipped >= total - 1e-9).sum())) / (FLIPS + 1)


def _flipped_sums(rows: Floats) -> Floats:
    """Sums of each row under the same `FLIPS` random sign changes: (prompts, FLIPS). Differences of rows have those of
    their sums, so that one draw serves every pair.
    """
    rng = np.random.default_rng(0)
    sums = np.zeros((len(rows), FLIPS))
    for start in range(0, rows.shape[1], _BLOCK):
        block = rows[:, start : start + _BLOCK]
        signs = rng.integers(0, 2, size=(block.shape[1], FLIPS), dtype=np.int8) * 2.0 - 1.0
        sums += block @ signs
    return sums
