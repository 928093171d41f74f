"""Bench: a job whose meters run: models behind journal and ledger, judges and proposers opened, slots and steering."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass

from promptlearn.evaluation import Evaluator, Row
from promptlearn.job.metering import metered
from promptlearn.job.parts import Job
from promptlearn.judging import Panel
from promptlearn.ledger import Budget, Ledger
from promptlearn.models.base import Model
from promptlearn.optimizer.allowance import spare_rows
from promptlearn.optimizer.guarding import Guarding, review_guards
from promptlearn.programs import ChatProgram
from promptlearn.proposing.base import Proposer
from promptlearn.records import (
    ROLES,
    SPLITS,
    Json,
    Split,
)
from promptlearn.reviews import usable
from promptlearn.runlog import Observer, RunLog, nobody
from promptlearn.scheduler import Pool, Slots, Spare
from promptlearn.steering import Steering


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
    models = {role: metered(job, role, ledger, slots, log, steering, pool.spare.copy) for role in job.models()}
    panel = job.panel(models.get("judge"))
    split_of = {example.id: split for split in SPLITS for example in job.dataset.split(split)}
    evaluator = Evaluator(
        job.program.open(models["task"]) if job.program else ChatProgram(models["task"]),
        panel,
        pool=pool,
        max_error_share=job.search.max_error_share,
        recorder=log,
        on_row=lambda row: _show_row(log, steering, row, split_of.get(row.example.id), ledger),
    )
    proposers = job.open_proposers(models.get("meta"))
    steering.on_raise(lambda budget: _raise_budget(budget, pool, job, log))
    following = asyncio.create_task(steering.follow(log, ledger, lambda: slots.taken)) if run else None
    try:
        guarding, meta = _guarding(job, models.get("judge")), models.get("meta")
        yield Bench(job, ledger, evaluator, panel, proposers, log, guarding, steering, meta)
    finally:
        if following is not None:
            following.cancel()
        await evaluator.drain()
        for model in models.values():
            await model.close()


def _guarding(job: Job, model: Model | None) -> Guarding:
    if not job.search.guard:
        return Guarding((), job.dataset)
    asked = review_guards(usable(job.reviews), job.prompt.contract.variables)
    return Guarding([*job.guards, *asked], job.dataset, model, job.secrets)


def _width(job: Job) -> int:
    """Calls in flight at a time; a model that sends batches wants many."""
    return max(job.search.concurrency, *(getattr(model, "prefers_in_flight", 0) for model in job.models().values()))


def _show_row(log: RunLog, steering: Steering, row: Row, split: Split | None, ledger: Ledger) -> None:
    steering.note_row()
    body = {"prompt": row.rollout.prompt, "split": split, "score": row.score, "spent": asdict(ledger.spent())}
    log.show("row", **body, **_calls(ledger))


def _raise_budget(budget: Budget, pool: Pool, job: Job, log: RunLog) -> None:
    pool.spare.rows = spare_rows(budget, job.llm_judges(), job.search.spare)
    log.show("budget_raised", task_calls=budget.task_calls)


def _calls(ledger: Ledger) -> dict[str, Json]:
    return {role: ledger.spent(role).calls for role in ROLES}
