"""Two prompts on the same rows, of one run or of two: how far apart they are, pair by pair.

Examples are matched by id, which is the same for the same row in every run. A row without a score on one side is no
pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import Interval, Split
from promptlearn.report.names import locate

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class Paired:
    """The second prompt against the first."""

    n: int
    """Rows on which both have a score."""
    first: float
    """Mean score on these rows; so is `second`."""
    second: float
    difference: float
    """Mean of second minus first."""
    ci95: Interval
    p_value: float
    """Two-sided."""
    test: str
    """`mcnemar_exact` or `permutation`."""
    better: int
    worse: int


def paired(
    store: Store, first: tuple[str, str | int], second: tuple[str, str | int], split: Split = "test"
) -> Paired | None:
    """Compare (run, version) with (run, version) on one split; None where they share no judged row.

    Raises `UsageError` naming runs or versions.
    """
    from promptlearn.selection.stats import paired_test

    old, new = locate(store, *first), locate(store, *second)
    before, after = (store.views.scores(one.run, one.digest, split) for one in (old, new))
    rows = [id for id in sorted(before) if before[id] is not None and after.get(id) is not None]
    if not rows:
        return None
    was, now = ([float(scores[id] or 0.0) for id in rows] for scores in (before, after))
    test = paired_test(now, was)
    return Paired(
        n=len(rows),
        first=sum(was) / len(rows),
        second=sum(now) / len(rows),
        difference=test.difference,
        ci95=test.ci95,
        p_value=test.p_value,
        test=test.test,
        better=sum(b > a for a, b in zip(was, now, strict=True)),
        worse=sum(b < a for a, b in zip(was, now, strict=True)),
    )
