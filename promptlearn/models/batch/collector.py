"""Between a call and its reply: calls are collected into batches, and answered from them.

Knows calls and replies; how a batch travels is in `carrier.py`. A batch that is not followed to its end (a stop, a
kill, an outage) stays in the log with its calls, and whoever asks for one of them again waits for that batch.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from promptlearn.errors import Interrupted, ModelError, StoreError, SystemicError
from promptlearn.models.base import Reply, Sampling
from promptlearn.models.batch.carrier import Carrier, Parcel
from promptlearn.models.batch.lines import MOST_BYTES, MOST_REQUESTS, Answer, pack, write_line
from promptlearn.models.batch.log import BatchLog, BatchProgress, Noted
from promptlearn.models.batch.patience import TICK, WAITS, Patience
from promptlearn.models.batch.provider import BatchService, Standing
from promptlearn.models.openai import ChatModel
from promptlearn.models.retries import RetryPolicy
from promptlearn.records import Json, Message, Usage

_ADAPTATIONS = 3
_LULLS = 10
"""Delays that the first call of a batch waits for at most, where calls keep coming."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How calls become batches."""

    size: int = 10_000
    """Requests that are sent without waiting for more; at most 50,000."""
    send_delay_s: float = 15.0
    """What has been collected is sent when no call has come for so long."""
    poll_s: float = 15.0
    """Between the first two looks at a batch; later ones are up to eight times as far apart."""
    window: str = "24h"
    """What the provider is asked to stay within; OpenAI takes 24h only."""
    discount: float = 0.5
    """What a batch costs, as a share of the model's price."""
    attempts: int = 3
    """Batches that a call may be in without being executed (expired, cancelled, failed or lost ones)."""
    settle_s: float = 5.0
    """Within so long a batch that was created stands in the provider's list."""
    outage_s: float = 3600.0
    """How long an endpoint may be away before the calls that wait for it fail."""
    waits: RetryPolicy = WAITS
    """Between attempts at one request of the protocol."""
    most_bytes: int = MOST_BYTES
    """Of one file of requests."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Those outside of the model that a collector listens to and tells."""

    log: BatchLog
    on_progress: Callable[[BatchProgress], None]
    stopping: Callable[[], bool]


@dataclass(slots=True, eq=False)
class _Call:
    key: str
    messages: Sequence[Message]
    sampling: Sampling
    schema: Json
    started: float
    parameters: frozenset[str]
    """Of the request as it was sent last."""
    waiting: list[asyncio.Future[Reply]] = field(default_factory=list)
    unexecuted: int = 0
    """Batches that it was in and that did not get to it."""
    adapted: int = 0


@dataclass(slots=True, eq=False)
class _Batch:
    parcel: Parcel
    calls: dict[str, _Call] = field(default_factory=dict)
    """Those that wait for it."""
    noted: bool = False
    """It stands in the log, from an earlier process or an earlier attempt."""
    read: bool = False
    """Its answers are being read: who comes now would miss his."""
    late: list[_Call] = field(default_factory=list)
    """Those who did."""


@dataclass(slots=True, eq=False)
class _Findings:
    """What was read for calls that got no reply."""

    errors: dict[str, ModelError] = field(default_factory=dict)
    adapted: set[str] = field(default_factory=set)
    """Refused for a parameter that is left out or renamed from now on."""
    unexecuted: set[str] = field(default_factory=set)
    """Said to be so."""
    whole: bool = True
    """Everything that the provider wrote was there to be read."""


