"""Which values of a column are labels: few, and each one seen again and again. Knows values only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from promptlearn.records import Json

MOST = 50
ROWS_EACH = 2


def as_labels(values: Iterable[Json]) -> tuple[str, ...]:
    """The distinct values, the most frequent first; empty where they are no labels.

    Labels are strings: at least two and at most 50 distinct ones, with at least two rows each on average.
    """
    found = [value for value in values if value is not None]
    if not all(isinstance(value, str) for value in found):
        return ()
    counts = Counter(found)
    if not 2 <= len(counts) <= MOST or len(found) < ROWS_EACH * len(counts):
        return ()
    return tuple(sorted(counts, key=lambda value: (-counts[value], value)))
