"""The bucket: so many calls, or tokens, per minute, evenly.

A token bucket that holds a tenth of a second's worth (at least one call), so that no minute starts with a burst, and
is refilled slowly enough that no 60 seconds see more than the cap. Something larger than the bucket (a call's tokens)
goes when the bucket is full and leaves a debt, so there the cap holds within one call. What turns out not to have been
used is given back. Knows no clock of its own.
"""

from __future__ import annotations

from math import inf

BURST = 0.1
"""Seconds."""
_NOW = 1e-6
"""Seconds that are no waiting."""


class Bucket:
    """`per_minute=None` is no limit."""

    def __init__(self, per_minute: float | None = None) -> None:
        self._cap = inf
        self._size = inf
        self._rate = inf
        self._level = inf
        self._filled = -inf
        self._largest = 0.0
        self.lower(per_minute)

    def lower(self, per_minute: float | None) -> None:
        """Take on a cap, if it is lower than the present one."""
        if per_minute is not None and per_minute < self._cap:
            self._cap = per_minute
            self._size = max(1.0, per_minute / 60 * BURST)
            self._rate = (per_minute - self._size + 1) / 60
            self._level = min(self._level, self._size)

    def wait(self, amount: float, now: float) -> float:
        """Seconds until `amount` may be taken; 0: now."""
        if self._cap == inf:
            return 0.0
        self._fill(now)
        seconds = (min(amount, self._size) - self._level) / self._rate
        return seconds if seconds > _NOW else 0.0

    def take(self, amount: float) -> None:
        self._level -= amount
        self._largest = max(self._largest, amount)

    def give(self, amount: float, now: float) -> None:
        """Put back what was taken and not used; enough for one more, not for a burst."""
        self._fill(now)
        self._level = min(max(self._size, self._largest), self._level + amount)

    def _fill(self, now: float) -> None:
        if self._filled > -inf and self._cap < inf:
            filled = self._level + (now - self._filled) * self._rate
            self._level = max(self._level, min(self._size, filled))
        self._filled = now
