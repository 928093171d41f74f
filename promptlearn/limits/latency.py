"""What is slow for a model: a quantile of its latest latencies, for replies of about the same length.

Knows seconds and nothing of what is done about them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from statistics import median

ENOUGH = 20
"""Latencies below which nothing is called slow."""
PER_CALL = 4
KEPT = 200
LEAST = 1.5
"""Times the median; where all are equally slow, none is."""
FLOOR = 0.2
"""Seconds; what is faster is not slow, whatever the others do."""
REFRESH = 10
"""Latencies between two looks at the quantile."""


@dataclass(slots=True)
class _Recent:
    seconds: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    known: int = 0
    """Ever."""
    fresh: int = 0
    limits: dict[float, float] = field(default_factory=dict)


class Latencies:
    """Latencies by powers of two of `max_tokens`."""

    def __init__(self) -> None:
        self._recent: dict[int, _Recent] = {}

    def note(self, max_tokens: int, seconds: float) -> None:
        recent = self._recent.setdefault(max_tokens.bit_length(), _Recent())
        recent.seconds.append(seconds)
        recent.known += 1
        recent.fresh += 1
        if recent.fresh >= REFRESH:
            recent.fresh = 0
            recent.limits.clear()

    def slow(self, max_tokens: int, quantile: float, under_way: int = 0) -> float | None:
        """Seconds after which a call is slow; None where too few are known.

        Too few are also less than `PER_CALL` for each call under way: at first only the quick ones have answered.
        """
        recent = self._recent.get(max_tokens.bit_length())
        if recent is None or recent.known < max(ENOUGH, PER_CALL * under_way):
            return None
        if quantile not in recent.limits:
            ordered = sorted(recent.seconds)
            at = min(len(ordered) - 1, int(quantile * len(ordered)))
            recent.limits[quantile] = max(FLOOR, ordered[at], LEAST * median(ordered))
        return recent.limits[quantile]
