"""Measures: what is kept of a step for people to look at. Plain functions of what a step saw.

Knows rewards and reports; never asked by anything that decides.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from promptlearn.records import Usage
from promptlearn.store.tuning_rows import TuningSample, TuningStep
from promptlearn.tuning.advantages import Credited
from promptlearn.tuning.base import Sample, StepReport, TrainSample
from promptlearn.tuning.stream import Group

_UPDATE = (
    "loss",
    "kl",
    "entropy",
    "clip_fraction",
    "grad_norm",
    "ratio",
    "ratio_error",
    "effective_sample_size",
)
"""What a row takes from the learner's report as it is."""


@dataclass(frozen=True, slots=True)
class Seconds:
    """Where a step's time went."""

    wait: float
    """For samples and verdicts."""
    train: float
    """In the learner, publishing included."""
    whole: float


def measured(
    step: int,
    groups: Sequence[Group],
    credited: Credited,
    report: StepReport | None,
    staleness: int,
    seconds: Seconds,
) -> TuningStep:
    """A step's row. `report` is None where no group was left to learn from."""
    samples = [sample for group in groups for sample in group.draw.samples]
    rewards = [value for group in groups for value in _rewards(group)]
    spreads = [statistics.pstdev(values) for group in groups if (values := _rewards(group))]
    usage = sum((group.draw.usage for group in groups), Usage())
    sampling = sum(group.draw.seconds for group in groups)
    return TuningStep(
        step=step,
        reward=statistics.fmean(rewards) if rewards else None,
        spread=statistics.fmean(spreads) if spreads else None,
        samples=len(samples),
        failed=len(samples) - len(rewards),
        groups=len(groups),
        dropped=credited.dropped,
        truncated=sum(sample.finish_reason == "length" for sample in samples),
        length=usage.output_tokens / len(samples),
        staleness=staleness,
        trained_tokens=report.tokens if report else 0,
        input_tokens=usage.input_tokens,
        output_tokens=usage.output_tokens,
        tokens_per_s=usage.output_tokens / sampling if sampling else 0.0,
        sample_s=sampling,
        wait_s=seconds.wait,
        train_s=seconds.train,
        seconds=seconds.whole,
        **_update(report),
    )


def sample_rows(step: int, groups: Sequence[Group], text: Callable[[Sample], str]) -> list[TuningSample]:
    """Every sample of a step with what was said about it."""
    return [
        TuningSample(
            step=step,
            group=place,
            index=sample.index,
            example=group.draw.ask.example.id,
            output=text(sample),
            reward=reward.value,
            parts=reward.parts,
            feedback=reward.feedback,
            error=reward.error,
            finish_reason=sample.finish_reason,
            policy_version=sample.policy_version,
            tokens=len(sample.token_ids),
        )
        for place, group in enumerate(groups)
        for sample, reward in zip(group.draw.samples, group.rewards, strict=True)
    ]


def kl_to_base(samples: Sequence[TrainSample], base: Sequence[Sequence[float]]) -> float:
    """KL(policy ‖ base) of the policy that drew the samples, in nats per token: the mean over trained tokens of
    exp(d) - d - 1 with d = base - behaviour (k3; Schulman, "Approximating KL Divergence", 2020). `base` has the base
    model's log-probabilities, in the shape of the samples' `token_ids`.
    """
    gaps = [
        of_base - drawn
        for sample, row in zip(samples, base, strict=True)
        for of_base, drawn, trained in zip(row, sample.behaviour_logprobs, sample.mask, strict=True)
        if trained
    ]
    return statistics.fmean(math.exp(gap) - gap - 1 for gap in gaps)


def _update(report: StepReport | None) -> dict[str, Any]:
    return {} if report is None else {name: getattr(report, name) for name in _UPDATE}


def _rewards(group: Group) -> list[float]:
    return [reward.value for reward in group.rewards if reward.value is not None]
