"""The limiter of one model at one endpoint: who may call now, who waits, and who is told that nobody may.

A call asks for a permit and says how it ended; window, buckets and circuit learn from that. While the endpoint is
*closed* (it asked to be left alone, or it is down) nobody gets a permit and nobody queues: callers give back what they
hold and wait with `reopened`. Knows no budget: what waiting costs is the callers' matter.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from math import inf
from weakref import WeakKeyDictionary

from promptlearn.errors import ModelError
from promptlearn.limits.bucket import Bucket
from promptlearn.limits.circuit import OUTAGES, Circuit
from promptlearn.limits.latency import Latencies
from promptlearn.limits.window import Window

REMEMBERED = 60.0
"""Seconds for which an endpoint that nobody ever reached is not waited for again."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What the configuration says about calling one model."""

    rpm: float | None = None
    """Calls per minute, at most."""
    tpm: float | None = None
    """Tokens per minute, at most, input and output together."""
    hedge: float | None = 0.95
    """Quantile of the model's latency after which a call is sent a second time; None: never."""
    outage_minutes: float = 10.0
    """How long an endpoint that has answered before may be down, or refuse a call, until its callers give up."""


@dataclass(slots=True)
class Permit:
    """A call that was let through, and how it goes."""

    tokens: int
    """The most that it can take."""
    caller: object
    probe: bool = False
    """Whether it finds out if an endpoint is still down."""
    sent_at: float | None = None
    epoch: int = 0
    flight: int = 0


