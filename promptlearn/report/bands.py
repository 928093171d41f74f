"""Means with their 95 % intervals, from sums alone: quick enough to draw one for every prompt of a run.

What is decided and proven rests on `selection.stats`; this is for pictures.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

from promptlearn.store.request_rows import TotalRow

Z = 1.959963984540054
"""Of the normal distribution, two-sided 95 %."""


@dataclass(frozen=True, slots=True)
class Band:
    """A mean score and how far it can be trusted."""

    mean: float | None
    """None: nothing was judged. `low` and `high` are 0 and 1 then."""
    low: float
    high: float
    n: int
    """Rows with a score."""
    not_judged: int
    """Rows without one: failed, or not judged (invariant 4)."""


def band(row: TotalRow) -> Band:
    """Wilson (1927) for scores of 0 and 1, else mean ± 1.96 standard errors, cut to [0, 1]."""
    n, missing = row.scored, row.rollouts - row.scored
    if not n:
        return Band(None, 0.0, 1.0, 0, missing)
    mean = row.total / n
    if abs(row.total - row.squares) < 1e-9 * n:
        centre, half = _wilson(mean, n)
    else:
        centre, half = mean, Z * sqrt(max(0.0, row.squares / n - mean * mean) / max(1, n - 1))
    return Band(mean, max(0.0, centre - half), min(1.0, centre + half), n, missing)


def _wilson(share: float, n: int) -> tuple[float, float]:
    """Centre and half width of the score interval."""
    whole = 1 + Z * Z / n
    centre = (share + Z * Z / (2 * n)) / whole
    return centre, Z / whole * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
