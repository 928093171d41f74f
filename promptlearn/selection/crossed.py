"""Statistics of ways to learn, tried with several seeds on the same examples: scores crossed by seed and example.

Pure functions of scores in [0, 1], None where a row was not judged (invariant 4); knows nothing about what was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from promptlearn.records import Interval
from promptlearn.selection.stats import RESAMPLES, mean_interval, paired_test

Scores: TypeAlias = Sequence[Sequence[float | None]]
"""One row per seed, one column per example."""
Floats: TypeAlias = NDArray[np.float64]

_BLOCK = 256
"""Resamples at a time, so that memory does not grow with them."""


@dataclass(frozen=True, slots=True)
class Mean:
    """What one way to learn scores."""

    score: float | None
    """Mean over examples of their means over seeds; None without a judged row."""
    n: int
    """Examples that were judged with at least one seed."""
    errors: int
    """Rows that were not judged, over all seeds."""
    ci95: Interval
    by_seed: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Gap:
    """The second way minus the first, on the same examples."""

    difference: float
    ci95: Interval
    p_value: float
    """Two-sided."""
    test: str
    """`mcnemar_exact` or `permutation`."""
    n: int
    """Examples on which both have a score."""
    by_seed: tuple[float | None, ...]
    higher: int
    """Examples on which the second scores more, in the mean over seeds."""
    lower: int
    """Examples on which it scores less; with many of both, each way is good at something else."""


def crossed_mean(scores: Scores) -> Mean:
    """Mean with its 95 % interval: over examples alone where every seed scores the same, else pigeonhole bootstrap."""
    table = _table(scores)
    means = _columns(table)
    by_seed = tuple(_mean(row) for row in table)
    errors = int(np.isnan(table).sum())
    if not len(means):
        return Mean(None, 0, errors, Interval(0.0, 1.0), by_seed)
    interval = mean_interval([float(one) for one in means]) if _alike(table) else _pigeonhole(table)
    return Mean(float(means.mean()), len(means), errors, interval, by_seed)


def crossed_gap(first: Scores, second: Scores) -> Gap:
    """Compare two ways pair by pair: row s of both comes from seed s, column i from example i.

    The test is `paired_test` on each example's mean over seeds. It has to hold as well when each row that only the
    winner failed on counts as lost, so that nobody wins by failing where it is hard: the larger of the two p-values
    counts. The interval resamples seeds and examples (`_pigeonhole`), because another seed would have learned
    something else; where all seeds are alike it is that of `paired_test`.
    """
    a, b = _table(first), _table(second)
    if a.shape != b.shape:
        raise ValueError(f"scores of shape {a.shape} and {b.shape} are not pairs")
    gaps = b - a
    judged = ~np.isnan(gaps).all(axis=0)
    both = ~np.isnan(gaps)
    first_means, second_means = _means(a, both)[judged], _means(b, both)[judged]
    plain = paired_test(second_means.tolist(), first_means.tolist())
    p_value = max(plain.p_value, _worst_p(a, b, plain.difference))
    interval = plain.ci95 if _alike(gaps) else _pigeonhole(gaps)
    by_seed = tuple(_mean(row) for row in gaps)
    higher, lower = int((second_means > first_means).sum()), int((second_means < first_means).sum())
    return Gap(plain.difference, interval, p_value, plain.test, plain.n, by_seed, higher, lower)


def _worst_p(a: Floats, b: Floats, difference: float) -> float:
    """p-value with the winner's own failures as lost rows; 1 where nobody wins then."""
    if not difference:
        return 1.0
    winner, loser = (b, a) if difference > 0 else (a, b)
    counted = ~np.isnan(loser)
    filled = np.nan_to_num(winner)
    judged = counted.any(axis=0)
    tested = paired_test(_means(filled, counted)[judged].tolist(), _means(loser, counted)[judged].tolist())
    return tested.p_value if tested.difference > 0 else 1.0


def _table(scores: Scores) -> Floats:
    return np.array([[np.nan if one is None else one for one in row] for row in scores], dtype=float)


def _means(table: Floats, counted: NDArray[np.bool_]) -> Floats:
    """Mean of each column over the rows that are counted; 0 where none is."""
    sums = np.where(counted, np.nan_to_num(table), 0.0).sum(axis=0)
    means: Floats = (sums / np.maximum(counted.sum(axis=0), 1)).round(12)
    return means


def _columns(table: Floats) -> Floats:
    """Mean of each column that has a number at all."""
    known = ~np.isnan(table)
    return _means(table, known)[known.any(axis=0)]


def _mean(row: Floats) -> float | None:
    known = row[~np.isnan(row)]
    return float(known.mean().round(12)) if len(known) else None


def _alike(table: Floats) -> bool:
    """Whether seeds make no difference, or nothing does: then there is no variance to resample."""
    known = table[~np.isnan(table)]
    return bool(np.array_equal(table, np.broadcast_to(table[:1], table.shape), equal_nan=True)) or not np.ptp(known)


def _pigeonhole(table: Floats) -> Interval:
    """95 % percentile interval of a mean over rows and columns that are both drawn with replacement.

    Owen 2007, "The pigeonhole bootstrap", Annals of Applied Statistics 1:386: for crossed random effects its variance
    is right or a little too large. With three seeds nobody knows much about the next one, and neither does this.
    """
    rng = np.random.default_rng(0)
    seeds, n = table.shape
    filled, known = np.nan_to_num(table), (~np.isnan(table)).astype(float)
    means: list[Floats] = []
    for start in range(0, RESAMPLES, _BLOCK):
        size = min(_BLOCK, RESAMPLES - start)
        rows = rng.multinomial(seeds, [1 / seeds] * seeds, size=size).astype(float)
        columns = rng.multinomial(n, [1 / n] * n, size=size).astype(float)
        sums = ((rows @ filled) * columns).sum(axis=1)
        counts = ((rows @ known) * columns).sum(axis=1)
        means.append(sums[counts > 0] / counts[counts > 0])
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return Interval(float(low), float(high))
