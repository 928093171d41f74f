"""A job: prompt, examples, models, judges, search and budget, opened and ready to run or to evaluate.

Knows how the parts are put together, and how a run begins, goes on and ends; knows nothing about how they work. The
CLI builds a job from a configuration, the Python API from objects; both run it here.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from promptlearn import __version__
from promptlearn.alarms import find_alarms
from promptlearn.attempts import counts_itself
from promptlearn.config import QUALITY, JudgeConfig, ObjectiveConfig, ScoringConfig, SearchConfig
from promptlearn.config.search import usual_proposers
from promptlearn.dataset import Dataset, find_leaks
from promptlearn.errors import BudgetSpent, ConfigError, DataError, Interrupted, PromptlearnError, StoreError
from promptlearn.evaluation import Evaluator, Row, Want
from promptlearn.judging import Judge, Member, Panel, When, judge_needs_model, load_judge_file, open_judge
from promptlearn.ledger import Budget, Charge, Ledger, RoleCap
from promptlearn.limits import Limits
from promptlearn.metered import MeteredModel
from promptlearn.models.base import Model
from promptlearn.models.batch import BatchModel
from promptlearn.models.retries import RetryPolicy
from promptlearn.optimizer import Optimizer, Search
from promptlearn.optimizer.allowance import Allowance, spare_rows
from promptlearn.optimizer.choosing import Chooser, Known
from promptlearn.optimizer.guarding import Guarding, Standing, adopted, review_guards
from promptlearn.programs import ChatProgram, ProgramSource
from promptlearn.prompt import PromptFile, chat_file
from promptlearn.proof import Proof, above_noise, measure, prove, weigh
from promptlearn.proposing import MAY_ASK, PROPOSERS, open_proposer
from promptlearn.proposing.base import Proposer
from promptlearn.records import ROLES, Candidate, Example, Guard, Json, Prompt, Review, Role, Split, Usage, fingerprint
from promptlearn.result import Alarm, Measure, RunResult
from promptlearn.reviews import usable
from promptlearn.runlog import Observer, RunLog, nobody
from promptlearn.scheduler import Pool, Slots, Spare
from promptlearn.selection.objectives import MEASURES, PROMPT_SIZE
from promptlearn.steering import Steering, budget_of
from promptlearn.store import Store
from promptlearn.store.rows import EVALUATION, RunState

HEARTBEAT = 5.0
"""Seconds between two notes of working time."""


@dataclass(frozen=True, slots=True)
class JudgeSpec:
    """A judge of the job: an object, or what the configuration says of one."""

    judge: Judge | JudgeConfig
    weight: float = 1.0
    veto: bool = False
    when: When = "always"
    gold: bool = False

    @classmethod
    def of(cls, config: JudgeConfig) -> JudgeSpec:
        """The judge of a configuration."""
        return cls(config, config.weight, config.veto, config.when, config.gold)


@dataclass(frozen=True, slots=True)
class Job:
    """Everything that a run needs. `prompt` is bound to the dataset's columns."""

    prompt: Prompt
    file: PromptFile | None
    """Where the prompt came from, and so the form in which the learned one is written; None for one made in Python."""
    dataset: Dataset
    task: Model
    judges: tuple[JudgeSpec, ...]
    store: Store
    judge: Model | None = None
    meta: Model | None = None
    reviews: tuple[Review, ...] = ()
    proposers: tuple[Proposer | str, ...] = ()
    """Empty: all that can work."""
    scoring: ScoringConfig = field(default_factory=ScoringConfig)
    objectives: tuple[ObjectiveConfig, ...] = ()
    """In their order, with quality among them; empty: quality alone."""
    search: SearchConfig = field(default_factory=SearchConfig)
    budget: Budget = field(default_factory=Budget)
    limits: Mapping[Role, Limits] = field(default_factory=dict)
    """How fast each role's model may be called, where that is not found out alone."""
    folder: Path = Path()
    """Where paths of the user's own Python judges start."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Keys that must reach no store, log or judge (invariant 10)."""
    described: Json = None
    """The configuration as it is stored with the run; without it, a description of the parts."""
    program: ProgramSource | None = None
    """What runs the prompt, asking `task`; None: one chat completion."""
    guards: tuple[Guard, ...] = ()
    """What earlier runs on this prompt learned from reviewers, beside what `reviews` ask for."""
    scope: str = ""
    """What the store calls the prompt, so that later runs find what this one learned; empty: they do not."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a careful person would want to know before the run; nothing here stops it."""
        found = list(self.dataset.warnings)
        if self.judge is not None and self.judge.identity == self.task.identity and self.llm_judges():
            found.append(f"the judge is the task model itself ({self.task.name}); a second model judges more fairly")
        leaks = find_leaks(self.dataset)
        if leaks:
            shown = "; ".join(str(leak) for leak in leaks[:3])
            found.append(f"{len(leaks)} (near-)duplicates stand in two splits, so scores may be too high: {shown}")
        described = self.described if isinstance(self.described, dict) else {}
        if isinstance(described.get("reviews"), dict) and not self.reviews:
            found.append(
                "no comment in the store is approved, so none is learned from: see `promptlearn feedback list`"
            )
        unused = [review.id for review in self.reviews if review not in usable(self.reviews)]
        if unused:
            found.append(f"{len(unused)} reviews are not approved or not by trusted authors, and not used")
        if any(one.name == "cost" for one in self.objectives) and self.task.price is None:
            found.append(f"cost is an objective, and nobody knows the price of {self.task.name}: it decides nothing")
        return (*found, *(self.program.warnings if self.program else ()))

    def digest(self) -> str:
        """What makes two runs the same: everything but budget, concurrency and where things are stored."""
        search = self.search.model_dump(mode="json", exclude={"concurrency"})
        models = {role: [model.identity, repr(model.sampling)] for role, model in self.models().items()}
        judges = [[_judge_digest(spec.judge), spec.weight, spec.veto, spec.when, spec.gold] for spec in self.judges]
        contract = self.prompt.contract
        kept = [list(contract.locked), contract.max_tokens, contract.output_schema]
        proposers = [name if isinstance(name, str) else name.name for name in self.proposer_names()]
        reviews = [[review.body, review.suggestion] for review in usable(self.reviews)]
        scoring = self.scoring.model_dump(mode="json", exclude={"criteria"})
        parts = [self.prompt.digest, kept, self.dataset.digest, models, judges, scoring, proposers, search, reviews]
        parts += [[guard.id, *guard.examples] for guard in self.guards]
        parts += [one.model_dump(mode="json") for one in self.objectives]
        return fingerprint([*parts, *([self.program.identity] if self.program else [])])

    def models(self) -> dict[Role, Model]:
        found: dict[Role, Model | None] = {"task": self.task, "judge": self.judge, "meta": self.meta}
        return {role: model for role, model in found.items() if model is not None}

    def check(self, learns: bool = True) -> None:
        """Raise a UsageError for what would fail later, before anything is paid for.

        `learns=False` is for a job that only measures its prompt.
        """
        self._check_caps()
        self._check_prices()
        panel = self.panel(self.judge)
        panel.check(self.dataset.examples)
        self._check_objectives(panel)
        if learns and self.search.rounds:
            self._check_search()

    def panel(self, model: Model | None) -> Panel:
        """The judges, opened; those that are language models ask `model`."""
        return Panel([_member(spec, self, model) for spec in self.judges], self.scoring.all_pass)

    def _check_objectives(self, panel: Panel) -> None:
        judges = [member.judge.name for member in panel.members if not member.gold]
        known = [QUALITY, *MEASURES, *judges]
        for one in self.objectives:
            if one.name not in known:
                gold = any(member.judge.name == one.name for member in panel.members)
                why = "that judge is gold, and steers nothing" if gold else f"possible: {', '.join(known)}"
                raise ConfigError(f"objectives: {one.name!r} can not be one; {why}")

    def _check_prices(self) -> None:
        capped = [role for role, cap in self.budget.roles.items() if self.budget.usd is None and cap.usd is not None]
        key = f"budget.roles.{capped[0]}.usd" if capped else "budget.usd"
        roles = ROLES if self.budget.usd is not None else capped
        unknown = [model.name for role, model in self.models().items() if role in roles and model.price is None]
        if unknown:
            raise ConfigError(
                f"{key} is set, and nobody knows the price of {', '.join(unknown)}; "
                "give `price: {input: …, output: …}` (US dollars per million tokens) to that model, or cap tokens"
            )

    def _check_caps(self) -> None:
        """A command spends on models of its own what nobody can tell before it has."""
        if not counts_itself(self.task):
            return
        budget, own = self.budget, self.budget.roles.get("task", RoleCap())
        tokens = {"tokens": budget.tokens, "roles.task.tokens": own.tokens}
        caps = {"usd": budget.usd, "roles.task.usd": own.usd, **tokens}
        key = next((key for key, cap in caps.items() if cap is not None), None)
        if key is not None:
            raise ConfigError(
                f"budget.{key} is set, and nobody knows what {self.task.name} spends on models of its own before it "
                "has spent it; cap task_calls or minutes, and judge and meta under budget.roles"
            )

    def _check_search(self) -> None:
        if self.search.optimizer != "promptlearn" and (self.meta is None or self.budget.task_calls is None):
            raise ConfigError(_needs(self))
        names = self.proposer_names()
        if not names:
            raise ConfigError(f"search.proposers is empty; possible: {', '.join(PROPOSERS)}")
        for name in names:
            if isinstance(name, str):
                open_proposer(name, model=self.meta)
        needed = 2 * len(self.dataset.test) + 2 * min(self.search.minibatch, len(self.dataset.train))
        for key in ("task_calls", "calls"):
            cap = getattr(self.budget, key)
            if cap is not None and cap < needed:
                raise ConfigError(
                    f"budget.{key} = {cap} is too small: reading the test split with two prompts and a first step "
                    f"take {needed} task calls; raise it, or lower data.limit.test ({len(self.dataset.test)} rows now)"
                )

    def proposer_names(self) -> tuple[Proposer | str, ...]:
        if self.proposers:
            return self.proposers
        shorter = bool(self.objectives) and self.objectives[0].name in PROMPT_SIZE
        return usual_proposers(self.meta is not None, shorter)

    def asks_meta(self) -> bool:
        """Whether a proposer may ask the meta model."""
        return self.meta is not None and any(name in MAY_ASK for name in self.proposer_names())

    def judged_again(self) -> int:
        """Judgements per judge that measuring its noise takes at most, beside those of the rows themselves."""
        scoring = self.scoring
        wavers = any(isinstance(spec.judge, JudgeConfig) and judge_needs_model(spec.judge.use) for spec in self.judges)
        return scoring.noise_rows * (scoring.noise_repeats - 1) if wavers else 0

    def llm_judges(self, on_every_row: bool = False) -> int:
        """How many judges are language models; `on_every_row` leaves out those that are not always asked."""
        return sum(
            isinstance(spec.judge, JudgeConfig)
            and judge_needs_model(spec.judge.use)
            and not (on_every_row and (spec.when != "always" or spec.gold))
            for spec in self.judges
        )


