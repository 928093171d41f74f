"""DeviceTime: the seconds in which a run's device was at work, however many wanted it at once.

Learner and sampler take turns at the weights, so where samples are drawn ahead one of them often waits for the other:
added up, their own seconds would count such time twice. Knows a clock; not what the work is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class DeviceTime:
    """The union of all intervals of work. Intervals begin and end on one event loop."""

    def __init__(self, before: float = 0.0) -> None:
        """`before` is what earlier stretches of the run took."""
        self._ended = before
        self._working = 0
        self._since = 0.0

    @property
    def seconds(self) -> float:
        """Up to now, what is under way included."""
        return self._ended + (time.monotonic() - self._since if self._working else 0.0)

    def add(self, seconds: float) -> None:
        """Count work that somebody else has measured, and that nothing overlapped."""
        self._ended += seconds

    @contextmanager
    def at_work(self) -> Iterator[None]:
        if not self._working:
            self._since = time.monotonic()
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1
            if not self._working:
                self._ended += time.monotonic() - self._since
