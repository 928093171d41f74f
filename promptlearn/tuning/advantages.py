"""Advantages: how much better a sample is than what the policy does with the same prompt.

Plain functions on rewards; knows no model. A reward that could not be computed (None) is in no mean and no deviation
(invariant 4), and groups without spread are dropped: they have no gradient, yet they would dilute the denominators of a
loss, and its KL term would still pull on them (huggingface/trl#6365).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.errors import ConfigError
from promptlearn.tuning.base import ADVANTAGES, AdvantageName, TrainSample

EPSILON = 1e-4
"""Added to a deviation, as in TRL."""
SPREAD = 1e-6
"""Groups whose best and worst reward are no further apart say nothing."""


@dataclass(frozen=True, slots=True)
class Credited:
    """What is left to train on, in the order in which it came, and what is not."""

    samples: tuple[TrainSample, ...]
    groups: int
    """That are in `samples`."""
    dropped: int
    """Groups that teach nothing: without spread, with fewer than two rewards, or of which no sample was kept."""
    rewarded: int
    """Samples that have a reward, those of dropped groups included."""
    unrewarded: int
    """Samples whose reward is None."""


def credit(samples: Sequence[TrainSample], name: AdvantageName = "group_norm") -> Credited:
    """Fill in the advantages of every sampled token, and leave out what can not be learned from."""
    rewarded = [sample for sample in samples if sample.reward is not None]
    groups: dict[str, list[TrainSample]] = {}
    for sample in rewarded:
        groups.setdefault(sample.group, []).append(sample)
    rewards = {group: [_reward(sample) for sample in members] for group, members in groups.items()}
    kept = {group: values for group, values in rewards.items() if max(values) - min(values) > SPREAD}
    batch = [reward for values in rewards.values() for reward in values]
    values = dict(zip(kept, advantages(list(kept.values()), name, batch), strict=True))
    queues = {group: iter(column) for group, column in values.items()}
    trained = tuple(_with_advantage(sample, next(queues[sample.group])) for sample in rewarded if sample.group in kept)
    dropped = len({sample.group for sample in samples}) - len(kept)
    return Credited(trained, len(kept), dropped, len(rewarded), len(samples) - len(rewarded))


def advantages(
    groups: Sequence[Sequence[float]], name: AdvantageName, batch: Sequence[float] = ()
) -> list[list[float]]:
    """One advantage per reward r_i of a group of n; mean and std are the group's, std divides by n - 1.

    * `group_norm`: (r_i - mean) / (std + 1e-4). Shao et al. 2024, "DeepSeekMath", section 4.1.1.
    * `centre`: r_i - mean. Liu et al. 2025, "Understanding R1-Zero-Like Training" (Dr. GRPO): dividing by the deviation
      favours prompts that are almost always or almost never solved.
    * `leave_one_out`: r_i - mean of the others = n / (n - 1) (r_i - mean). Kool et al. 2019; Ahmadian et al. 2024
      (RLOO). A baseline without bias: it does not depend on the sample itself.
    * `batch_std`: (r_i - mean) / (std of all rewards of the batch + 1e-4). Liu et al. 2025, "Tricks or Traps?"
      (Lite PPO). `batch` has them, those of groups that were dropped included; by default the groups' own.

    Raises ConfigError for another name, ValueError for a group of one, which has no baseline.
    """
    if name not in ADVANTAGES:
        raise ConfigError(f"no advantage is called {name!r}: it is one of {', '.join(ADVANTAGES)}")
    if any(len(group) < 2 for group in groups):
        raise ValueError("a group of one sample has nothing to be compared with")
    centred = [[reward - statistics.fmean(group) for reward in group] for group in groups]
    if name == "centre":
        return centred
    if name == "leave_one_out":
        return [[value * len(group) / (len(group) - 1) for value in group] for group in centred]
    together = batch or [reward for group in groups for reward in group]
    deviations = [statistics.stdev(together if name == "batch_std" else group) for group in groups]
    return [[value / (std + EPSILON) for value in group] for group, std in zip(centred, deviations, strict=True)]


def _reward(sample: TrainSample) -> float:
    assert sample.reward is not None
    return sample.reward


def _with_advantage(sample: TrainSample, advantage: float) -> TrainSample:
    return replace(sample, advantages=tuple(advantage if sampled else 0.0 for sampled in sample.mask))