@dataclass(slots=True)
class Bench:
    """A job with its meters running."""

    job: Job
    ledger: Ledger
    evaluator: Evaluator
    panel: Panel
    proposers: list[Proposer]
    log: RunLog
    guarding: Guarding
    steering: Steering
    meta: Model | None = None


@asynccontextmanager
async def open_bench(
    job: Job,
    run: str = "",
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    minutes_before: float = 0.0,
    slots: Slots | None = None,
    steering: Steering | None = None,
) -> AsyncIterator[Bench]:
    """Models metered, judges and proposers opened; models are closed at the end. Without a `run` keep no rows.

    `steering` is told about rows, and obeyed; its `stopping` takes the place of the other.
    """
    log = RunLog(job.store, run, observer)
    steering = steering or Steering(job.store, run, stopping)
    stopping = steering.stopping
    ledger = Ledger(job.budget, steering.clock, minutes_before)
    slots = slots or Slots(_width(job))
    pool = Pool(slots, Spare(spare_rows(job.budget, job.llm_judges(), job.search.spare)), stopping)
    for model in job.models().values():
        if isinstance(model, BatchModel):
            model.attach(job.store.batches, lambda progress: log.show("batch", **asdict(progress)), stopping)
    metered = {
        role: MeteredModel(
            model,
            role,
            job.store.journal,
            ledger,
            slots,
            RetryPolicy(),
            stopping,
            limits=job.limits.get(role, Limits()),
            may_hedge=pool.spare.copy,
            notice=lambda text: log.show("waiting", message=text),
            admitted=steering.admitted,
        )
        for role, model in job.models().items()
    }
    panel = job.panel(metered.get("judge"))
    split_of = {example.id: split for split, rows in _splits(job.dataset) for example in rows}
    evaluator = Evaluator(
        job.program.open(metered["task"]) if job.program else ChatProgram(metered["task"]),
        panel,
        pool=pool,
        max_error_share=job.search.max_error_share,
        recorder=log,
        on_row=lambda row: _show_row(log, steering, row, split_of.get(row.example.id), ledger),
    )
    proposers = [
        open_proposer(proposer, model=metered.get("meta")) if isinstance(proposer, str) else proposer
        for proposer in job.proposer_names()
    ]
    steering.on_raise(lambda budget: _raise_budget(budget, pool, job, log))
    following = asyncio.create_task(steering.follow(log, ledger, lambda: slots.taken)) if run else None
    try:
        guarding, meta = _guarding(job, metered.get("judge")), metered.get("meta")
        yield Bench(job, ledger, evaluator, panel, proposers, log, guarding, steering, meta)
    finally:
        if following is not None:
            following.cancel()
        await evaluator.drain()
        for model in metered.values():
            await model.close()


