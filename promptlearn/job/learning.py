"""Learning: a run from its beginning to the proof on the test split; the page to read first.

Knows how a run begins, goes on and ends; how prompts are searched and proven stands elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from promptlearn.alarms import find_alarms
from promptlearn.errors import ConfigError
from promptlearn.job.bench import Bench, open_bench
from promptlearn.job.checks import check_job, needs_of_dspy
from promptlearn.job.parts import Job
from promptlearn.job.record import labels_of, note_end, versions, working
from promptlearn.job.room import allowance_of, too_small
from promptlearn.ledger import Charge
from promptlearn.optimizer import Optimizer, Search
from promptlearn.optimizer.allowance import Allowance
from promptlearn.optimizer.choosing import Chooser, Known
from promptlearn.optimizer.guarding import Standing, adopted
from promptlearn.prompt import chat_file, write_provenance
from promptlearn.proof import Proof, above_noise, prove, weigh
from promptlearn.records import (
    ROLES,
    SPLITS,
    Candidate,
    Json,
    Prompt,
    Role,
    Usage,
)
from promptlearn.result import Alarm, RunResult
from promptlearn.reviews import usable
from promptlearn.runlog import Observer, nobody
from promptlearn.scheduler import Slots
from promptlearn.steering import Steering, budget_of
from promptlearn.store.rows import RunState


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
    check_job(job)
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
        try:
            async with (
                working(job.store, run, steering),
                open_bench(job, run, observer, stopping, minutes, slots, steering) as bench,
            ):
                result = await _learn_and_prove(bench, run, resumed=known is not None, started=started)
        except BaseException as error:
            await note_end(job.store, run, error)
            raise
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
    warnings = (*job.warnings, *too_small(job))
    for split in SPLITS:
        await job.store.add_examples(run, job.dataset.split(split), split)
    counts = {split: len(job.dataset.split(split)) for split in SPLITS}
    judges = labels_of(bench.panel)
    await log.event("started", run=run, resumed=resumed, rows=counts, warnings=list(warnings), judges=judges)
    reads = 2 * len(job.dataset.test)
    ledger.hold("task", Charge(reads))
    again = job.judged_again()
    ledger.hold("judge", Charge((reads + again) * job.llm_judges()))
    allowance = allowance_of(job)
    bench.steering.on_raise(allowance.widen)
    search, standings = await _look(bench, allowance)
    warnings += tuple(search.warnings)
    await log.settle()
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
    if times > 1 and proof.conclusion == "improved":
        warnings += (_read_again(times),)
    usage = {role: ledger.usage(role) for role in ROLES}
    alarms = find_alarms(bench.panel, proof.before, proof.after)
    result = _result(job, run, search, proof, usage, warnings, times, time.monotonic() - started, alarms, noise)
    result = replace(result, spent={role: ledger.outlay(role) for role in ROLES}, resumed=resumed)
    if result.decision == "improved" and job.scope:
        await job.store.guards.keep(adopted(standings, result.prompt, job.scope, run))
    return result


def _read_again(times: int) -> str:
    """What to think of a proof on rows that this run has looked at before."""
    return (
        f"`improved` rests on reading number {times} of the same test rows: each reading is another chance to look "
        "better by luck, and p is not corrected for it; prove it on fresh rows before you rely on it"
    )


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
        raise ConfigError(needs_of_dspy(job))
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
    best_path, rules_path = write_prompt(job, shipped, folder, "prompt")
    unproven = write_prompt(job, challenger, folder, "not_proven") if challenger and not improved else (None, None)
    return RunResult(
        run_id=run,
        state="finished",
        stop_reason=search.stop_reason,
        decision=proof.conclusion,
        prompt=shipped,
        baseline_digest=job.prompt.digest,
        baseline=proof.baseline,
        best_digest=shipped.digest,
        best_path=best_path,
        rules_path=rules_path,
        best=proof.challenger if improved else proof.baseline,
        delta=proof.delta,
        usage=usage,
        candidates=search.tally,
        wall_s=seconds,
        challenger_digest=challenger.digest if challenger and not improved else None,
        challenger_path=unproven[0],
        challenger_rules_path=unproven[1],
        warnings=warnings,
        alarms=alarms,
        noise=noise,
        objectives=proof.objectives,
        test_reads=reads,
    )


def write_prompt(job: Job, prompt: Prompt, folder: Path, stem: str) -> tuple[str, str | None]:
    """Leave a prompt as a plain file in the form of the user's own (chat YAML for one made in Python), and beside it
    where its parts came from, unless the file itself says so; returns both paths.
    """
    file = job.file or chat_file(job.prompt)
    path = folder / f"{stem}{file.path.suffix or '.yaml'}"
    file.write(prompt, path)
    beside = write_provenance(file, prompt, path)
    return str(path), None if beside is None else str(beside)
