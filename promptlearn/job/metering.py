"""Metering: a job's models behind its journal, a ledger, limits and slots, as every run of it wants them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict

from promptlearn.job.parts import Job
from promptlearn.ledger import Ledger
from promptlearn.limits import Limits
from promptlearn.metered import MeteredModel
from promptlearn.models.batch import BatchModel
from promptlearn.records import Role
from promptlearn.runlog import RunLog
from promptlearn.scheduler import Slots
from promptlearn.steering import Steering


def metered(
    job: Job,
    role: Role,
    ledger: Ledger,
    slots: Slots,
    log: RunLog,
    steering: Steering,
    may_hedge: Callable[[], bool] = lambda: False,
) -> MeteredModel:
    """The job's model of this role, which it has; the caller closes it. `may_hedge` as in `MeteredModel`."""
    model = job.models()[role]
    if isinstance(model, BatchModel):
        model.attach(job.store.batches, lambda progress: log.show("batch", **asdict(progress)), steering.stopping)
    return MeteredModel(
        model,
        role,
        job.store.journal,
        ledger,
        slots,
        stopping=steering.stopping,
        limits=job.limits.get(role, Limits()),
        may_hedge=may_hedge,
        notice=lambda text: log.show("waiting", message=text),
        admitted=steering.admitted,
    )
