"""The window: how many calls may be in flight, found by asking for more until the endpoint says 429.

Additive increase, multiplicative decrease (Chiu and Jain 1989), as TCP does it: slow start doubles the window with
every round of calls until the first refusal; then it grows by one per round. One burst of refusals shrinks it once
(NewReno, RFC 6582: only a call that was sent after the last cut can cause the next), starting from what was really in
flight (RFC 5681), by CUBIC's factor (RFC 9438). Only a window that is full grows, so it never claims what was not
tried. START is that of inspect_ai's adaptive connections. Knows no clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

START = 20.0
MOST = 1024.0
SHRINK = 0.7
PAUSE = 10.0
"""Seconds without growth after a failure on the server's side."""


@dataclass(slots=True)
class Window:
    limit: float = START
    """Calls that may be in flight; the whole part counts."""
    epoch: int = 0
    """How often it was cut."""
    _doubling: bool = True
    _grows_at: float = -inf
    _full_at: float = -inf

    def sent(self, flight: int, now: float) -> None:
        """A call was sent, and `flight` calls are in flight with it."""
        if flight >= int(self.limit):
            self._full_at = now

    def answered(self, sent_at: float, now: float) -> None:
        """A call was answered. It counts where the window was full while it was under way."""
        if self._full_at >= sent_at and now >= self._grows_at:
            self.limit = min(MOST, self.limit + (1 if self._doubling else 1 / self.limit))

    def refused(self, epoch: int, flight: int, now: float) -> None:
        """A call that was sent in `epoch`, when `flight` calls were in flight, got a 429."""
        self.pause(now)
        if epoch == self.epoch:
            self.epoch += 1
            self.limit = max(1.0, SHRINK * min(self.limit, flight))
            self._doubling = False

    def pause(self, now: float) -> None:
        """Stop growing for a while."""
        self._grows_at = now + PAUSE

    def restart(self) -> None:
        """The endpoint is back after an outage: begin carefully, and grow quickly."""
        self.limit = min(self.limit, START)
        self._doubling = True
        self._grows_at = -inf

    def calm(self, now: float) -> bool:
        """Whether nothing has gone wrong for a while."""
        return now >= self._grows_at
