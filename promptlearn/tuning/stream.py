"""Stream: samples are drawn while earlier ones are judged, in an order that no clock can change.

Batches are drawn one after the other, each as soon as it is allowed: the loop allows batch b once the policy is there
that is to draw it. So a batch always comes from the same policy version, however slow judges and sampler are
(invariant 8), and staleness is paced, never repaired by throwing samples away. A judgement begins when its sample ends,
a ranking when the last judgement of its group does; at most `queue` groups wait for verdicts before another one is
drawn. Knows no loss and no learner.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from promptlearn.errors import Interrupted
from promptlearn.ledger import Charge, Ledger
from promptlearn.models.base import Sampling
from promptlearn.records import Example, Usage
from promptlearn.tuning.base import Sample, Sampler, Tokenizer
from promptlearn.tuning.device import DeviceTime
from promptlearn.tuning.ranking import Ranking
from promptlearn.tuning.rewards import Reward, Rewards


@dataclass(frozen=True, slots=True)
class Ask:
    """One group that is wanted: a prompt, and how to draw its samples."""

    example: Example
    prompt_ids: tuple[int, ...]
    sampling: Sampling


@dataclass(frozen=True, slots=True)
class Draw:
    """A group as it was drawn, not judged yet."""

    ask: Ask
    samples: tuple[Sample, ...]
    """By index."""
    seconds: float
    """From its first request to its last token, with what it waited for a learner that holds the weights."""

    @property
    def usage(self) -> Usage:
        """One call per sample; the prompt is read once and then known."""
        read, count = len(self.ask.prompt_ids), len(self.samples)
        written = sum(len(sample.token_ids) for sample in self.samples)
        return Usage(count, 0, read * count, written, read * max(0, count - 1), 0.0)


@dataclass(frozen=True, slots=True)
class Group:
    """A group with its rewards, in the order of its samples."""

    draw: Draw
    rewards: tuple[Reward, ...]


Judging: TypeAlias = dict[int, "asyncio.Task[Reward]"]
"""The judgements of one group, by its samples' indices."""


async def at_once() -> None:
    """Nothing is waited for."""


class Source:
    """Draws groups and judges samples; what a stream and a reading of validation have in common."""

    def __init__(
        self,
        sampler: Sampler,
        tokenizer: Tokenizer,
        rewards: Rewards,
        ledger: Ledger,
        device: DeviceTime,
        stopping: Callable[[], bool] = lambda: False,
        admitted: Callable[[], Awaitable[None]] = at_once,
        ranking: Ranking | None = None,
    ) -> None:
        """`admitted` returns when samples may be drawn: at a pause, when it is over. `ranking` has a say in rewards."""
        self._sampler = sampler
        self._tokenizer = tokenizer
        self._rewards = rewards
        self._ledger = ledger
        self._device = device
        self._stopping = stopping
        self._admitted = admitted
        self._ranking = ranking

    async def draw(self, ask: Ask, count: int, heard: Callable[[Sample], None]) -> Draw:
        """`count` samples; `heard` is told of each when it ends. Raises BudgetSpent and Interrupted beforehand."""
        await self._admitted()
        self.look()
        most = count * (len(ask.prompt_ids) + ask.sampling.max_tokens)
        reservation = await self._ledger.reserve("task", Charge(count, most))
        started = time.monotonic()
        found: list[Sample] = []
        try:
            with self._device.at_work():
                async for sample in self._sampler.sample(ask.prompt_ids, count, ask.sampling):
                    found.append(sample)
                    heard(sample)
        except BaseException:
            self._ledger.cancel(reservation)
            raise
        found.sort(key=lambda sample: sample.index)
        draw = Draw(ask, tuple(found), time.monotonic() - started)
        self._ledger.settle(reservation, draw.usage)
        return draw

    def look(self) -> None:
        """Raise Interrupted where the run is to stop, BudgetSpent where its time is up."""
        if self._stopping():
            raise Interrupted("stopped; everything that was paid for is kept, and the same command goes on")
        self._ledger.check_minutes()

    async def judge(self, ask: Ask, sample: Sample) -> Reward:
        return await self._rewards.judge(ask.example, self.text(sample), sample.finish_reason)

    async def rewarded(self, draw: Draw, rewards: Sequence[Reward]) -> Group:
        """The group, once each of its samples is judged; here its answers are set against each other."""
        if self._ranking is not None:
            outputs = [self.text(sample) for sample in draw.samples]
            version = min(sample.policy_version for sample in draw.samples)
            rewards = await self._ranking.combine(draw.ask.example, outputs, rewards, version)
        return Group(draw, tuple(rewards))

    def text(self, sample: Sample) -> str:
        return self._tokenizer.text(sample.token_ids)


