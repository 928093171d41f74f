"""Waiting: in slices that notice a wish to stop, and through outages of the endpoint.

Knows time and failures; knows nothing of what is waited for.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from promptlearn.errors import Interrupted, ModelError
from promptlearn.models.retries import RetryPolicy, outlived

T = TypeVar("T")

TICK = 0.25
"""Seconds after which a wish to stop is noticed."""
WAITS = RetryPolicy(first=1.0, longest=60.0)
NONSENSE = 5
"""Answers in a row that are not what the protocol says."""


@dataclass(slots=True, eq=False)
class Patience:
    stopping: Callable[[], bool]
    """Somebody wants to stop."""
    words: Callable[[], str]
    """What `Interrupted` says then."""
    outage_s: float
    """How long an endpoint that has answered before may be away."""
    waits: RetryPolicy = WAITS
    """Its `attempts` are for an endpoint that never answered."""
    _reached: bool = False

    def check(self) -> None:
        """Raise Interrupted where somebody wants to stop."""
        if self.stopping():
            raise Interrupted(self.words())

    async def pause(self, seconds: float) -> None:
        """Wait; raises Interrupted."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left, TICK))
            self.check()

    async def insist(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """What `attempt` returns at last; transient failures are waited out. Raises the last one, or Interrupted."""
        started, failures, nonsense = time.monotonic(), 0, 0
        while True:
            try:
                result = await attempt()
            except ModelError as error:
                failures += 1
                nonsense = nonsense + 1 if error.kind == "malformed" else 0
                self._reached = self._reached or error.kind != "connection"
                delay = self.waits.wait(error, failures)
                away = time.monotonic() - started + delay > self.outage_s
                absent = not self._reached and failures >= self.waits.attempts
                if away or absent or nonsense >= NONSENSE or not error.retryable:
                    raise outlived(error, self._reached) from None
            else:
                self._reached = True
                return result
            await self.pause(delay)
