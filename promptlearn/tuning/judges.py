"""The judges of a training run: the job's panel and ranking, over models whose meters run.

Knows the job and what its calls go through; knows no weights and no samples.
"""

from __future__ import annotations

from dataclasses import asdict

from promptlearn.config import TuningConfig
from promptlearn.job import Job
from promptlearn.ledger import Ledger
from promptlearn.limits import Limits
from promptlearn.metered import MeteredModel
from promptlearn.models.base import Model
from promptlearn.models.batch import BatchModel
from promptlearn.records import Role, Split
from promptlearn.runlog import RunLog
from promptlearn.scheduler import Slots
from promptlearn.steering import Steering
from promptlearn.tuning.ranking import Ranking, open_ranking
from promptlearn.tuning.rewards import Rewards


class Judges:
    """Opened for one stretch of a run, and closed with it."""

    def __init__(
        self, job: Job, tuning: TuningConfig, ledger: Ledger, log: RunLog, steering: Steering, slots: Slots
    ) -> None:
        self._job = job
        self._ledger = ledger
        self._log = log
        self._steering = steering
        self._slots = slots
        roles: set[Role] = {"judge"} if tuning.ranking is None else {"judge", tuning.ranking.model}
        self._models = {role: self._metered(role, model) for role, model in job.models().items() if role in roles}
        self.ranking: Ranking | None = None
        """Of the answers to train rows; it says nothing about whether any is good, so validation is read without."""
        if tuning.ranking is not None:
            self.ranking = open_ranking(job, tuning.ranking, self._models[tuning.ranking.model])

    def rewards(self, split: Split) -> Rewards:
        """Of answers to rows of one split."""
        return Rewards(self._job.panel(self._models.get("judge")), self._job.prompt.digest, split)

    async def close(self) -> None:
        for model in self._models.values():
            await model.close()

    def _metered(self, role: Role, model: Model) -> MeteredModel:
        job, stopping = self._job, self._steering.stopping
        if isinstance(model, BatchModel):
            model.attach(job.store.batches, lambda done: self._log.show("batch", **asdict(done)), stopping)
        return MeteredModel(
            model,
            role,
            job.store.journal,
            self._ledger,
            self._slots,
            stopping=stopping,
            limits=job.limits.get(role, Limits()),
            notice=lambda text: self._log.show("waiting", message=text),
            admitted=self._steering.admitted,
        )
