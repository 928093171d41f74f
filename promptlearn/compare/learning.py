"""Learning: each arm's prompt and weights, from train and validation rows, one stage after the other.

A stage is a run like any other, of a job without a test split: who never has it can not read it (invariant 5). What a
run of the same job has learned before is taken from the store, so that a comparison goes on where it stopped, and
arms that begin alike share what they have in common.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from promptlearn.compare.arms import STAGES, Stage, beginnings
from promptlearn.compare.cost import Point, Training
from promptlearn.compare.curves import (
    CURVE,
    CurveWatch,
    learned_prompt,
    prompt_curve,
    prompt_training,
    weights_curve,
    weights_training,
)
from promptlearn.compare.lab import Lab
from promptlearn.compare.subject import Subject, job_of
from promptlearn.config import ArmName, TuningConfig
from promptlearn.errors import ConfigError, StoreError
from promptlearn.job import Job, run_job
from promptlearn.records import Json
from promptlearn.runlog import Event
from promptlearn.scheduler import Slots
from promptlearn.store import Store
from promptlearn.store.rows import RunRow
from promptlearn.tuning.run import train

Observer: TypeAlias = Callable[[str, Event], None]
"""Hears what happens in which part of a comparison: `begun`, `ended`, and the events of the runs between."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What one arm has with one seed."""

    subject: Subject
    training: Training = Training()
    curve: tuple[Point, ...] = ()
    runs: tuple[str, ...] = ()
    """One for each stage."""


Key: TypeAlias = tuple[int, tuple[Stage, ...]]
"""A seed, and the stages that it has been through."""


