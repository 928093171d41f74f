"""The attempts at one reply: turns, retries, waiting out an outage, and a second copy of a call that is slow.

Every copy of a call that is sent has a reservation of its own, and closes it however it ends. A failure that is the
endpoint's and not the call's (a 429, an outage) costs nothing and counts as no attempt: the call gives its reservation
back and waits, as long as patience and the run's minutes last. Knows no journal.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from promptlearn.errors import Interrupted, ModelError, SystemicError
from promptlearn.ledger import NOTHING, Charge, Ledger, Reservation
from promptlearn.limits import Limiter, Limits, Permit
from promptlearn.models.base import Model, Reply, Sampling
from promptlearn.models.retries import RetryPolicy, outlived
from promptlearn.records import Json, Message, Role, Usage
from promptlearn.tokens import estimate_tokens

LOOK = 1.0
"""Seconds between two looks, while waiting, at whether the run is to stop or its time is up."""
TELL = 60.0
"""Seconds between two notices about an endpoint that nobody may call."""
COPIES = 3
"""Of one call, at most: a second copy may be slow too."""
NEXT_CHANCE = 0.25
"""A slow call that could not be hedged is looked at again after this part of its limit."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a model is asked."""

    messages: Sequence[Message]
    sampling: Sampling
    schema: Mapping[str, Json] | None
    repeat: int


@dataclass(frozen=True, slots=True)
class Paid:
    reply: Reply
    lost: Charge
    """What failed attempts and second copies cost on top of the reply."""


@dataclass(eq=False, slots=True)
class _Course:
    """How the attempts at one reply have gone so far."""

    attempts: int = 0
    """That failed and count."""
    excused: int = 0
    """That failed and do not count."""
    since: float | None = None
    """When the first of these failed."""
    reply: Reply | None = None
    """Of the copy that answered first."""
    lost: Charge = NOTHING


@dataclass(slots=True)
class _Turn:
    """Leave to send one copy: a promise of the ledger, a permit and one of the run's slots."""

    reservation: Reservation
    permit: Permit
    open: bool = True


