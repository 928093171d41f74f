"""Rejection sampling: which samples supervised learning keeps.

Each step draws n samples per prompt from the policy of now, keeps those that every judge passes, and learns them by
cross-entropy: expert iteration (Anthony et al. 2017), one round per step, as RAFT does (Dong et al. 2023). Where
`max_staleness` is not less than `steps`, all samples come from the base, which is RFT (Yuan et al. 2023, "Scaling
Relationship on Learning Mathematical Reasoning"). Plain functions on samples; knows no model and no judge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptlearn.tuning.advantages import Credited
from promptlearn.tuning.base import TrainSample


def keep_passed(samples: Sequence[TrainSample], passed: Sequence[bool | None]) -> Credited:
    """The samples that passed, each distinct completion of a group once (as RFT does), with advantage 1 on every
    sampled token, for loss `cross_entropy`.

    `passed` is as long as `samples`; None, which is not judged, is not kept and counted (invariant 4). `dropped` are
    groups of which nothing is kept.
    """
    kept: dict[tuple[str, tuple[int, ...]], TrainSample] = {}
    for sample, good in zip(samples, passed, strict=True):
        if good and sample.reward is not None:
            kept.setdefault((sample.group, sample.token_ids), _learned(sample))
    groups = len({group for group, _ in kept})
    dropped = len({sample.group for sample in samples}) - groups
    unrewarded = sum(sample.reward is None for sample in samples)
    return Credited(tuple(kept.values()), groups, dropped, len(samples) - unrewarded, unrewarded)


def _learned(sample: TrainSample) -> TrainSample:
    return replace(sample, advantages=tuple(float(sampled) for sampled in sample.mask))