def _guarding(job: Job, model: Model | None) -> Guarding:
    if not job.search.guard:
        return Guarding((), job.dataset)
    asked = review_guards(usable(job.reviews), job.prompt.contract.variables)
    return Guarding([*job.guards, *asked], job.dataset, model, job.secrets)


def _judge_digest(judge: Judge | JudgeConfig) -> Json:
    """What a judge is; for a judge file, what it says now."""
    if not isinstance(judge, JudgeConfig):
        return judge.name
    text = load_judge_file(judge.use).model_dump(mode="json") if judge_needs_model(judge.use) else None
    return [judge.model_dump(mode="json"), text]


def _member(spec: JudgeSpec, job: Job, model: Model | None) -> Member:
    judge = spec.judge
    if isinstance(judge, JudgeConfig):
        judge = open_judge(
            judge.use, judge.options, labels=job.dataset.labels, model=model, folder=job.folder, secrets=job.secrets
        )
    return Member(judge, spec.weight, spec.veto, when=spec.when, gold=spec.gold)


def _width(job: Job) -> int:
    """Calls in flight at a time; a model that sends batches wants many."""
    return max(job.search.concurrency, *(getattr(model, "prefers_in_flight", 0) for model in job.models().values()))


async def run_job(
    job: Job,
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    slots: Slots | None = None,
) -> RunResult:
    """Learn a better prompt and prove it, or go on with the run of the same job that was killed or stopped.

    Jobs that run side by side share `slots`; without them the job has as many as its concurrency says.
    Raises PromptlearnError; whatever was paid for is in the store then, and the same call goes on from there.
    """
    started = time.monotonic()
    job.check()
    digest = job.digest()
    known = job.store.unfinished_run(digest)
    if known is None:
        run = await job.store.start_run(job.described or _described(job), digest, versions(), job.search.seed)
    else:
        run = known
    with job.store.lock_run(run):
        if known is not None:
            await job.store.resume_run(run)
            job = replace(job, budget=budget_of(job.store, run, job.budget))
        row = job.store.reader.run(run)
        minutes = row.active_seconds / 60 if row else 0.0
        steering = Steering(job.store, run, stopping)
        heartbeat = asyncio.create_task(beat(job.store, run, steering))
        try:
            async with open_bench(job, run, observer, stopping, minutes, slots, steering) as bench:
                result = await _learn_and_prove(bench, run, resumed=known is not None, started=started)
        except BaseException as error:
            await note_end(job.store, run, error)
            raise
        finally:
            heartbeat.cancel()
        state: RunState = "budget" if result.stop_reason == "budget" and result.decision != "improved" else "finished"
        result = replace(result, state=state)
        await job.store.finish_run(run, state, result.stop_reason, result.to_json())
        bench.log.show("finished", decision=result.decision)
        return result


