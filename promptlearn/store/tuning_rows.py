"""What the store keeps of a run that trains weights. Pure data; imports no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from promptlearn.records import Json, Role


@dataclass(frozen=True, slots=True)
class TuningStep:
    """One step: what was sampled, what it was worth, and what the update looked like."""

    step: int
    """1, 2, … as steps end."""
    reward: float | None
    """Mean over the samples that have one; None where none has."""
    spread: float | None
    """Standard deviation within a group, mean over groups: without it there is nothing to learn from."""
    samples: int
    failed: int
    """Samples without a reward: in no mean, no deviation and no loss (invariant 4)."""
    groups: int
    dropped: int
    """Groups that teach nothing: all samples are worth the same, or (rejection_sft) none passed."""
    truncated: int
    """Samples that were cut at the most tokens allowed."""
    length: float
    """Tokens per sample, mean."""
    staleness: int
    """Policy versions by which the oldest sample was behind."""
    loss: float | None = None
    """No measure of progress. None, like all below up to `trained_tokens`, where no group was left to learn from."""
    kl: float | None = None
    entropy: float | None = None
    """Nats per token."""
    clip_fraction: float | None = None
    grad_norm: float | None = None
    ratio: float | None = None
    ratio_error: float | None = None
    effective_sample_size: float | None = None
    """(Σw)² / (n Σw²) of the ratios to the policy that sampled."""
    trained_tokens: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    tokens_per_s: float = 0.0
    """Sampled tokens per second of sampling."""
    sample_s: float = 0.0
    """Seconds of drawing this step's groups, waiting for a learner that holds the weights included."""
    wait_s: float = 0.0
    """Seconds for which the loop waited for samples and verdicts."""
    train_s: float = 0.0
    """Seconds of the update, waiting for a sampler that holds the weights included."""
    seconds: float = 0.0
    """Of the whole step, validation apart."""


@dataclass(frozen=True, slots=True)
class TuningSpending:
    """What a run has taken from its beginning on, over all stretches, as if the journal had known no reply."""

    calls: Mapping[Role, int]
    tokens: Mapping[Role, int]
    """Read and written."""
    usd: Mapping[Role, float | None]
    """Of calls, without the device; None: a price is unknown."""
    gpu_s: float
    """Seconds in which the device sampled or trained."""
    wall_s: float
    """Working time."""


@dataclass(frozen=True, slots=True)
class TuningValidation:
    """One reading of the validation split."""

    step: int
    """0 is the base."""
    score: float | None
    """Mean over the rows that have one."""
    n: int
    unscored: int
    best: bool = False
    """Whether it was the best so far, so that its adapter is kept."""
    parts: Mapping[str, float | None] = field(default_factory=dict)
    """Judge → its mean score; gold judges, which are in no reward, are among them."""
    spending: TuningSpending | None = field(default=None, compare=False)
    """Of the run up to the end of this reading; None where an older version read. Says nothing about the policy."""

    @classmethod
    def from_json(cls, content: Mapping[str, Json]) -> TuningValidation:
        """The reverse of `dataclasses.asdict`."""
        fields: dict[str, Any] = dict(content)
        if spent := fields.get("spending"):
            fields["spending"] = TuningSpending(**spent)
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class TuningSample:
    """One sample of a step, with its reward and the judges' words."""

    step: int
    group: int
    """0, 1, … within the step."""
    index: int
    """0, 1, … within the group."""
    example: str
    output: str
    reward: float | None
    """None: not judged; `error` says why."""
    parts: Mapping[str, float | None] = field(default_factory=dict)
    """Judge → its score."""
    feedback: str = ""
    error: str = ""
    finish_reason: str = "stop"
    policy_version: int = 0
    tokens: int = 0
