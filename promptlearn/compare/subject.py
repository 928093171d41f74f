"""Subjects: a prompt and an adapter that answer together, whichever arm and seed they came from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from promptlearn.compare.best_of import BestOf
from promptlearn.compare.lab import Lab
from promptlearn.errors import ConfigError
from promptlearn.job import Job
from promptlearn.models.base import Model
from promptlearn.records import Prompt
from promptlearn.tuning.result import TuneResult


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured."""

    prompt: Prompt
    trained: TuneResult | None = None
    """Where its adapter comes from; None: the weights as they are."""
    how: BestOf | None = None
    """None: one answer per example."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Subjects with equal keys answer alike."""
        return self.prompt.digest, self.trained.run_id if self.trained else "", self.how.identity if self.how else ""


def job_of(lab: Lab, subject: Subject, seed: int) -> Job:
    """The lab's job with this prompt and these weights."""
    job = lab.job(seed)
    if subject.trained is not None:
        if lab.weights is None:
            raise ConfigError("an adapter needs the weights that it was trained on, and nothing here has them")
        job = replace(job, task=lab.weights.model(job, subject.trained))
    return replace(job, prompt=subject.prompt, program=subject.how or job.program)


def on_this_machine(model: Model) -> bool:
    """Whether this machine's device answers, so that its seconds are what a call costs."""
    return model.name.startswith("local/")
