"""One paid call, from the journal to the socket: what stands around every model of a run.

Order: journal (a reply that is known is not paid for again) → ledger (reserve, call, settle) → limits (how fast this
endpoint may be called) → slots (one budget of concurrency for all roles) → retries and second copies. A reply is in the
journal before its caller sees it (invariant 2); errors and empty replies never are (invariant 4). Knows nothing about
what the calls are for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import fields
from typing import Protocol, TypeAlias
from weakref import WeakKeyDictionary

from promptlearn.attempts import Attempts, Paid, Question, in_process
from promptlearn.errors import BudgetSpent, Interrupted
from promptlearn.ledger import NOTHING, Charge, Ledger
from promptlearn.limits import Limits, Unlimited, limiter_for
from promptlearn.models.base import Model, Price, Reply, Sampling
from promptlearn.models.retries import RetryPolicy
from promptlearn.records import Json, Message, Role, Usage
from promptlearn.store.journal import call_key
from promptlearn.tokens import token_bound

MESSAGE_OVERHEAD = 32
"""Tokens that a chat template may add around one message."""

_SAMPLING = tuple(field.name for field in fields(Sampling))
_USAGE = tuple(field.name for field in fields(Usage))


class Journal(Protocol):
    """Where replies are kept; `promptlearn.store.Journal` is one."""

    def find(self, key: str) -> Json | None: ...

    async def record(self, key: str, model: str, request: Json, reply: Json) -> None:
        """Returns when the reply is durable."""


Flights: TypeAlias = dict[str, asyncio.Future[Reply]]
"""Calls that are under way, by their key in the journal."""
_IN_FLIGHT: WeakKeyDictionary[asyncio.AbstractEventLoop, WeakKeyDictionary[Journal, Flights]] = WeakKeyDictionary()


class MeteredModel:
    """A model of one role; looks like any other Model to those who call it."""

    def __init__(
        self,
        inner: Model,
        role: Role,
        journal: Journal,
        ledger: Ledger,
        slots: asyncio.Semaphore,
        retries: RetryPolicy = RetryPolicy(),
        stopping: Callable[[], bool] = lambda: False,
        *,
        limits: Limits = Limits(),
        may_hedge: Callable[[], bool] = lambda: False,
        notice: Callable[[str], None] = lambda text: None,
        admitted: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """A model with `in_process = True` gets no limits and no second copies.

        `stopping` is looked at before each attempt: once it is set none is begun, and `Interrupted` is raised.
        `may_hedge` is asked last before a second copy is sent; True is taken as leave for that one. `notice` hears, now
        and then, why a run waits for an endpoint that is down. `admitted` returns when a call may begin.
        """
        self._inner = inner
        self._role = role
        self._journal = journal
        self._ledger = ledger
        self._slots = slots
        self._retries = retries
        self._stopping = stopping
        self._limits = limits
        self._may_hedge = may_hedge
        self._notice = notice
        self._admitted = admitted
        self._attempts: Attempts | None = None

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

    @property
    def usage(self) -> Usage:
        """What its role has used of the ledger, replies that nobody could read among them."""
        return self._ledger.usage(self._role)

    async def close(self) -> None:
        await self._inner.close()

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """As `Model.complete`; also raises BudgetSpent and Interrupted."""
        question = Question(messages, sampling or self.sampling, schema, repeat)
        request = _request(self.identity, question)
        key = call_key(request)
        loop = asyncio.get_running_loop()
        flights = _flights(loop, self._journal)
        while (twin := flights.get(key)) is not None:
            if (shared := await _result(twin)) is not None:
                return await self._share(shared, question)
        flights[key] = mine = loop.create_future()
        try:
            reply = await self._reply(key, request, question)
            mine.set_result(reply)
            return reply
        except BaseException as error:
            if isinstance(error, Exception):
                mine.set_exception(error)
                mine.exception()  # nobody need be waiting for it
            else:
                mine.cancel()
            raise
        finally:
            del flights[key]

    async def _reply(self, key: str, request: Json, question: Question) -> Reply:
        if self._admitted is not None:
            await self._admitted()
        reservation = await self._ledger.reserve(self._role, self._bound(question))
        try:
            known = self._journal.find(key)
        except BaseException:
            self._ledger.cancel(reservation)
            raise
        if known is None:
            paid = await self._open_attempts().pay(reservation, question)
            await self._journal.record(key, self.name, request, _entry(paid))
            return paid.reply
        paid = _paid(known)
        self._ledger.settle(reservation, paid.reply.usage, cached=True)
        self._open_attempts().vouch()
        if paid.lost != NOTHING:  # so that a repeated run stops where the first one did
            lost = await self._ledger.reserve(self._role, paid.lost)
            usage = Usage(calls=paid.lost.calls, input_tokens=paid.lost.tokens, cost_usd=paid.lost.usd)
            self._ledger.settle(lost, usage, cached=True, lost=True)
        return paid.reply

    async def _share(self, reply: Reply, question: Question) -> Reply:
        """An equal call was under way, and is not paid for twice.

        Reserves only now: a promise that waits for another call's retry could keep that retry waiting.
        """
        reservation = await self._ledger.reserve(self._role, self._bound(question))
        self._ledger.settle(reservation, reply.usage, cached=True)
        return reply

    def _open_attempts(self) -> Attempts:
        """On the first call, because limits belong to the event loop that runs then."""
        if self._attempts is None:
            limits = self._limits
            self._attempts = Attempts(
                self._inner,
                self._role,
                self._ledger,
                self._slots,
                Unlimited() if in_process(self._inner) else limiter_for(self.identity, limits),
                limits,
                self._retries,
                self._stopping,
                self._may_hedge,
                self._notice,
            )
        return self._attempts

    def _bound(self, question: Question) -> Charge:
        """The most that one call can cost."""
        size = sum(token_bound(message.content) + MESSAGE_OVERHEAD for message in question.messages)
        size += token_bound(json.dumps(question.schema)) if question.schema else 0
        price, most = self._inner.price, question.sampling.max_tokens
        return Charge(1, size + most, price.bound(size, most) if price else None)


def _flights(loop: asyncio.AbstractEventLoop, journal: Journal) -> Flights:
    """Shared by all roles and runs that keep one journal: none pays for what another is paying for."""
    return _IN_FLIGHT.setdefault(loop, WeakKeyDictionary()).setdefault(journal, {})


async def _result(twin: asyncio.Future[Reply]) -> Reply | None:
    """What an equal call got; None where its caller gave it up, which is no reason for this one to."""
    try:
        return await asyncio.shield(twin)
    except (BudgetSpent, Interrupted):
        return None
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if not twin.cancelled() or (task is not None and task.cancelling()):
            raise
        return None


def _request(identity: str, question: Question) -> Json:
    """All that makes two calls the same."""
    return {
        "model": identity,
        "messages": [[message.role, message.content] for message in question.messages],
        "sampling": {name: getattr(question.sampling, name) for name in _SAMPLING},
        "schema": question.schema,
        "repeat": question.repeat,
    }


def _entry(paid: Paid) -> Json:
    """What the journal keeps."""
    reply, lost = paid.reply, paid.lost
    entry = {
        "text": reply.text,
        "finish_reason": reply.finish_reason,
        "usage": {name: getattr(reply.usage, name) for name in _USAGE},
        "logprobs": reply.logprobs,
        "seconds": reply.seconds,
    }
    return entry if lost == NOTHING else {**entry, "lost": [lost.calls, lost.tokens, lost.usd]}


def _paid(entry: Json) -> Paid:
    usage = Usage(**entry["usage"])
    reply = Reply(entry["text"], entry["finish_reason"], usage, entry["logprobs"], entry["seconds"])
    return Paid(reply, Charge(*entry["lost"]) if entry.get("lost") else NOTHING)
