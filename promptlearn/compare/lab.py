"""The lab: what all arms of a comparison share, opened. A job is opened anew for each run, because a run closes its
models.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol

from promptlearn.assembly import STORE_ENV, assemble, known_secrets, read_data
from promptlearn.compare.arms import trains
from promptlearn.compare.weights import LocalWeights
from promptlearn.config import ArmName, CompareConfig, Config, TuningConfig, parse_section
from promptlearn.job import Job
from promptlearn.models.base import Model
from promptlearn.store import Store, open_store
from promptlearn.tuning.base import Backend
from promptlearn.tuning.result import TuneResult


class Weights(Protocol):
    """Where weights are trained, and how what was trained answers."""

    def check(self, job: Job) -> None:
        """Raise a UsageError for what would fail later, before anything is paid for."""

    def backend(self, job: Job) -> Backend | None:
        """The weights that the job's task model runs on, with a new adapter; None: those that the configuration names,
        which training opens itself.
        """

    def model(self, job: Job, trained: TuneResult) -> Model:
        """The job's task model with the adapter that was trained: the same decoding, the same price."""


@dataclass(frozen=True, slots=True)
class Lab:
    """Use it as a context manager where the store is its own."""

    job: Callable[[int], Job]
    """Opens the job with this seed; all of them over `store`."""
    store: Store
    settings: CompareConfig
    tuning: TuningConfig = TuningConfig()
    weights: Weights | None = None
    """None: nothing can be trained here."""
    seed: int = 0
    """The first of the seeds."""

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(self.seed, self.seed + self.settings.seeds))

    def __enter__(self) -> Lab:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()


def open_lab(
    config: Config,
    store: str | Path | None = None,
    arms: tuple[ArmName, ...] | None = None,
    seeds: int | None = None,
) -> Lab:
    """The lab of a configuration; `arms` and `seeds` come before what it says. Raises UsageError."""
    given = {key: value for key, value in {"arms": arms, "seeds": seeds}.items() if value is not None}
    settings = parse_section(CompareConfig, config.compare.model_dump() | given, "compare")
    dataset = read_data(config.data)
    models = config.models
    secrets = known_secrets((models.task, models.judge, models.meta))
    opened = open_store(store or os.environ.get(STORE_ENV) or config.store, secrets=secrets)

    def job(seed: int) -> Job:
        search = config.search.model_copy(update={"seed": seed})
        return assemble(config.model_copy(update={"search": search}), opened, dataset=dataset)

    weights = LocalWeights(config) if trains(settings.arms) else None
    return Lab(job, opened, settings, config.tuning, weights, config.search.seed)