class Attempts:
    """Calls one model for one role until there is a reply or no hope of one."""

    def __init__(
        self,
        model: Model,
        role: Role,
        ledger: Ledger,
        slots: asyncio.Semaphore,
        limiter: Limiter,
        limits: Limits,
        retries: RetryPolicy,
        stopping: Callable[[], bool],
        may_hedge: Callable[[], bool],
        notice: Callable[[str], None],
    ) -> None:
        self._model = model
        self._role = role
        self._ledger = ledger
        self._slots = slots
        self._limiter = limiter
        self._limits = limits
        self._patience = limits.outage_minutes * 60
        self._retries = retries
        self._stopping = stopping
        self._may_hedge = may_hedge
        self._notice = notice
        self._in_process = in_process(model)
        self._tells_at = 0.0

    def vouch(self) -> None:
        """The model has answered before: in the run that this one goes on with, say."""
        self._limiter.vouch()

    async def pay(self, reservation: Reservation, question: Question) -> Paid:
        """A reply, paid for. Closes `reservation`; raises ModelError, BudgetSpent or Interrupted."""
        course = _Course()
        while True:
            turn = await self._turn(reservation, course)
            try:
                reply = await self._first_answer(turn, question, course)
                return Paid(reply, course.lost)
            except ModelError as error:
                delay = self._delay(error, course)
            await self._nap(delay)
            reservation = await self._ledger.reserve(self._role, reservation.charge)

    async def _turn(self, reservation: Reservation, course: _Course) -> _Turn:
        """Wait for leave to call. While nobody may, nothing is reserved: others may need it more."""
        held: Reservation | None = reservation
        try:
            while True:
                if self._limiter.closed and held is not None:
                    self._ledger.cancel(held)
                    held = None
                await self._reopened()
                if held is None:
                    held = await self._ledger.reserve(self._role, reservation.charge)
                turn = await self._admitted(held, course)
                if turn is not None:
                    return turn
        except BaseException:
            if held is not None:
                self._ledger.cancel(held)
            raise

    async def _admitted(self, held: Reservation, course: _Course) -> _Turn | None:
        """A permit first, then a slot: who waits for a busy endpoint keeps no slot from another. None: closed."""
        permit = await self._limiter.enter(held.charge.tokens, course)
        if permit is None:
            return None
        try:
            await self._slots.acquire()
        except BaseException:
            self._limiter.dropped(permit)
            raise
        turn = _Turn(held, permit)
        if self._limiter.void(permit) or self._stopping():
            self._leave(turn)
            self._look()
            return None
        return turn

    async def _first_answer(self, turn: _Turn, question: Question, course: _Course) -> Reply:
        """The reply of the call, or of another copy if that is there first."""
        if self._limits.hedge is None or self._in_process:
            return await self._send(turn, question, course)
        loop = asyncio.get_running_loop()
        began = loop.time()
        look_at = 0.0
        turns = [turn]
        copies = [asyncio.create_task(self._send(turn, question, course))]
        try:
            while not all(copy.done() for copy in copies):
                under_way = [copy for copy in copies if not copy.done()]
                slow = self._limiter.slow(question.sampling.max_tokens, self._limits.hedge)
                if len(copies) == COPIES:
                    timeout = None
                elif slow is None:  # not known yet: calls that were slow from the start are looked at again
                    timeout = LOOK
                else:
                    timeout = max(began + slow, look_at) - loop.time()
                done, _ = await asyncio.wait(under_way, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                if course.reply is not None:
                    return course.reply
                if not done and slow is not None:
                    look_at = loop.time() + NEXT_CHANCE * slow
                    if (second := await self._second(turn, course)) is not None:
                        turns.append(second)
                        copies.append(asyncio.create_task(self._send(second, question, course)))
                        look_at = loop.time() + slow
            return copies[0].result()  # that is, raise what the first copy failed with
        finally:
            cut = [copy.cancel() for copy in copies]
            if any(cut) or len(copies) > 1:
                await asyncio.gather(*copies, return_exceptions=True)
            for left in turns:
                self._abandon(left, course)

    async def _second(self, turn: _Turn, course: _Course) -> _Turn | None:
        """Leave for a second copy, where all that it takes is free and nobody waits for it."""
        charge = turn.reservation.charge
        if self._stopping() or self._slots.locked():
            return None
        permit = self._limiter.spare(charge.tokens, course)
        if permit is None:
            return None
        reservation = self._ledger.try_reserve(self._role, charge)
        if reservation is None or not self._may_hedge():
            self._limiter.dropped(permit)
            if reservation is not None:
                self._ledger.cancel(reservation)
            return None
        await self._slots.acquire()  # one is free: this takes it at once
        return _Turn(reservation, permit)

    async def _send(self, turn: _Turn, question: Question, course: _Course) -> Reply:
        """One copy of the call; when it ends, its turn is over and what it cost is on the ledger."""
        self._limiter.begin(turn.permit)
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            reply = await self._model.complete(question.messages, question.sampling, question.schema, question.repeat)
            if not reply.text.strip():
                raise ModelError("empty", f"{self._model.name} answered with an empty text")
        except ModelError as error:
            self._failed(turn, error, course)
            raise
        except asyncio.CancelledError:
            if course.reply is not None:  # the other copy was there first; this one would have taken longer still
                self._limiter.latencies.note(question.sampling.max_tokens, loop.time() - started)
            self._abandon(turn, course)
            raise
        except BaseException:
            self._failed(turn, ModelError("program", "the model itself raised"), course)
            raise
        self._limiter.latencies.note(question.sampling.max_tokens, loop.time() - started)
        usage = counted(reply, question.messages, self._model)
        reply = reply if usage is reply.usage else replace(reply, usage=usage)
        self._answered(turn, reply, course)
        return reply

    def _answered(self, turn: _Turn, reply: Reply, course: _Course) -> None:
        if not turn.open:
            return
        usage, late = reply.usage, course.reply is not None
        tokens = usage.input_tokens + usage.output_tokens
        self._ledger.settle(turn.reservation, usage, lost=late)
        if late:
            course.lost = course.lost + Charge(usage.calls, tokens, usage.cost_usd)
        else:
            course.reply = reply
        self._limiter.answered(turn.permit, tokens)
        self._close(turn)

    def _failed(self, turn: _Turn, error: ModelError, course: _Course) -> None:
        """A failed copy that the endpoint may have billed counts as a call; one that it turned away does not."""
        if not turn.open:
            return
        self._settle_loss(turn, error.billable, course)
        self._limiter.failed(turn.permit, error)
        self._close(turn)

    def _abandon(self, turn: _Turn, course: _Course) -> None:
        """Give up a copy that is under way: an endpoint may bill it all the same."""
        if not turn.open:
            return
        self._settle_loss(turn, turn.permit.sent_at is not None and not self._in_process, course)
        self._limiter.dropped(turn.permit)
        self._close(turn)

    def _leave(self, turn: _Turn) -> None:
        """Give the turn back unused; its reservation is still held."""
        self._limiter.dropped(turn.permit)
        self._close(turn)

    def _close(self, turn: _Turn) -> None:
        turn.open = False
        self._slots.release()

    def _settle_loss(self, turn: _Turn, billed: bool, course: _Course) -> None:
        if billed:
            self._ledger.forfeit(turn.reservation)
            course.lost = course.lost + turn.reservation.charge
        else:
            self._ledger.cancel(turn.reservation)

    def _delay(self, error: ModelError, course: _Course) -> float:
        """Seconds until the next attempt. Raises the error where there is none."""
        if error.retryable and (error.retry_after or 0.0) > self._patience:
            raise self._worn_out(error) from None
        if not self._limiter.excuses(error):
            course.attempts += 1
            hopeless = self._limiter.hopeless(error)
            delay = None if hopeless else self._retries.delay(error, course.attempts)
            if delay is None:
                self._limiter.give_up()
                raise outlived(error, self._limiter.reached) from None
            return delay
        now = asyncio.get_running_loop().time()
        course.excused += 1
        course.since = now if course.since is None else course.since
        delay = self._retries.wait(error, course.excused)
        if now - course.since + delay > self._patience:
            raise self._worn_out(error) from None
        if now - course.since > LOOK:
            self._notify(error)
        return delay

    def _worn_out(self, error: ModelError) -> ModelError:
        """What a failure means that outlives patience; an endpoint that is down refuses everybody."""
        made = SystemicError if self._limiter.down_for() else ModelError
        patience = f"models.{self._role}.outage_minutes = {self._limits.outage_minutes:g}"
        return made(error.kind, f"{error}; that takes longer than {patience} allows", error.retry_after)

    async def _reopened(self) -> None:
        """Wait while nobody may call. Raises SystemicError when patience is at its end."""
        limiter = self._limiter
        while limiter.closed:
            trouble = limiter.trouble or ModelError("server", f"{self._model.name} is not to be called now")
            if limiter.down_for() >= self._patience or limiter.closed_for() > self._patience:
                raise self._worn_out(trouble)
            self._tell(trouble)
            self._look()
            await limiter.reopened(LOOK)
        self._look()

    def _tell(self, trouble: ModelError) -> None:
        """Say why nothing happens, where that lasts."""
        if self._limiter.down_for() or self._limiter.closed_for() > LOOK:
            self._notify(trouble)

    def _notify(self, trouble: ModelError) -> None:
        """Once in a while."""
        now = asyncio.get_running_loop().time()
        if now >= self._tells_at:
            self._tells_at = now + TELL
            self._notice(f"waiting for {self._model.name}: {trouble}")

    async def _nap(self, seconds: float) -> None:
        """Sleep between two attempts, with an eye on whether there is to be another."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while True:
            self._look()
            await asyncio.sleep(max(0.0, min(LOOK, until - loop.time())))
            if loop.time() >= until:
                return

    def _look(self) -> None:
        if self._stopping():
            raise Interrupted("stopped before a call; everything that was paid for is kept")
        self._ledger.check_minutes()


def in_process(model: Model) -> bool:
    """Whether a model needs no limits, because it runs here: it says so by an attribute `in_process`."""
    return bool(getattr(model, "in_process", False))


def counts_itself(model: Model) -> bool:
    """Whether the size of its calls says nothing about their cost: a model says so by an attribute `counts_itself`."""
    return bool(getattr(model, "counts_itself", False))


def counted(reply: Reply, messages: Sequence[Message], model: Model) -> Usage:
    """What the reply cost, also where a model of the user's own does not count."""
    usage = reply.usage
    if counts_itself(model):
        return usage
    if not usage.input_tokens and not usage.output_tokens:
        read = sum(estimate_tokens(message.content) for message in messages)
        usage = replace(usage, input_tokens=read, output_tokens=estimate_tokens(reply.text))
    if usage.calls < 1:
        usage = replace(usage, calls=1)
    if usage.cost_usd:
        return usage
    price = model.price
    cost = None if price is None else price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
    return usage if cost == usage.cost_usd else replace(usage, cost_usd=cost)
