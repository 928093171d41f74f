"""When a failed call is made again, and when it is given up.

Knows failures and time; knows no HTTP, no budget and no journal. `RetryPolicy` decides, `RetryingModel` acts. Whoever
accounts for attempts one by one (the ledger) asks the policy in a loop of its own, or passes `on_attempt`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from promptlearn.errors import ModelError, SystemicError
from promptlearn.models.base import Model, Price, Reply, Sampling
from promptlearn.models.faults import is_retryable
from promptlearn.records import Json, Message

Sleep = Callable[[float], Awaitable[None]]

REPLY_ATTEMPTS: Mapping[str, int] = MappingProxyType({"empty": 2, "malformed": 3})
"""Attempts at most for replies that came and were useless: they are paid for, and at temperature 0 they repeat."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential back-off with full jitter (Brooker, "Exponential Backoff And Jitter", AWS 2015).

    The n-th wait is drawn from [0, min(longest, first · 2ⁿ⁻¹)]. Where the endpoint sent `Retry-After` the wait is at
    least that, but never more than `obedience` seconds and a little jitter.
    """

    attempts: int = 6
    """Calls in total, the first one included."""
    first: float = 0.5
    longest: float = 30.0
    obedience: float = 120.0
    jitter: Callable[[float, float], float] = random.uniform
    """Draws a number between two bounds; only ever used for waiting, so it decides nothing."""

    def delay(self, error: ModelError, attempt: int) -> float | None:
        """Seconds to wait after attempt number `attempt` (from 1) failed with `error`; None: give up."""
        allowed = min(self.attempts, REPLY_ATTEMPTS.get(error.kind, self.attempts))
        if attempt >= allowed or not is_retryable(error):
            return None
        if error.retry_after is not None:
            return min(error.retry_after, self.obedience) + self.jitter(0.0, self.first)
        return self.jitter(0.0, min(self.longest, self.first * 2 ** (attempt - 1)))


def outlived(error: ModelError, reached: bool) -> ModelError:
    """What a failure means that outlived its retries: an endpoint that was never reached is systemic."""
    if error.kind == "connection" and not reached and not isinstance(error, SystemicError):
        return SystemicError(error.kind, str(error), error.retry_after)
    return error


@dataclass(frozen=True, slots=True)
class Attempt:
    """One call that is about to be made."""

    number: int
    """From 1."""
    failure: ModelError | None = None
    """Why the attempt before failed: a `rate_limit` here is the sign to lower the concurrency."""


class RetryingModel:
    """A model that tries again.

        model = RetryingModel(open_model("openai/gpt-5-mini"), on_attempt=count)

    `on_attempt` is awaited before every attempt, the first one included; what it raises ends the call. Whatever a
    budget counts, it counts there.
    """

    def __init__(
        self,
        inner: Model,
        policy: RetryPolicy = RetryPolicy(),
        on_attempt: Callable[[Attempt], Awaitable[None]] | None = None,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._inner = inner
        self._policy = policy
        self._on_attempt = on_attempt
        self._sleep = sleep
        self._reached = False

    @property
    def name(self) -> str:
        return self._inner.name

    @property
    def identity(self) -> str:
        return self._inner.identity

    @property
    def sampling(self) -> Sampling:
        return self._inner.sampling

    @property
    def price(self) -> Price | None:
        return self._inner.price

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """As `Model.complete`; raises what the last attempt raised."""
        attempt = Attempt(1)
        while True:
            if self._on_attempt is not None:
                await self._on_attempt(attempt)
            try:
                reply = await self._inner.complete(messages, sampling, schema, repeat)
            except ModelError as error:
                self._reached = self._reached or error.kind != "connection"
                delay = self._policy.delay(error, attempt.number)
                if delay is None:
                    raise outlived(error, self._reached) from None
                attempt = Attempt(attempt.number + 1, error)
            else:
                self._reached = True
                return reply
            await self._sleep(delay)

    async def close(self) -> None:
        await self._inner.close()