class Learning:
    """Learns what arms need, each thing once."""

    def __init__(self, lab: Lab, observer: Observer, stopping: Callable[[], bool], slots: Slots) -> None:
        self._lab = lab
        self._observer = observer
        self._asked_to_stop = stopping
        self._slots = slots
        self._failed: Exception | None = None
        """What failed first; runs beside it are to stop and keep what they have."""

    async def learn(self, arms: Sequence[ArmName], seeds: Sequence[int]) -> dict[ArmName, list[Learned]]:
        """What each arm has with each seed. Raises PromptlearnError; what has ended is in the store then.

        Prompts are learned one after the other, since a search takes every slot; weights `compare.at_once` at a time.
        """
        known: dict[Key, Learned] = {(seed, ()): Learned(Subject(self._lab.job(seed).prompt)) for seed in seeds}
        wanted = [(seed, stages) for stages in beginnings(arms) for seed in seeds]
        while missing := [key for key in wanted if key not in known]:
            ready = [(seed, stages) for seed, stages in missing if (seed, stages[:-1]) in known]
            prompts = [key for key in ready if key[1][-1] == "prompt"]
            known |= await self._together(prompts or ready, 1 if prompts else self._lab.settings.at_once, known)
        return {arm: [known[seed, STAGES[arm]] for seed in seeds] for arm in arms}

    async def _together(self, keys: Sequence[Key], most: int, known: Mapping[Key, Learned]) -> dict[Key, Learned]:
        """Each key's last stage, at most so many at a time, in their order. Raises what failed first."""
        waiting, done = list(keys), dict[Key, Learned]()

        async def work() -> None:
            while waiting and self._failed is None:
                seed, stages = key = waiting.pop(0)
                try:
                    done[key] = await self._stage(stages, known[seed, stages[:-1]], seed)
                except Exception as error:  # raised below, once the others have stopped
                    self._failed = self._failed or error

        await asyncio.gather(*(work() for _ in range(most)))
        if self._failed is not None:
            raise self._failed
        return done

    def _stopping(self) -> bool:
        return self._failed is not None or self._asked_to_stop()

    async def _stage(self, stages: tuple[Stage, ...], before: Learned, seed: int) -> Learned:
        """The last of these stages."""
        stage, name = stages[-1], f"{'+'.join(stages)}, seed {seed}"
        job = blind(job_of(self._lab, before.subject, seed))
        self._observer(name, Event("begun", {"stage": stage, "steps": self._lab.tuning.steps}))
        new = await (self._prompt(job, before, name) if stage == "prompt" else self._weights(job, before, name, stage))
        self._observer(name, Event("ended", {}))
        return replace(
            new,
            training=before.training + new.training,
            curve=(*before.curve, *(point.after(before.training) for point in new.curve)),
            runs=(*before.runs, *new.runs),
        )

    async def _prompt(self, job: Job, before: Learned, name: str) -> Learned:
        store = self._lab.store
        row = finished_run(store, job)
        if row is None:
            watch = CurveWatch(lambda event: self._observer(name, event))
            result = await run_job(job, watch, self._stopping, self._slots)
            await store.add_event(result.run_id, CURVE, watch.body())
            row = store.reader.run(result.run_id)
        if row is None or row.result is None:
            raise StoreError(f"the store at {store.where} has lost a run that has just ended; give the command again")
        prompt = learned_prompt(store, row)
        return Learned(
            replace(before.subject, prompt=prompt),
            prompt_training(job, row, self._lab.tuning.gpu_usd_per_hour),
            prompt_curve(store, row, job, self._lab.tuning.gpu_usd_per_hour),
            (row.id,),
        )

    async def _weights(self, job: Job, before: Learned, name: str, stage: Stage) -> Learned:
        if self._lab.weights is None:
            raise ConfigError("nothing here can train weights")
        tuning = tuning_of(stage, self._lab.tuning)
        rates = self._lab.settings.learning_rates or (tuning.learning_rate,)
        tried = [
            await self._trial(job, tuning.model_copy(update={"learning_rate": rate}), before, name) for rate in rates
        ]
        _, best = max(tried, key=lambda one: one[0])  # the earliest of equals
        others = sum((one.training for _, one in tried if one is not best), Training())
        curve = tuple(point.after(others) for point in best.curve)
        return replace(best, training=best.training + others, curve=curve)

    async def _trial(self, job: Job, tuning: TuningConfig, before: Learned, name: str) -> tuple[float, Learned]:
        """One training, and how good its adapter is on validation."""
        assert self._lab.weights is not None
        result = await train(
            job,
            tuning,
            self._lab.weights.backend(job),
            observer=lambda event: self._observer(name, event),
            stopping=self._stopping,
            slots=self._slots,
            reuse=True,
        )
        trained = result if result.improved else None  # an adapter of step 0 changes nothing
        learned = Learned(
            replace(before.subject, trained=trained),
            weights_training(result, tuning.gpu_usd_per_hour),
            weights_curve(result, tuning.gpu_usd_per_hour),
            (result.run_id,),
        )
        return result.best or 0.0, learned


def tuning_of(stage: Stage, tuning: TuningConfig) -> TuningConfig:
    """The settings of a stage that trains: the same steps, samples and readings, whatever is learned from them."""
    if stage == "rejection_sft":
        plain = TuningConfig()
        settings = {key: getattr(plain, key) for key in ("loss", "advantage", "clip_low", "clip_high", "ranking")}
        return tuning.model_copy(update=settings | {"method": stage})
    return tuning.model_copy(update={"method": "rl"})


def blind(job: Job) -> Job:
    """The same job without a test split."""
    return replace(job, dataset=replace(job.dataset, test=()))


def finished_run(store: Store, job: Job) -> RunRow | None:
    """The newest run of exactly this job that has nothing to go on with; None where there is none."""
    budget = _budget(job.described)
    for row in store.reader.runs(digest=job.digest()):
        ended_by_budget = row.state == "budget" and _budget(row.config) == budget
        if row.result is not None and (row.state == "finished" or ended_by_budget):
            return row
    return None


def _budget(described: Json) -> Json:
    return described.get("budget") if isinstance(described, dict) else None
