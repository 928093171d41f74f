"""Reading: the test split, once for each subject, after everything has been learned (invariant 5).

Every subject is read by the same job: the same rows, judges and decoding. What was read before is taken from the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from promptlearn.compare.cost import PerCall
from promptlearn.compare.curves import with_device
from promptlearn.compare.lab import Lab
from promptlearn.compare.learning import Observer
from promptlearn.compare.subject import Subject, job_of, on_this_machine
from promptlearn.experiments.outcome import row_scores
from promptlearn.job import Job, evaluate_job
from promptlearn.models.local import calls_at_once
from promptlearn.runlog import Event
from promptlearn.scheduler import Slots
from promptlearn.store import Store
from promptlearn.store.rows import EVALUATION


@dataclass(frozen=True, slots=True)
class Reading:
    """One subject on the test rows."""

    run: str
    scores: tuple[float | None, ...]
    """In the order of the rows; None: not judged."""
    per_call: PerCall
    times: int
    """How often the store has this reading; more than one means that somebody looked again."""


class Readings:
    """Reads subjects, each once."""

    def __init__(self, lab: Lab, observer: Observer, stopping: Callable[[], bool], slots: Slots) -> None:
        self._lab = lab
        self._observer = observer
        self._stopping = stopping
        self._slots = slots
        self._known: dict[tuple[str, str, str], Reading] = {}

    async def read(self, subject: Subject, name: str) -> Reading:
        """Raises PromptlearnError; answers that were paid for are in the journal then."""
        if subject.key not in self._known:
            self._known[subject.key] = await self._read(subject, f"{name}, test")
        return self._known[subject.key]

    async def _read(self, subject: Subject, name: str) -> Reading:
        job, store = job_of(self._lab, subject, self._lab.seed), self._lab.store
        runs = finished_readings(store, job)
        if not runs:
            self._observer(name, Event("begun", {}))
            evaluation = await evaluate_job(
                job, "test", lambda event: self._observer(name, event), self._stopping, self._slots
            )
            self._observer(name, Event("ended", {}))
            runs = [evaluation.run_id]
        scores = row_scores(store, runs[0], job.prompt.digest, job)
        return Reading(runs[0], scores, _per_call(store, runs[0], job, self._lab.tuning.gpu_usd_per_hour), len(runs))


def finished_readings(store: Store, job: Job) -> list[str]:
    """Runs that measured this job's prompt on the whole test split and nothing else, the newest first."""
    found = []
    for row in store.reader.runs(digest=EVALUATION + job.digest()):
        parts = [(part.prompt, part.split, part.rollouts) for part in store.reader.failures(row.id)]
        if row.state == "finished" and parts == [(job.prompt.digest, "test", len(job.dataset.test))]:
            found.append(row.id)
    return found


def _per_call(store: Store, run: str, job: Job, usd_per_hour: float | None) -> PerCall:
    """Means over the rows that were answered. What the device worked on a call is the time that the call took, divided
    by how many were at work at the same time (Little's law).
    """
    rollouts = [row.rollout for row in store.reader.rollouts(run, job.prompt.digest, "test")]
    answered = [rollout for rollout in rollouts if rollout.error is None]
    if not answered:
        return PerCall(0.0, 0.0, None)
    count = len(answered)
    costs = [rollout.usage.cost_usd for rollout in answered]
    cost = None if None in costs else sum(cost or 0.0 for cost in costs) / count
    if on_this_machine(job.task):
        at_once = calls_at_once(job.task.sampling, job.search.concurrency)
        cost = with_device(cost, sum(rollout.seconds for rollout in answered) / count / at_once, usd_per_hour)
    return PerCall(
        sum(rollout.usage.input_tokens for rollout in answered) / count,
        sum(rollout.usage.output_tokens for rollout in answered) / count,
        cost,
    )
