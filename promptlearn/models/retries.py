"""When a failed call is made again, and when it is given up.

Knows failures and time; knows no HTTP, no budget and no journal. It only decides: `promptlearn.attempts` makes the
attempts, because each one has its own line in the ledger.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from promptlearn.errors import ModelError, SystemicError

REPLY_ATTEMPTS: Mapping[str, int] = MappingProxyType({"empty": 2, "malformed": 3})
"""Attempts at most for replies that came and were useless: they are paid for, and at temperature 0 they repeat."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015).

    The n-th wait is drawn from [0, min(longest, first · 2ⁿ⁻¹)]. Where the endpoint sent `Retry-After` the wait is that
    and a little jitter; how long anybody has patience for that is not decided here.
    """

    attempts: int = 6
    """Calls in total, the first one included."""
    first: float = 0.5
    longest: float = 30.0
    jitter: Callable[[float, float], float] = random.uniform
    """Draws a number between two bounds; only ever used for waiting, so it decides nothing."""

    def delay(self, error: ModelError, attempt: int) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) failed with `error`; None: give up."""
        allowed = min(self.attempts, REPLY_ATTEMPTS.get(error.kind, self.attempts))
        if attempt >= allowed or not error.retryable:
            return None
        return self.wait(error, attempt)

    def wait(self, error: ModelError, failures: int) -> float:
        """Seconds to wait after so many failures in a row, however many there may be."""
        if error.retry_after is not None:
            return error.retry_after + self.jitter(0.0, self.first)
        return self.jitter(0.0, min(self.longest, self.first * 2.0 ** min(failures - 1, 32)))


def outlived(error: ModelError, reached: bool) -> ModelError:
    """What a failure means that outlived its retries: an endpoint that was never reached is systemic."""
    if error.kind == "connection" and not reached and not isinstance(error, SystemicError):
        return SystemicError(error.kind, str(error), error.retry_after)
    return error
