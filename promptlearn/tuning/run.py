"""`train`: a job's weights trained on its own examples and judges, from a fresh start or from the last checkpoint.

    job = assemble(config)
    result = await train(job, config.tuning)
    result.adapter, result.validation, result.usage["task"].calls, result.gpu_s

The same command goes on with a run that was killed, interrupted or stopped by its budget (invariant 3). Knows how the
parts are put together; what they do stands in their own files, the loop in tuning/loop.py.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from promptlearn.config import SamplerConfig, TuningConfig
from promptlearn.errors import BudgetSpent, ConfigError, DataError, TuningError
from promptlearn.job import Job, check_job, labels_of, note_end, versions, working
from promptlearn.ledger import Ledger
from promptlearn.models.base import Sampling
from promptlearn.models.threads import sleeping_threads
from promptlearn.records import ROLES, Example, Split, fingerprint
from promptlearn.runlog import Observer, RunLog, nobody
from promptlearn.scheduler import Slots
from promptlearn.steering import Steering, budget_of
from promptlearn.store.rows import TUNING
from promptlearn.store.tuning_rows import TuningSpending
from promptlearn.tuning.base import Backend, Lora, greedy_sampling, training_sampling
from promptlearn.tuning.checkpoint import Checkpoints
from promptlearn.tuning.device import DeviceTime
from promptlearn.tuning.diary import StoreDiary
from promptlearn.tuning.engines import check_engine, require_trl
from promptlearn.tuning.export import write_gguf
from promptlearn.tuning.judges import Judges
from promptlearn.tuning.lint import lint
from promptlearn.tuning.loop import Plan, Trainer
from promptlearn.tuning.order import batch_of, draw_seed
from promptlearn.tuning.progress import NO_SPREAD, Progress
from promptlearn.tuning.ranking import check_ranking, described
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.sampling import chosen_sampler
from promptlearn.tuning.spending import spending
from promptlearn.tuning.stream import Ask, Source
from promptlearn.tuning.validation import Readings, gold_warnings

if TYPE_CHECKING:
    from promptlearn.tuning.trl_engine import TrlTrainer
    from promptlearn.tuning.trl_weights import TrlWeights

Weights: TypeAlias = "Backend | TrlWeights"
"""Weights to train, opened for their engine."""
PUBLISHED = "published"
"""The folder of a run for adapters on their way to the sampler."""
TRL = "trl"
"""The folder of a run in which TRL keeps its checkpoints."""
WITHOUT_EFFECT = {"queue", "checkpoint_every", "gpu_usd_per_hour", "sampler"}
"""Keys that change nothing about what is learned, so that a run goes on whatever they are."""


async def train(
    job: Job,
    tuning: TuningConfig,
    backend: Backend | None = None,
    *,
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    slots: Slots | None = None,
    reuse: bool = False,
) -> TuneResult:
    """Train an adapter for the job's prompt, or go on with the run of the same job and settings.

    With `reuse` the result of such a run that is finished, or that this very budget ended, is given back instead.
    `slots` bound the judges' calls in flight, as in `run_job`. `backend` is left open; without one the configuration's
    base is opened.
    Raises PromptlearnError; what was learned up to the last step that ended is in a checkpoint then, and the same call
    goes on from there.
    """
    check(job, tuning)
    if backend is not None:
        if tuning.engine != "local":
            raise ConfigError(f"tuning.engine {tuning.engine} opens its weights itself; leave out `backend`")
        given = tuning.model_copy(update={"sampler": SamplerConfig(engine="local")})
        return await _train(job, given, backend, observer, stopping, slots, reuse)
    opened = await asyncio.to_thread(open_weights, job, tuning)
    try:
        return await _train(job, tuning, opened, observer, stopping, slots, reuse)
    finally:
        await opened.sampler.close()


async def _train(
    job: Job,
    tuning: TuningConfig,
    weights: Weights,
    observer: Observer,
    stopping: Callable[[], bool],
    slots: Slots | None,
    reuse: bool,
) -> TuneResult:
    digest = tuning_digest(job, tuning, weights)
    if reuse and (ended := find_result(job, digest)) is not None:
        return ended
    known = job.store.unfinished_run(digest)
    described = {"budget": asdict(job.budget), **(job.described or {}), "tuning": tuning.model_dump(mode="json")}
    run = known or await job.store.start_run(described, digest, versions(), job.search.seed)
    with job.store.lock_run(run):
        if known is not None:
            await job.store.resume_run(run)
            job = replace(job, budget=budget_of(job.store, run, job.budget))
        steering = Steering(job.store, run, stopping)
        log = RunLog(job.store, run, observer)
        try:
            async with (
                working(job.store, run, steering),
                _sampling(job, tuning, weights, log) as (ready, warnings),
            ):
                result = await _Training(job, tuning, ready, log, steering, slots, warnings).run()
        except BaseException as error:
            await note_end(job.store, run, error)
            raise
        await job.store.finish_run(run, result.state, result.stop_reason, result.to_json())
    return result


@asynccontextmanager
async def _sampling(
    job: Job, tuning: TuningConfig, weights: Weights, log: RunLog
) -> AsyncIterator[tuple[Weights, tuple[str, ...]]]:
    """The weights with the sampler that the configuration wishes for, and warnings about it."""
    if not isinstance(weights, Backend):
        yield weights, ()
        return
    folder = job.store.run_dir(log.run) / PUBLISHED
    async with chosen_sampler(tuning.sampler, weights, tuning.base or job.task.name, folder) as choice:
        if choice.note:
            log.show("waiting", message=choice.note)
        yield choice.backend, (choice.warning,) if choice.warning else ()


def check(job: Job, tuning: TuningConfig) -> None:
    """Raises a UsageError for what would fail later, before anything is loaded or paid for."""
    check_job(job, learns=False)
    if job.program is not None:
        raise ConfigError("`program` answers here, and a command has no weights to train; leave it out")
    check_engine(tuning)
    check_ranking(job, tuning)
    if tuning.gpu_usd_per_hour and job.budget.usd is not None:
        raise ConfigError(
            "budget.usd caps calls, and nobody knows beforehand how long the device will work; cap budget.minutes, or "
            "leave out tuning.gpu_usd_per_hour"
        )
    for split, rows in (("train", job.dataset.train), ("validation", job.dataset.validation)):
        if not rows:
            raise DataError(f"{job.dataset.name}: no row is in the split {split}, which training needs; set data.split")


def open_weights(job: Job, tuning: TuningConfig) -> Weights:
    """The weights that the configuration names, on its device, for its engine; takes seconds.

    Raises ConfigError where they are not there, or torch is not: one line that names the extra.
    """
    name = tuning.base or job.task.name
    if tuning.base is None and not name.startswith("local/"):
        raise ConfigError(
            f"models.task is {name}, whose weights nobody can train here; name some with tuning.base, such as "
            "local/smollm2-135m-instruct"
        )
    from promptlearn.tuning.local import open_local, require_torch

    device = None if tuning.device == "auto" else tuning.device
    if tuning.engine == "local":
        lora = Lora(tuning.lora.rank, tuning.lora.alpha, seed=job.search.seed)
        return open_local(name, lora, device=device, threads=tuning.threads)
    require_torch()
    require_trl()
    with sleeping_threads():
        from promptlearn.tuning.trl_weights import TrlWeights

    return TrlWeights.open(name, device, tuning.threads)


def tuning_digest(job: Job, tuning: TuningConfig, weights: Weights) -> str:
    """What makes two training runs the same."""
    settings = tuning.model_dump(mode="json", exclude=WITHOUT_EFFECT | {"ranking"})
    own = [weights.model_hash, weights.tokenizer.hash]
    return TUNING + fingerprint([job.digest(), settings, own, *described(job, tuning)])


def find_result(job: Job, digest: str) -> TuneResult | None:
    """The result of a run of this digest that is finished, or that this budget ended, and whose adapter is there."""
    budget = {"budget": asdict(job.budget), **(job.described or {})}["budget"]
    for row in job.store.reader.runs(digest=digest):
        over = row.state == "finished" or (row.state == "budget" and row.config.get("budget") == budget)
        if over and isinstance(row.result, dict):
            result = TuneResult.from_json(row.result)
            if result.adapter.is_dir():
                return result
    return None


class _Training:
    """One stretch of a run: from its last checkpoint to its end or to what stops it."""

    def __init__(
        self,
        job: Job,
        tuning: TuningConfig,
        weights: Weights,
        log: RunLog,
        steering: Steering,
        slots: Slots | None,
        warnings: Sequence[str],
    ) -> None:
        self._job = job
        self._tuning = tuning
        self._weights = weights
        self._log = log
        self._steering = steering
        self._stopping = steering.stopping
        self._warnings = warnings
        self._slots = slots or Slots(job.search.concurrency)
        self._folder = job.store.run_dir(log.run)
        self._started = time.monotonic()
        row = job.store.reader.run(log.run)
        self._seconds_before = row.active_seconds if row else 0.0

    async def run(self) -> TuneResult:
        tuning = self._tuning
        checkpoints = Checkpoints(self._folder / "checkpoints")
        found = await asyncio.to_thread(self._found, checkpoints)
        progress = found or Progress()
        read = [reading.spending.wall_s for reading in progress.readings if reading.spending is not None]
        self._seconds_before = max([self._seconds_before, *read])  # a kill takes the last few seconds from the store
        ledger = Ledger(self._job.budget, self._steering.clock, self._seconds_before / 60)
        progress.charge(ledger)
        device = DeviceTime(progress.gpu_s)
        diary = StoreDiary(self._log, (*self._job.warnings, *lint(self._job, tuning), *self._warnings))
        rows = {"train": len(self._job.dataset.train), "validation": len(self._validation_rows())}
        labels = labels_of(self._job.panel(self._job.judge))
        await diary.begin(resumed=found is not None, step=progress.step, steps=tuning.steps, rows=rows, judges=labels)
        judges = Judges(self._job, tuning, ledger, self._log, self._steering, self._slots)
        following = asyncio.create_task(self._steering.follow(self._log, ledger, lambda: self._slots.taken))
        try:
            stop_reason = await self._trainer(judges, ledger, device, checkpoints, progress, diary).run()
        except BudgetSpent as error:
            if progress.best is None:
                raise
            stop_reason = str(error)
        finally:
            following.cancel()
            await judges.close()
        return await self._result(progress, ledger, device, checkpoints, diary, stop_reason)

    def _found(self, checkpoints: Checkpoints) -> Progress | None:
        """Where the last checkpoint stands, put into the weights."""
        if not isinstance(self._weights, Backend):
            from promptlearn.tuning.trl_engine import last_progress

            return last_progress(self._folder / TRL)
        learner = self._weights.learner
        found = checkpoints.load(learner)
        if found is None and learner.version:
            raise TuningError("these weights were trained before, and a new run begins with the base: open it anew")
        return found

    def _trainer(
        self,
        judges: Judges,
        ledger: Ledger,
        device: DeviceTime,
        checkpoints: Checkpoints,
        progress: Progress,
        diary: StoreDiary,
    ) -> Trainer | TrlTrainer:
        plan, training = self._plan(), self._source("train", judges, ledger, device)
        readings = Readings(
            self._source("validation", judges, ledger, device),
            plan.validation,
            self._tuning.queue,
            progress,
            checkpoints,
            diary.validation,
            lambda: self._spending(ledger, device),
        )
        if isinstance(self._weights, Backend):
            folder = self._folder / PUBLISHED
            return Trainer(
                plan, self._weights, training, readings, checkpoints, progress, ledger, device, diary, folder
            )
        from promptlearn.tuning.trl_engine import TrlTrainer

        return TrlTrainer(
            plan,
            self._weights,
            training,
            lambda example: self._job.prompt.render(example.inputs),
            readings,
            progress,
            ledger,
            device,
            diary,
            self._folder / TRL,
            self._job.search.seed,
        )

    async def _result(
        self,
        progress: Progress,
        ledger: Ledger,
        device: DeviceTime,
        checkpoints: Checkpoints,
        diary: StoreDiary,
        stop_reason: str,
    ) -> TuneResult:
        best = progress.best
        assert best is not None  # the base is read first, and a reading without a score stops the run
        adapter = _copied(checkpoints.best(best.step), self._folder / "adapter")
        gguf = await self._gguf(adapter, diary)
        await diary.warn(gold_warnings(progress.readings[0], best, self._gold_judges()))
        await diary.end(stop_reason)
        price, spent = self._tuning.gpu_usd_per_hour, self._spending(ledger, device)
        return TuneResult(
            run_id=self._log.run,
            state="finished" if stop_reason in ("steps", "patience", NO_SPREAD) else "budget",
            stop_reason=stop_reason,
            adapter=adapter,
            gguf=gguf,
            steps=progress.step,
            best_step=best.step,
            validation=tuple(progress.readings),
            usage={role: ledger.usage(role) for role in ROLES},
            gpu_s=spent.gpu_s,
            gpu_cost_usd=None if price is None else price * spent.gpu_s / 3600,
            wall_s=spent.wall_s,
            spending=spent,
            warnings=tuple(diary.warnings),
        )

    def _spending(self, ledger: Ledger, device: DeviceTime) -> TuningSpending:
        wall_s = self._seconds_before + time.monotonic() - self._started
        return spending(ledger, self._job.models(), device.seconds, wall_s)

    async def _gguf(self, adapter: Path, diary: StoreDiary) -> Path | None:
        """The adapter for llama.cpp, where the base has a name that it was opened by."""
        base = self._tuning.base or self._job.task.name
        if self._tuning.base is None and not base.startswith("local/"):
            return None
        try:
            return await asyncio.to_thread(write_gguf, adapter, base, self._folder / "adapter.gguf")
        except ConfigError as error:
            await diary.warn([str(error)])
            return None

    def _plan(self) -> Plan:
        tuning, seed = self._tuning, self._job.search.seed
        max_tokens = tuning.max_tokens or self._job.task.sampling.max_tokens

        def ask(example: Example, sampling: Sampling) -> Ask:
            prompt_ids = self._weights.tokenizer.prompt_ids(self._job.prompt.render(example.inputs))
            return Ask(example, tuple(prompt_ids), sampling)

        def train(number: int) -> Sequence[Ask]:
            rows = batch_of(self._job.dataset.train, tuning.groups, number, seed)
            return [
                ask(example, training_sampling(max_tokens, draw_seed(seed, "train", number, place)))
                for place, example in enumerate(rows)
            ]

        validation = [ask(example, greedy_sampling(max_tokens)) for example in self._validation_rows()]
        return Plan(tuning, train, validation, max_tokens, self._job.search.max_error_share)

    def _validation_rows(self) -> Sequence[Example]:
        return self._job.dataset.validation[: self._tuning.validation_rows]

    def _gold_judges(self) -> list[str]:
        return [member.judge.name for member in self._job.panel(self._job.judge).members if member.gold]

    def _source(self, split: Split, judges: Judges, ledger: Ledger, device: DeviceTime) -> Source:
        return Source(
            self._weights.sampler,
            self._weights.tokenizer,
            judges.rewards(split),
            ledger,
            device,
            self._stopping,
            self._steering.admitted,
            judges.ranking if split == "train" else None,
        )


def _copied(source: Path, target: Path) -> Path:
    """The best adapter under a name of its own, whole or not at all."""
    partial = target.with_name(f"{target.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial)
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)
    return target
