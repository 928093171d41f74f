"""Evaluating: a job's prompt measured on rows, kept as a run that learns nothing."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from promptlearn.errors import DataError
from promptlearn.evaluation import Row, Want
from promptlearn.job.bench import Bench, open_bench
from promptlearn.job.checks import check_job
from promptlearn.job.parts import Job
from promptlearn.job.record import labels_of, note_end, versions, working
from promptlearn.proof import measure
from promptlearn.records import (
    ROLES,
    SPLITS,
    Candidate,
    Example,
    Role,
    Split,
    Usage,
)
from promptlearn.result import Measure
from promptlearn.runlog import Observer, nobody
from promptlearn.scheduler import Slots
from promptlearn.steering import Steering
from promptlearn.store.rows import EVALUATION


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
    check_job(job, learns=False)
    wanted = [(name, job.dataset.split(name)) for name in SPLITS if split in (None, name)]
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
        steering = Steering(job.store, run, stopping)
        try:
            async with (
                working(job.store, run, steering),
                open_bench(job, run, observer, stopping, 0.0, slots, steering) as bench,
            ):
                counts = {name: len(rows) for name, rows in wanted}
                judges = labels_of(bench.panel)
                await bench.log.event("started", run=run, resumed=False, rows=counts, warnings=[], judges=judges)
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