class Limiter:
    """One per model identity and event loop; `limiter_for` has them.

    A permit ends once, by `answered`, `failed` or `dropped`.
    """

    def __init__(self) -> None:
        self.window = Window()
        self.circuit = Circuit()
        self.latencies = Latencies()
        self.reached = False
        """Whether anything at all came back from the endpoint, if only an error."""
        self.trouble: ModelError | None = None
        """The failure that closed it last."""
        self.granted = 0
        """Permits that have not ended."""
        self._calls = Bucket()
        self._tokens = Bucket()
        self._in_flight = 0
        self._paused_until = -inf
        self._given_up_at = -inf
        """When the attempts at a call last came to an end in failure."""
        self._queue: deque[tuple[asyncio.Future[Permit | None], int, object]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._news: asyncio.Future[None] | None = None

    def tighten(self, limits: Limits) -> None:
        """Take on the caps of another role that calls the same model; the lower one counts."""
        self._calls.lower(limits.rpm)
        self._tokens.lower(limits.tpm)

    @property
    def closed(self) -> bool:
        """Whether nobody may call: the endpoint asked to be left alone, or is down and no probe is due."""
        return self.closed_for() > 0

    def closed_for(self) -> float:
        """Seconds until somebody may call, as far as is known."""
        if self._paused_until == -inf and self.circuit.opened is None:
            return 0.0
        now = _now()
        return max(self._paused_until - now, self.circuit.wait(now), 0.0)

    def down_for(self) -> float:
        """Seconds since the endpoint was found to be down; 0 while it is up."""
        return 0.0 if self.circuit.opened is None else _now() - self.circuit.opened

    def slow(self, max_tokens: int, quantile: float) -> float | None:
        """Seconds after which a call is slow here; None while too few latencies are known."""
        return self.latencies.slow(max_tokens, quantile, self.granted)

    def excuses(self, error: ModelError) -> bool:
        """Whether a failure is not its call's: a 429, or an outage of an endpoint that is down."""
        if error.kind == "rate_limit":
            return True
        return self.circuit.opened is not None and error.kind in OUTAGES

    def hopeless(self, error: ModelError) -> bool:
        """Whether another call was just given up because nothing was ever reached, as now: one wait is enough."""
        return error.kind == "connection" and not self.reached and _now() - self._given_up_at < REMEMBERED

    def give_up(self) -> None:
        """There will be no further attempt at a call that failed."""
        self._given_up_at = _now()

    def vouch(self) -> None:
        """The endpoint is known to be one, so that it is waited for when it is down."""
        self.circuit.proven = True

    async def reopened(self, within: float) -> None:
        """Sleep until the endpoint may be called again, at most `within` seconds; look at `closed` then."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        await asyncio.wait({self._news}, timeout=min(within, self.closed_for()))

    async def enter(self, tokens: int, caller: object) -> Permit | None:
        """A permit for a call of at most `tokens`, first come, first served; None once the endpoint is closed.

        `caller` tells whose call it is: attempts at the same reply give the same object.
        """
        if not self._queue and (permit := self._admit(tokens, caller)) is not None:
            return permit
        if self.closed:
            return None
        turn: asyncio.Future[Permit | None] = asyncio.get_running_loop().create_future()
        self._queue.append((turn, tokens, caller))
        if self._timer is None:
            self._look_again()
        try:
            return await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and (granted := turn.result()) is not None:
                self.dropped(granted)
            raise

    def spare(self, tokens: int, caller: object) -> Permit | None:
        """A permit for a call that need not be made, where there is room that nobody else wants."""
        if self._queue or self.circuit.opened is not None or not self.window.calm(_now()):
            return None
        return self._admit(tokens, caller)

    def void(self, permit: Permit) -> bool:
        """Whether the endpoint was closed since the permit was given, so that the call must not be sent."""
        return self.closed and not permit.probe

    def begin(self, permit: Permit) -> None:
        """The call is sent now."""
        self._in_flight += 1
        permit.sent_at = _now()
        permit.epoch, permit.flight = self.window.epoch, self._in_flight
        self.window.sent(permit.flight, permit.sent_at)

    def answered(self, permit: Permit, tokens: int) -> None:
        """There is a reply; question and reply had so many tokens."""
        now = _now()
        self.reached = self.circuit.proven = True
        self._tokens.give(permit.tokens - tokens, now)
        if permit.sent_at is not None:
            self.window.answered(permit.sent_at, now)
        self._alive()
        self._end(permit)

    def failed(self, permit: Permit, error: ModelError) -> None:
        now = _now()
        self.reached = self.reached or error.kind != "connection"
        if error.kind in OUTAGES:
            self._out(permit, error, now)
        else:
            self._alive()
        if error.kind == "rate_limit":
            self.window.refused(permit.epoch, max(permit.flight, self._in_flight), now)
        if error.retry_after:
            self._paused_until = max(self._paused_until, now + error.retry_after)
            self.trouble = error
        if not error.billable:
            self._tokens.give(permit.tokens, now)
        self._end(permit)

    def dropped(self, permit: Permit) -> None:
        """The call was not sent, or was given up."""
        if permit.sent_at is None:
            self._calls.give(1, _now())
            self._tokens.give(permit.tokens, _now())
        self._end(permit)

    def _out(self, permit: Permit, error: ModelError, now: float) -> None:
        self.trouble = error
        if error.kind == "server" and error.unavailable:
            self.vouch()
        self.window.pause(now)
        self.circuit.failed(permit.caller, error.unavailable, now)
        if permit.probe:
            self.circuit.probe_failed(now)

    def _alive(self) -> None:
        if self.circuit.answered():
            self.window.restart()

    def _end(self, permit: Permit) -> None:
        self.granted -= 1
        self._in_flight -= permit.sent_at is not None
        if permit.probe:
            self.circuit.probing = False
        self._pump()

    def _admit(self, tokens: int, caller: object) -> Permit | None:
        if self.closed:
            return None
        probe = self.circuit.opened is not None
        if (not probe and self.granted >= int(self.window.limit)) or self._rate_wait(tokens) > 0:
            return None
        self._calls.take(1)
        self._tokens.take(tokens)
        self.granted += 1
        self.circuit.probing = probe
        return Permit(tokens, caller, probe)

    def _rate_wait(self, tokens: int) -> float:
        now = _now()
        return max(self._calls.wait(1, now), self._tokens.wait(tokens, now))

    def _pump(self) -> None:
        """Let in who may come, send away who would wait in vain, and wake those who wait outside."""
        while self._queue:
            turn, tokens, caller = self._queue[0]
            if not turn.done():
                permit = self._admit(tokens, caller)
                if permit is None and not self.closed:
                    break
                turn.set_result(permit)
            self._queue.popleft()
        if self._news is not None and not self.closed:
            self._news.set_result(None)
            self._news = None
        if self._queue or self._timer is not None:
            self._look_again()

    def _look_again(self) -> None:
        """Come back when calls and tokens per minute allow the first in line."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queue and (wait := self._rate_wait(self._queue[0][1])) > 0:
            self._timer = asyncio.get_running_loop().call_later(wait, self._pump)


class Unlimited(Limiter):
    """For models inside this process: nothing to be careful about, and nothing to learn."""

    async def enter(self, tokens: int, caller: object) -> Permit | None:
        return Permit(tokens, caller)

    def spare(self, tokens: int, caller: object) -> Permit | None:
        return None

    def begin(self, permit: Permit) -> None:
        permit.sent_at = _now()

    def answered(self, permit: Permit, tokens: int) -> None:
        self.reached = True

    def failed(self, permit: Permit, error: ModelError) -> None:
        self.reached = self.reached or error.kind != "connection"

    def dropped(self, permit: Permit) -> None:
        pass


_LIMITERS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, Limiter]] = WeakKeyDictionary()


def limiter_for(identity: str, limits: Limits) -> Limiter:
    """The limiter of a model on the running event loop, shared by all who call it."""
    known = _LIMITERS.setdefault(asyncio.get_running_loop(), {})
    limiter = known.setdefault(identity, Limiter())
    limiter.tighten(limits)
    return limiter


def _now() -> float:
    return asyncio.get_running_loop().time()