def _described(job: Job) -> Json:
    """What reports need to know of a job that was made in Python."""
    return {"objectives": [one.model_dump(mode="json") for one in job.objectives]} if job.objectives else {}


async def _learn_and_prove(bench: Bench, run: str, resumed: bool, started: float) -> RunResult:
    job, ledger, log = bench.job, bench.ledger, bench.log
    warnings = job.warnings
    for split, rows in _splits(job.dataset):
        await job.store.add_examples(run, rows, split)
    counts = {split: len(rows) for split, rows in _splits(job.dataset)}
    await log.event("started", run=run, resumed=resumed, rows=counts, warnings=list(warnings))
    reads = 2 * len(job.dataset.test)
    ledger.hold("task", Charge(reads))
    again = job.judged_again()
    ledger.hold("judge", Charge((reads + again) * job.llm_judges()))
    allowance = Allowance(job.budget, job.llm_judges(), reads, job.search.spare, again)
    bench.steering.on_raise(allowance.widen)
    search, standings = await _look(bench, allowance)
    ledger.release()
    # A run that goes on with a larger budget and another challenger reads the test split a second time, and says so.
    times = 0
    if job.dataset.test:  # whoever leaves it out, as a comparison does, reads it elsewhere
        times = await job.store.read_test(run, f"final/{search.incumbent.digest}")
        prompts = 1 if search.incumbent.digest == job.prompt.digest else 2
        await log.event("test", rows=len(job.dataset.test), prompts=prompts)
    proof = await prove(job.prompt, search.incumbent.prompt, job.dataset.test, bench.evaluator)
    if search.incumbent.digest != job.prompt.digest and job.dataset.test:
        proof = weigh(proof, job.objectives)
        warnings += tuple(f"not proven, because on the test rows {words}" for words in proof.broken)
    proof, noise = await above_noise(proof, bench.panel, job.scoring.noise_rows, job.scoring.noise_repeats)
    if noise is not None:
        await log.event("noise", **noise)
        warnings += (noise["message"],) if noise["refused"] else ()
    usage = {role: ledger.usage(role) for role in ROLES}
    alarms = find_alarms(bench.panel, proof.before, proof.after)
    result = _result(job, run, search, proof, usage, warnings, times, time.monotonic() - started, alarms, noise)
    result = replace(result, spent={role: ledger.spent(role) for role in ROLES})
    if result.decision == "improved" and job.scope:
        await job.store.guards.keep(adopted(standings, result.prompt, job.scope, run))
    return result


