"""Weights of this machine: trained with torch, and measured by the server that measures their base.

Knows configurations; how weights are trained stands in promptlearn/tuning.
"""

from __future__ import annotations

from promptlearn.assembly import open_role
from promptlearn.config import Config
from promptlearn.errors import ConfigError
from promptlearn.job import Job
from promptlearn.models.base import Model
from promptlearn.tuning.base import Backend
from promptlearn.tuning.local import require_torch
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.run import check


class LocalWeights:
    """Adapters of a `local/…` model, which llama.cpp answers with."""

    def __init__(self, config: Config) -> None:
        self._config = config

    def check(self, job: Job) -> None:
        """Raises ConfigError where base and adapter would not be measured alike."""
        name, base = self._config.models.task.model, self._config.tuning.base
        if not name.startswith("local/"):
            raise ConfigError(
                f"arms that train weights need a models.task whose weights are here (local/NAME), not {name}; "
                "possible arms without: base, prompt, best_of_n"
            )
        if base is not None and base != name:
            raise ConfigError(
                f"tuning.base is {base} and models.task is {name}: all arms have to have the same weights; leave "
                "tuning.base out"
            )
        if self._config.models.task.adapter is not None:
            raise ConfigError("models.task has an adapter already, and training starts from the base; leave it out")
        require_torch()
        check(job, self._config.tuning)

    def backend(self, job: Job) -> Backend | None:
        return None

    def model(self, job: Job, trained: TuneResult) -> Model:
        """Raises ConfigError for an adapter that llama.cpp can not read."""
        if trained.gguf is None:
            why = trained.warnings[-1] if trained.warnings else "its architecture is not known"
            raise ConfigError(f"the adapter of run {trained.run_id} can not be measured by llama.cpp: {why}")
        entry = self._config.models.task.model_copy(update={"adapter": str(trained.gguf)})
        return open_role("task", entry, self._config.search.concurrency)