class Collector:
    """The batches of one model in one event loop."""

    def __init__(self, chat: ChatModel, options: BatchOptions, watch: Watch) -> None:
        self._chat = chat
        self._options = options
        self._log = watch.log
        self._on_progress = watch.on_progress
        self._service = BatchService(chat.endpoint, chat.api_key, options.window)
        self._patience = Patience(watch.stopping, self._goes_on, options.outage_s, options.waits)
        self._carrier = Carrier(self._service, watch.log, self._patience, self._show, options.poll_s, options.settle_s)
        self._size = min(options.size, MOST_REQUESTS)
        self._calls: dict[str, _Call] = {}
        """Every call that somebody waits for."""
        self._queue: list[_Call] = []
        self._last_call = 0.0
        self._batches: dict[str, _Batch] = {}
        self._in_the_way: frozenset[str] = frozenset()
        """Batches that fill the provider's queue: nothing is sent before one of them has ended."""
        self._sender: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def answer(self, key: str, messages: Sequence[Message], sampling: Sampling, schema: Json) -> Reply:
        """The reply to one call, when its batch has it."""
        waiter: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        call = self._calls.get(key)
        if call is None:
            parameters = frozenset(self._chat.request(messages, sampling, schema))
            call = _Call(key, messages, sampling, schema, time.perf_counter(), parameters)
            self._calls[key] = call
            self._enqueue([call])
        call.waiting.append(waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter in call.waiting:
                call.waiting.remove(waiter)
            raise

    async def close(self) -> None:
        """End following; what was sent goes on at the provider."""
        error = Interrupted(self._goes_on())
        tasks = [*self._tasks, *([self._sender] if self._sender else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._fail(list(self._calls.values()), error)
        await self._service.close()

    def _enqueue(self, calls: Iterable[_Call]) -> None:
        self._queue += calls
        self._last_call = time.monotonic()
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())

    async def _send(self) -> None:
        """Send what is collected, for as long as there is something."""
        try:
            while self._queue:
                await self._lull()
                calls = self._take()
                try:
                    await self._dispatch(calls)
                except StoreError as error:
                    self._fail(calls, error)
        except Interrupted as error:
            calls, self._queue = self._queue, []
            self._fail(calls, error)

    async def _lull(self) -> None:
        """Until a batch is full, or nothing has come for a while, and there is room at the provider."""
        first, delay = time.monotonic(), self._options.send_delay_s
        while True:
            left = min(self._last_call + delay, first + _LULLS * delay) - time.monotonic()
            ready = left <= 0 or len(self._queue) >= self._size
            crowded = bool(self._in_the_way) and self._in_the_way <= self._batches.keys()
            if ready and not crowded:
                return
            await self._patience.pause(TICK if ready else min(TICK, left))

    def _take(self) -> list[_Call]:
        """Whole batches where there are any, else everything; without calls that nobody waits for any more."""
        whole = len(self._queue) - len(self._queue) % self._size
        calls, self._queue = self._queue[: whole or None], self._queue[whole:] if whole else []
        for call in calls:
            if not call.waiting:
                del self._calls[call.key]
        return [call for call in calls if call.waiting]

    async def _dispatch(self, calls: Sequence[_Call]) -> None:
        """Let each call wait for the batch that holds it, or send it in a new one."""
        held = self._log.holders([call.key for call in calls])
        for call in calls:
            if call.key in held:
                self._join(call, held[call.key])
        fresh = [call for call in calls if call.key not in held]
        members = iter(fresh)
        for lines in pack(map(self._line, fresh), self._size, self._options.most_bytes):
            batch = _Batch(Parcel(secrets.token_hex(16), b"".join(lines)))
            batch.calls = {call.key: call for _, call in zip(lines, members, strict=False)}
            self._start(batch)
            await asyncio.sleep(0)

    def _line(self, call: _Call) -> bytes:
        body = self._chat.request(call.messages, call.sampling, call.schema)
        call.parameters = frozenset(body)
        return write_line(call.key, body)

    def _join(self, call: _Call, noted: Noted) -> None:
        batch = self._batches.get(noted.own)
        if batch is None:
            parcel = Parcel(noted.own, b"", noted.file, noted.batch, noted.created, noted.touched)
            batch = _Batch(parcel, noted=True)
            self._start(batch)
        if batch.read:
            batch.late.append(call)
        else:
            batch.calls[call.key] = call

    def _start(self, batch: _Batch) -> None:
        self._batches[batch.parcel.own] = batch
        task = asyncio.create_task(self._carry(batch))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _carry(self, batch: _Batch) -> None:
        """One batch, from the intention to the last answer."""
        parcel = batch.parcel
        try:
            if not batch.noted:
                await self._carrier.submit(parcel, self._chat.identity, list(batch.calls))
            elif parcel.id is None:
                await self._carrier.look_up(parcel)
            standing = await self._carrier.follow(parcel) if parcel.id is not None else None
            await self._deliver(batch, standing)
        except Exception as error:  # handed to those who wait
            self._fail(list(batch.calls.values()), error)
        finally:
            del self._batches[parcel.own]
        if batch.late:
            self._enqueue(batch.late)

    async def _deliver(self, batch: _Batch, standing: Standing | None) -> None:
        """Answer what was answered, send again what was not executed, fail the rest."""
        batch.read = True
        found = _Findings()
        if standing is not None:
            found.whole = await self._carrier.read(standing, lambda answer: self._accept(batch, answer, found))
        left = list(batch.calls.values())
        await self._log.release(batch.parcel.own, [call.key for call in left])
        batch.calls = {}
        why = self._why_unexecuted(batch, standing)
        free = batch.parcel.id is None or (
            standing is not None and standing.full and self._makes_room(batch, len(left))
        )
        unanswered = standing is not None and standing.state == "completed" and found.whole
        for call in left:
            if call.key in found.adapted:
                call.adapted += 1
                self._enqueue([call])
            elif call.key in found.errors:
                self._fail([call], found.errors[call.key])
            elif unanswered and call.key not in found.unexecuted:
                self._fail([call], ModelError("malformed", f"batch {batch.parcel.id} holds no answer to this call"))
            else:
                self._retry(call, why, free)

    def _accept(self, batch: _Batch, answer: Answer, found: _Findings) -> None:
        """One answer: a reply ends its call; what is none waits for a better one in the rest of the files."""
        call = batch.calls.get(answer.key)
        if call is None:
            return
        if answer.status is None:
            found.unexecuted.add(call.key)
            return
        try:
            seconds = time.perf_counter() - call.started
            reply = self._chat.read(answer.status, {}, answer.body, call.messages, call.sampling, seconds)
        except ModelError as error:
            refused = answer.status in (400, 422) and call.adapted < _ADAPTATIONS
            if refused and self._chat.adapt(answer.body, call.parameters):
                found.adapted.add(call.key)
            else:
                found.errors[call.key] = error
        else:
            del batch.calls[call.key]
            self._answer(call, reply)

    def _retry(self, call: _Call, why: ModelError, free: bool) -> None:
        call.unexecuted += not free
        if call.unexecuted < self._options.attempts and not isinstance(why, SystemicError):
            self._enqueue([call])
        else:
            self._fail([call], why)

    def _makes_room(self, batch: _Batch, count: int) -> bool:
        """The provider's queue is full: wait for another batch to end, or send smaller ones. False: neither can be."""
        self._in_the_way = frozenset(self._batches.keys() - {batch.parcel.own})
        if not self._in_the_way and count > 1:
            self._size = min(self._size, (count + 1) // 2)
            return True
        return bool(self._in_the_way)

    def _why_unexecuted(self, batch: _Batch, standing: Standing | None) -> ModelError:
        """What is said of a call that its batch did not get to; such a call costs nothing."""
        where = f"batch {batch.parcel.id} at {self._chat.endpoint.shown()}"
        if standing is None:
            return ModelError("server", f"{where} is not known there any more: give the command again")
        if standing.state == "failed":
            fault = self._service.fault_of(standing)
            return replace(fault, message=f"{where} failed: {fault.message}").error()
        return ModelError("server", f"{where} ended as {standing.state} before this call: give the command again")

    def _answer(self, call: _Call, reply: Reply) -> None:
        """The first who asked is charged; others share it."""
        del self._calls[call.key]
        shared = replace(reply, usage=Usage(cached_calls=1))
        for waiter in call.waiting:
            if not waiter.done():
                waiter.set_result(reply)
                reply = shared

    def _fail(self, calls: Iterable[_Call], error: Exception) -> None:
        for call in calls:
            self._calls.pop(call.key, None)
            for waiter in call.waiting:
                if not waiter.done():
                    waiter.set_exception(_again(error))

    def _show(self, standing: Standing) -> None:
        counts = (standing.total, standing.completed, standing.failed)
        self._on_progress(BatchProgress(self._chat.name, standing.id, standing.state, *counts))

    def _goes_on(self) -> str:
        ids = [batch.parcel.id for batch in self._batches.values() if batch.parcel.id is not None]
        if not ids:
            return "stopped before a batch was sent; the same command goes on from here"
        named = (
            f"batch {ids[0]}" if len(ids) == 1 else f"{len(ids)} batches ({', '.join(ids[:3])}{', …' * (len(ids) > 3)})"
        )
        return (
            f"stopped; {named} at {self._chat.endpoint.shown()} goes on and is paid for: "
            "the same command goes on from it"
        )


def _again(error: Exception) -> Exception:
    """The same error for one more caller: raised in many tasks, one object would gather all of their tracebacks."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