async def _look(bench: Bench, allowance: Allowance) -> tuple[Search, Sequence[Standing]]:
    """The search that `search.optimizer` names, and how far its result keeps what reviewers taught."""
    job = bench.job
    if job.search.optimizer == "promptlearn":
        optimizer = Optimizer(
            job.prompt,
            job.dataset,
            bench.evaluator,
            bench.proposers,
            bench.ledger,
            allowance,
            bench.log,
            job.search,
            usable(job.reviews),
            bench.guarding,
            job.objectives,
        )
        return await optimizer.learn(), optimizer.standings
    from promptlearn.optimizer.dspy_search import Task, learn_with
    from promptlearn.programs.dspy_module import DspyProgram

    if bench.meta is None or job.budget.task_calls is None:
        raise ConfigError(_needs(job))
    task = Task(
        job.prompt,
        job.dataset,
        bench.evaluator,
        bench.meta,
        bench.log,
        job.search,
        job.budget.task_calls - 2 * len(job.dataset.test),
    )
    if isinstance(job.program, DspyProgram):
        task = replace(task, sections=job.program.predictors, demonstrations=job.program.takes_demonstrations)
    search = await learn_with(job.search.optimizer, task)
    if job.objectives:
        baseline, known = Candidate(job.prompt, (), "baseline"), Known(search, bench.evaluator)
        await Chooser(search, baseline, job.objectives, job.dataset.validation, known, None, bench.log).choose(False)
    return search, ()


