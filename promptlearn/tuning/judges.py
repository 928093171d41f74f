"""The judges of a training run: the job's panel and ranking, over models whose meters run.

Knows the job and what its calls go through; knows no weights and no samples.
"""

from __future__ import annotations

from promptlearn.config import TuningConfig
from promptlearn.job import Job, metered
from promptlearn.ledger import Ledger
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
        roles: set[Role] = {"judge"} if tuning.ranking is None else {"judge", tuning.ranking.model}
        self._models = {
            role: metered(job, role, ledger, slots, log, steering) for role in job.models() if role in roles
        }
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
