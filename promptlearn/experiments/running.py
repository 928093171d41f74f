"""Running experiments side by side: one event loop, one pool of slots, one journal.

Knows jobs as wholes. Equal calls are paid for once, whichever experiment asks first; what an experiment decides does
not depend on its neighbours (invariant 8), because each has a ledger of its own, with a share that is fixed beforehand.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace

from promptlearn.errors import Interrupted, PromptlearnError, SystemicError
from promptlearn.experiments.outcome import Outcome, Problem, finished, read, unfinished
from promptlearn.experiments.plan import Batch, Entry
from promptlearn.job import evaluate_job, run_job
from promptlearn.redaction import redact
from promptlearn.runlog import Event
from promptlearn.scheduler import Slots

Observer = Callable[[str, Event], None]
"""Hears what happens in which experiment: the events of its run, and `begun`, `ended` (with its `outcome`) and `defect`
(with its `traceback`).
"""
REFUSALS = ("auth", "not_found", "connection")
"""Kinds of a SystemicError that say something about the endpoint and nothing about the call."""


def nobody(name: str, event: Event) -> None:
    """The observer of a batch that no one watches."""


async def run_batch(
    batch: Batch,
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    again: bool = False,
) -> tuple[Outcome, ...]:
    """Run every experiment that is not finished yet, `at_once` at a time; one outcome for each, in their order.

    An experiment that fails is an outcome and stops no other. Once `stopping` says so, those at work end their calls
    and no other is begun. `again` runs finished ones again (what was paid for is not paid for again).
    """
    return await _Running(batch, observer, stopping, again).run()


class _Running:
    def __init__(self, batch: Batch, observer: Observer, stopping: Callable[[], bool], again: bool) -> None:
        self._batch = batch
        self._observer = observer
        self._stopping = stopping
        self._again = again
        self._slots = Slots(batch.width)
        self._gate = asyncio.Semaphore(batch.settings.at_once)
        self._runs: dict[str, str] = {}
        self._turns: dict[str, asyncio.Lock] = {}
        """By digest: experiments that are one and the same run take turns, so that it happens once."""
        self._done: set[str] = set()
        self._refused: list[tuple[frozenset[str], str, Problem]] = []
        """Models of an experiment that an endpoint turned away, its name, and the reason."""

    async def run(self) -> tuple[Outcome, ...]:
        known = {} if self._again else self._finished(self._batch.entries)
        tasks: list[asyncio.Task[Outcome]] = []
        async with asyncio.TaskGroup() as group:
            for entry in self._batch.entries:
                if entry.name not in known:
                    tasks.append(group.create_task(self._one(entry), name=entry.name))
        outcomes = known | {task.get_name(): task.result() for task in tasks}
        return tuple(outcomes[entry.name] for entry in self._batch.entries)

    def _finished(self, entries: Sequence[Entry]) -> dict[str, Outcome]:
        known = {entry.name: outcome for entry in entries if (outcome := finished(self._batch.store, entry))}
        for name, outcome in known.items():
            self._observer(name, Event("ended", {"outcome": outcome}))
        return known

    async def _one(self, entry: Entry) -> Outcome:
        async with self._turns.setdefault(entry.digest, asyncio.Lock()), self._gate:
            twin = finished(self._batch.store, entry) if entry.digest in self._done else None
            outcome = twin or self._not_worth_it(entry) or await self._attempt(entry)
        if outcome.state == "finished":
            self._done.add(entry.digest)
        self._observer(entry.name, Event("ended", {"outcome": outcome}))
        return outcome

    def _not_worth_it(self, entry: Entry) -> Outcome | None:
        """The outcome of an experiment that is better not begun."""
        if self._stopping():
            return unfinished(entry, "interrupted")
        for models, name, error in self._refused:
            if models <= entry.asks():  # so it would call the one that turned the other away
                line = f"not begun, because {name} asks the same models and failed: {error.message}"
                return unfinished(entry, "failed", error=replace(error, message=line))
        return None

    async def _attempt(self, entry: Entry) -> Outcome:
        self._observer(entry.name, Event("begun", {}))
        try:
            return read(self._batch.store, await self._work(entry), entry)
        except Interrupted:
            return unfinished(entry, "interrupted", self._runs.get(entry.name))
        except Exception as error:
            problem = Problem.of(error, entry.job.secrets)
            if isinstance(error, SystemicError) and error.kind in REFUSALS:
                self._refused.append((entry.asks(), entry.name, problem))
            if not isinstance(error, PromptlearnError):
                trace = redact(traceback.format_exc(), entry.job.secrets)
                self._observer(entry.name, Event("defect", {"traceback": trace}))
            return unfinished(entry, "failed", self._runs.get(entry.name), problem)

    async def _work(self, entry: Entry) -> str:
        """The id of the run that it became."""

        def observe(event: Event) -> None:
            if event.kind == "started":
                self._runs[entry.name] = event.body["run"]
            self._observer(entry.name, event)

        if entry.learns:
            return (await run_job(entry.job, observe, self._stopping, self._slots)).run_id
        return (await evaluate_job(entry.job, "test", observe, self._stopping, self._slots)).run_id