def _needs(job: Job) -> str:
    return f"search.optimizer {job.search.optimizer} needs a model that writes (models.meta) and budget.task_calls"


def _result(
    job: Job,
    run: str,
    search: Search,
    proof: Proof,
    usage: dict[Role, Usage],
    warnings: tuple[str, ...],
    reads: int,
    seconds: float,
    alarms: tuple[Alarm, ...],
    noise: Json,
) -> RunResult:
    improved = proof.conclusion == "improved"
    challenger = search.incumbent.prompt if search.incumbent.digest != job.prompt.digest else None
    shipped = challenger if improved and challenger is not None else job.prompt
    folder = job.store.run_dir(run)
    return RunResult(
        run_id=run,
        state="finished",
        stop_reason=search.stop_reason,
        decision=proof.conclusion,
        prompt=shipped,
        baseline_digest=job.prompt.digest,
        baseline=proof.baseline,
        best_digest=shipped.digest,
        best_path=str(write_prompt(job, shipped, folder, "prompt")),
        best=proof.challenger if improved else proof.baseline,
        delta=proof.delta,
        usage=usage,
        candidates=search.tally,
        wall_s=seconds,
        challenger_digest=challenger.digest if challenger and not improved else None,
        challenger_path=(
            str(write_prompt(job, challenger, folder, "not_proven")) if challenger and not improved else None
        ),
        warnings=warnings,
        alarms=alarms,
        noise=noise,
        objectives=proof.objectives,
        test_reads=reads,
    )