class Stream:
    """The batches of a run, in order; use it as an async context manager.

    async with Stream(source, asks, group=8, queue=8) as stream:
        stream.allow(0)
        groups = await stream.judged(0)
    """

    def __init__(
        self,
        source: Source,
        asks: Callable[[int], Sequence[Ask]],
        *,
        group: int,
        queue: int,
        first: int = 0,
        known: Sequence[Sequence[Group]] = (),
    ) -> None:
        """`asks` says what batch `number` asks. `known` are batches from `first` on that were drawn before; a group of
        them without rewards is judged now.
        """
        self._source = source
        self._asks = asks
        self._group = group
        self._room = asyncio.Semaphore(queue)
        self._last = first - 1 + len(known)
        self._changed = asyncio.Event()
        self._batches: dict[int, asyncio.Future[list[Draw]]] = {}
        self._judgements: defaultdict[int, list[Judging]] = defaultdict(list)
        self._groups: defaultdict[int, list[asyncio.Task[Group]]] = defaultdict(list)
        self._producer: asyncio.Task[Exception] | None = None
        self._first, self._known = first, known

    async def __aenter__(self) -> Stream:
        for number, groups in enumerate(self._known, start=self._first):
            for group in groups:
                judging = self._judging(number)
                for sample in () if group.rewards else group.draw.samples:
                    self._judge(judging, group.draw.ask, sample)
                self._reward(number, group.draw, judging, group.rewards)
            self._batch(number).set_result([group.draw for group in groups])
        self._producer = asyncio.create_task(self._produce(self._last + 1))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Draw nothing more; what is under way is judged, because it is paid for, unless the caller is cancelled."""
        if self._producer is not None:
            self._producer.cancel()
            await asyncio.gather(self._producer, return_exceptions=True)
        groups = [task for batch in self._groups.values() for task in batch]
        tasks = [task for batch in self._judgements.values() for judging in batch for task in judging.values()]
        if isinstance(error, asyncio.CancelledError):
            for task in (*groups, *tasks):
                task.cancel()
        await asyncio.gather(*groups, *tasks, return_exceptions=True)

    def allow(self, number: int) -> None:
        """Let batches up to this one be drawn with the policy that is published now."""
        self._last = max(self._last, number)
        self._changed.set()

    async def drawn(self, number: int) -> list[Draw]:
        """The groups of a batch once all its samples are there. Raises what stopped the drawing."""
        batch, producer = self._batch(number), self._producer
        assert producer is not None  # a stream is a context manager
        either: set[asyncio.Future[Any]] = {batch, producer}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if not batch.done():  # drawing ended at an earlier batch
            raise producer.result()
        return batch.result()

    async def judged(self, number: int) -> list[Group]:
        """The groups of a batch with their rewards, forgotten with that. Raises what stopped drawing or judging."""
        await self.drawn(number)
        tasks = self._groups[number]
        await asyncio.gather(*tasks, return_exceptions=True)
        groups = [task.result() for task in tasks]
        del self._groups[number], self._judgements[number], self._batches[number]
        return groups

    async def ahead(self) -> list[list[Group]]:
        """Batches that were drawn and not learned from yet, in order: what a checkpoint has to keep. Waits for their
        verdicts, so that none is counted again; groups that could not be judged have no rewards.
        """
        drawn = [number for number, future in sorted(self._batches.items()) if _succeeded(future)]
        await asyncio.gather(*(task for number in drawn for task in self._groups[number]), return_exceptions=True)
        return [
            [
                Group(draw, ()) if task.exception() else task.result()
                for draw, task in zip(self._batches[number].result(), self._groups[number], strict=True)
            ]
            for number in drawn
        ]

    async def _produce(self, number: int) -> Exception:
        """Draw batch after batch; returns what ended it."""
        try:
            while True:
                while number > self._last:
                    self._changed.clear()
                    await self._changed.wait()
                draws = [await self._draw(number, ask) for ask in self._asks(number)]
                self._batch(number).set_result(draws)
                number += 1
        except Exception as error:
            future = self._batch(number)
            future.set_exception(error)
            future.exception()  # nobody need be waiting for it
            return error

    async def _draw(self, number: int, ask: Ask) -> Draw:
        await self._room.acquire()
        judging = self._judging(number)
        try:
            draw = await self._source.draw(ask, self._group, lambda sample: self._judge(judging, ask, sample))
        except BaseException:
            asyncio.gather(*judging.values(), return_exceptions=True).add_done_callback(lambda _: self._room.release())
            raise
        self._reward(number, draw, judging).add_done_callback(lambda _: self._room.release())
        return draw

    def _judging(self, number: int) -> Judging:
        judging: Judging = {}
        self._judgements[number].append(judging)
        return judging

    def _judge(self, judging: Judging, ask: Ask, sample: Sample) -> None:
        judging[sample.index] = asyncio.create_task(self._source.judge(ask, sample))

    def _reward(self, number: int, draw: Draw, judging: Judging, known: tuple[Reward, ...] = ()) -> asyncio.Task[Group]:
        self._groups[number].append(task := asyncio.create_task(self._rewarded(draw, judging, known)))
        return task

    async def _rewarded(self, draw: Draw, judging: Judging, known: tuple[Reward, ...]) -> Group:
        if known:
            return Group(draw, known)
        await asyncio.gather(*judging.values(), return_exceptions=True)
        return await self._source.rewarded(draw, [judging[sample.index].result() for sample in draw.samples])

    def _batch(self, number: int) -> asyncio.Future[list[Draw]]:
        return self._batches.setdefault(number, asyncio.get_running_loop().create_future())


def _succeeded(future: asyncio.Future[list[Draw]]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
