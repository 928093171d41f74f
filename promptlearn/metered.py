"""One paid call, from the journal to the socket: what stands around every model of a run.

Order: journal (a reply that is known is not paid for again) → ledger (reserve, call, settle) → slots (one budget of
concurrency for all roles) → retries. A reply is in the journal before its caller sees it (invariant 2); errors and
empty replies never are (invariant 4). Knows nothing about what the calls are for.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Protocol

from promptlearn.errors import Interrupted, ModelError
from promptlearn.ledger import Charge, Ledger, Reservation
from promptlearn.models.base import Model, Price, Reply, Sampling
from promptlearn.models.retries import RetryPolicy, outlived
from promptlearn.records import Json, Message, Role, Usage
from promptlearn.store.journal import call_key
from promptlearn.tokens import estimate_tokens, token_bound

MESSAGE_OVERHEAD = 32
"""Tokens that a chat template may add around one message."""


class Journal(Protocol):
    """Where replies are kept; `promptlearn.store.Journal` is one."""

    def find(self, key: str) -> Json | None: ...

    async def record(self, key: str, model: str, request: Json, reply: Json) -> None:
        """Returns when the reply is durable."""


class MeteredModel:
    """A model of one role; looks like any other Model to those who call it."""

    def __init__(
        self,
        inner: Model,
        role: Role,
        journal: Journal,
        ledger: Ledger,
        slots: asyncio.Semaphore,
        retries: RetryPolicy,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`stopping` is looked at before each attempt: once it is set none is begun, and `Interrupted` is raised."""
        self._inner = inner
        self._role = role
        self._journal = journal
        self._ledger = ledger
        self._slots = slots
        self._retries = retries
        self._stopping = stopping
        self._reached = False
        self._in_flight: dict[str, asyncio.Future[Reply]] = {}

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

    async def close(self) -> None:
        await self._inner.close()

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """As `Model.complete`; also raises BudgetSpent."""
        sampling = sampling or self.sampling
        request = {
            "model": self.identity,
            "messages": [[message.role, message.content] for message in messages],
            "sampling": asdict(sampling),
            "schema": schema,
            "repeat": repeat,
        }
        key = call_key(request)
        bound = self._bound(messages, sampling, schema)
        twin = self._in_flight.get(key)
        if twin is not None:
            return await self._share(twin, bound)
        mine: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self._in_flight[key] = mine
        try:
            reservation = await self._ledger.reserve(self._role, bound)
            known = self._journal.find(key)
            if known is not None:
                reply = _reply(known)
                self._ledger.settle(reservation, reply.usage, cached=True)
            else:
                reply = await self._pay(reservation, messages, sampling, schema, repeat)
                await self._journal.record(key, self.name, request, _entry(reply))
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
            del self._in_flight[key]

    async def _share(self, twin: asyncio.Future[Reply], bound: Charge) -> Reply:
        """An equal call is already under way: wait for it instead of paying twice.

        Reserves only then: a promise that waits for another call's retry could keep that retry waiting.
        """
        reply = await asyncio.shield(twin)
        self._ledger.settle(await self._ledger.reserve(self._role, bound), reply.usage, cached=True)
        return reply

    async def _pay(
        self,
        reservation: Reservation,
        messages: Sequence[Message],
        sampling: Sampling,
        schema: Mapping[str, Json] | None,
        repeat: int,
    ) -> Reply:
        """Call until there is a reply or no retry is left; every attempt has its own reservation and settlement."""
        attempt = 1
        while True:
            if self._stopping():
                self._ledger.cancel(reservation)
                raise Interrupted("stopped before a call; everything that was paid for is kept")
            try:
                async with self._slots:
                    reply = await self._inner.complete(messages, sampling, schema, repeat)
                if not reply.text.strip():
                    raise ModelError("empty", f"{self.name} answered with an empty text")
                reply = replace(reply, usage=self._counted(reply, messages))
            except ModelError as error:
                self._settle_failure(reservation, error)
                self._reached = self._reached or error.kind != "connection"
                delay = self._retries.delay(error, attempt)
                if delay is None:
                    raise outlived(error, self._reached) from None
            except BaseException:
                self._ledger.cancel(reservation)
                raise
            else:
                self._reached = True
                self._ledger.settle(reservation, reply.usage)
                return reply
            await asyncio.sleep(delay)
            attempt += 1
            reservation = await self._ledger.reserve(self._role, reservation.charge)

    def _settle_failure(self, reservation: Reservation, error: ModelError) -> None:
        """A failed attempt that the endpoint may have billed counts as a call; one that it turned away does not."""
        if error.billable:
            self._ledger.forfeit(reservation)
        else:
            self._ledger.cancel(reservation)

    def _counted(self, reply: Reply, messages: Sequence[Message]) -> Usage:
        """What the reply cost, also where a model of the user's own does not count."""
        usage = replace(reply.usage, calls=max(1, reply.usage.calls))
        if not usage.input_tokens and not usage.output_tokens:
            read = sum(estimate_tokens(message.content) for message in messages)
            usage = replace(usage, input_tokens=read, output_tokens=estimate_tokens(reply.text))
        price = self.price
        if price is None:
            return replace(usage, cost_usd=None)
        cost = price.cost(usage.input_tokens, usage.output_tokens, usage.cached_tokens)
        return replace(usage, cost_usd=usage.cost_usd or cost)

    def _bound(self, messages: Sequence[Message], sampling: Sampling, schema: Mapping[str, Json] | None) -> Charge:
        """The most that one call can cost."""
        size = sum(token_bound(message.content) + MESSAGE_OVERHEAD for message in messages)
        size += token_bound(json.dumps(schema)) if schema else 0
        price = self._inner.price
        return Charge(1, size + sampling.max_tokens, price.cost(size, sampling.max_tokens) if price else None)


def _entry(reply: Reply) -> Json:
    return asdict(reply)


def _reply(entry: Json) -> Reply:
    return Reply(**{**entry, "usage": Usage(**entry["usage"])})