def write_prompt(job: Job, prompt: Prompt, folder: Path, stem: str) -> Path:
    """Leave a prompt as a plain file in the form of the user's own (chat YAML for one made in Python)."""
    file = job.file or chat_file(job.prompt)
    path = folder / f"{stem}{file.path.suffix or '.yaml'}"
    file.write(prompt, path)
    return path


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A prompt measured on rows."""

    measure: Measure
    rows: tuple[Row, ...]
    usage: dict[Role, Usage]
    run_id: str
    wall_s: float


async def evaluate_job(
    job: Job,
    split: Split | None = None,
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    slots: Slots | None = None,
) -> Evaluation:
    """Measure the job's prompt on one split, or on all rows; learns nothing. `slots` as in `run_job`.

    Reading the test split is recorded (invariant 5). Raises PromptlearnError.
    """
    started = time.monotonic()
    job.check(learns=False)
    wanted = [(name, rows) for name, rows in _splits(job.dataset) if split in (None, name)]
    if not any(rows for _, rows in wanted):
        raise DataError(f"{job.dataset.name}: no row is in the split {split}; choose another one, or set data.split")
    async with evaluating(job, wanted, observer, stopping, slots) as (bench, judged):
        measured = measure(judged)
        usage = {role: bench.ledger.usage(role) for role in ROLES}
    return Evaluation(measured, tuple(judged), usage, bench.log.run, time.monotonic() - started)


@asynccontextmanager
async def evaluating(
    job: Job,
    wanted: Sequence[tuple[Split, Sequence[Example]]],
    observer: Observer = nobody,
    stopping: Callable[[], bool] = lambda: False,
    slots: Slots | None = None,
) -> AsyncIterator[tuple[Bench, list[Row]]]:
    """The job's prompt on these rows, kept as an evaluation; the bench stays open for more of the same budget."""
    started = time.monotonic()
    run = await job.store.start_run(job.described or {}, EVALUATION + job.digest(), versions(), job.search.seed)
    with job.store.lock_run(run):
        try:
            async with open_bench(job, run, observer, stopping, 0.0, slots) as bench:
                counts = {name: len(rows) for name, rows in wanted}
                await bench.log.event("started", run=run, resumed=False, rows=counts, warnings=[])
                await bench.log.candidate(Candidate(job.prompt, parents=(), proposer="baseline"))
                for name, rows in wanted:
                    await job.store.add_examples(run, rows, name)
                if any(name == "test" for name, _ in wanted):
                    await job.store.read_test(run)
                judged = await bench.evaluator.rows(
                    [Want(job.prompt, example, name) for name, rows in wanted for example in rows]
                )
                yield bench, judged
        except BaseException as error:
            await note_end(job.store, run, error)
            raise
        measured = measure(judged)
        of = wanted[0][0] if len(wanted) == 1 else None
        result = {"score": measured.score, "n": measured.n, "split": of, "wall_s": round(time.monotonic() - started, 3)}
        await job.store.finish_run(run, "finished", "evaluated", result)


def versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"promptlearn": __version__, "python": sys.version.split()[0]}
    for package in ("aiohttp", "litellm", "openai", "pydantic", "scipy", "sqlalchemy", "xllamacpp"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _splits(dataset: Dataset) -> Sequence[tuple[Split, Sequence[Example]]]:
    return (("train", dataset.train), ("validation", dataset.validation), ("test", dataset.test))


async def beat(store: Store, run: str, steering: Steering | None = None) -> None:
    """Note working time, every so often, until it is cancelled."""
    while True:
        await asyncio.sleep(HEARTBEAT)
        if steering is not None and steering.paused:
            continue
        with suppress(StoreError):  # on a full disk the next reply says so, to somebody who listens
            await store.add_active_seconds(run, HEARTBEAT)


def _show_row(log: RunLog, steering: Steering, row: Row, split: Split | None, ledger: Ledger) -> None:
    steering.note_row()
    body = {"prompt": row.rollout.prompt, "split": split, "score": row.score, "spent": asdict(ledger.spent())}
    log.show("row", **body, **_calls(ledger))


def _raise_budget(budget: Budget, pool: Pool, job: Job, log: RunLog) -> None:
    pool.spare.rows = spare_rows(budget, job.llm_judges(), job.search.spare)
    log.show("budget_raised", task_calls=budget.task_calls)


def _calls(ledger: Ledger) -> dict[str, Json]:
    return {role: ledger.spent(role).calls for role in ROLES}


async def note_end(store: Store, run: str, error: BaseException) -> None:
    """Say in the store how a run ended early; where that can not be written (a full disk), `error` is what counts."""
    with suppress(StoreError):
        await store.finish_run(run, _state(error), _reason(error))


def _state(error: BaseException) -> RunState:
    if isinstance(error, BudgetSpent):
        return "budget"
    if isinstance(error, Interrupted | KeyboardInterrupt | asyncio.CancelledError):
        return "interrupted"
    return "failed"


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, PromptlearnError) else type(error).__name__
