"""Learning: each arm's prompt and weights, from train and validation rows, one stage after the other.

A stage is a run like any other, of a job without a test split: who never has it can not read it (invariant 5). What a
run of the same job has learned before is taken from the store, so that a comparison goes on where it stopped, and
arms that begin alike share what they have in common.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeAlias

from promptlearn.compare.arms import STAGES, Stage
from promptlearn.compare.cost import Point, Training
from promptlearn.compare.lab import Lab
from promptlearn.compare.subject import Subject, job_of, on_this_machine
from promptlearn.config import ArmName, TuningConfig
from promptlearn.errors import ConfigError, StoreError
from promptlearn.experiments.outcome import row_scores
from promptlearn.job import Job, run_job
from promptlearn.records import ROLES, Json, Prompt
from promptlearn.runlog import Event
from promptlearn.scheduler import Slots
from promptlearn.store import Store
from promptlearn.store.rows import RunRow
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.run import train

CURVE = "curve"
"""The event that keeps a run's curve."""
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


class Learning:
    """Learns what arms need, each thing once."""

    def __init__(self, lab: Lab, observer: Observer, stopping: Callable[[], bool], slots: Slots) -> None:
        self._lab = lab
        self._observer = observer
        self._stopping = stopping
        self._slots = slots
        self._known: dict[tuple[int, tuple[Stage, ...]], Learned] = {}

    async def learn(self, arm: ArmName, seed: int) -> Learned:
        """All stages of an arm. Raises PromptlearnError; what has ended is in the store then."""
        learned = Learned(Subject(self._lab.job(seed).prompt))
        for size, stage in enumerate(STAGES[arm], start=1):
            key = (seed, STAGES[arm][:size])
            if key not in self._known:
                name = f"{'+'.join(key[1])}, seed {seed}"
                self._known[key] = await self._stage(stage, learned, seed, name)
            learned = self._known[key]
        return learned

    async def _stage(self, stage: Stage, before: Learned, seed: int, name: str) -> Learned:
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
            weights_training(result),
            weights_curve(self._lab.store, result, tuning.gpu_usd_per_hour),
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


def learned_prompt(store: Store, row: RunRow) -> Prompt:
    """What validation chose. A run without a test split can prove nothing, so its winner is the challenger."""
    digest = row.result["challenger"]["digest"] or row.result["baseline"]["digest"]
    candidate = store.reader.candidate(row.id, digest)
    if candidate is None:
        raise StoreError(f"the store at {store.where} has no prompt {digest} of run {row.id}: restore it from a backup")
    return candidate.prompt


def prompt_training(job: Job, row: RunRow, usd_per_hour: float | None) -> Training:
    """What a run that learned a prompt took."""
    spent = {role: row.result["spent"][role] for role in ROLES}
    models = job.models()
    used = [models[role] for role in ROLES if role in models and spent[role]["calls"]]
    wall = max(row.result["wall_s"], row.active_seconds)
    device = wall if any(map(on_this_machine, used)) else 0.0
    known = all(model.price is not None for model in used)
    calls_cost = sum(part["usd"] or 0.0 for part in spent.values()) if known else None
    return Training(
        sum(part["calls"] for part in spent.values()),
        sum(part["tokens"] for part in spent.values()),
        device,
        with_device(calls_cost, device, usd_per_hour),
        wall,
    )


def with_device(cost: float | None, seconds: float, usd_per_hour: float | None) -> float | None:
    """Dollars of calls and of the device together; None where a part is unknown."""
    if cost is None or (seconds and usd_per_hour is None):
        return None
    return cost + seconds * (usd_per_hour or 0.0) / 3600


@dataclass(slots=True)
class CurveWatch:
    """An observer that notes what had been spent whenever a candidate took the incumbent's place."""

    observer: Callable[[Event], None]
    started: float = field(default_factory=time.monotonic)
    spent: dict[str, Json] = field(default_factory=lambda: {"calls": 0, "tokens": 0, "usd": 0.0})
    accepted: list[dict[str, Json]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if event.kind == "row":
            self.spent = event.body["spent"]
        if event.kind == "decision" and event.body["outcome"] == "accepted":
            body = {
                "prompt": event.body["candidate"],
                **self.spent,
                "wall_s": round(time.monotonic() - self.started, 3),
            }
            self.accepted.append(body)
        self.observer(event)

    def body(self) -> dict[str, Json]:
        return {"accepted": self.accepted}


def prompt_curve(store: Store, row: RunRow, job: Job, usd_per_hour: float | None) -> tuple[Point, ...]:
    """The incumbent's mean on validation: the seed prompt's, that of each one that replaced it, and the last one's."""

    def score(digest: str) -> float | None:
        judged = [one for one in row_scores(store, row.id, digest, job, "validation") if one is not None]
        return sum(judged) / len(judged) if judged else None

    whole = prompt_training(job, row, usd_per_hour)
    events = [event for event in store.reader.events(row.id) if event.kind == CURVE]
    accepted = events[-1].body["accepted"] if events else []
    points = [Point(0, 0, None if whole.cost_usd is None else 0.0, 0.0, score(row.result["baseline"]["digest"]))]
    for one in accepted:
        seconds = one["wall_s"] if whole.gpu_s else 0.0
        cost = None if whole.cost_usd is None else with_device(one["usd"], seconds, usd_per_hour)
        points.append(Point(one["calls"], one["tokens"], cost, one["wall_s"], score(one["prompt"])))
    last = score(learned_prompt(store, row).digest)
    return (*points, Point(whole.calls, whole.tokens, whole.cost_usd, whole.wall_s, last))


def weights_training(result: TuneResult) -> Training:
    """What a run that trained an adapter took."""
    used = list(result.usage.values())
    return Training(
        sum(usage.calls + usage.cached_calls for usage in used),
        sum(usage.input_tokens + usage.output_tokens for usage in used),
        result.gpu_s,
        result.cost_usd,
        result.wall_s,
    )


def weights_curve(store: Store, result: TuneResult, usd_per_hour: float | None) -> tuple[Point, ...]:
    """Each reading of validation, after the steps before it. Tokens and device seconds are those of the steps; a
    reading's own are counted as calls alone.
    """
    steps = {step.step: step for step in store.tuning.steps(result.run_id)}
    spent, points, last = Training(), [], 0
    for reading in result.validation:
        for step in (steps[number] for number in range(last + 1, reading.step + 1)):
            device = step.sample_s + step.train_s
            tokens = step.input_tokens + step.output_tokens
            spent += Training(step.samples, tokens, device, with_device(0.0, device, usd_per_hour), step.seconds)
        if reading.step == 0 or any(steps[number].trained_tokens for number in range(last + 1, reading.step + 1)):
            spent += Training(reading.n + reading.unscored)  # else the reading before it is taken again
        last = reading.step
        points.append(Point(spent.calls, spent.tokens, spent.cost_usd, spent.wall_s, reading.score))
    return tuple(points)
