"""Sampler and Learner: the two seams between a training loop and wherever the weights live.

Shaped like Tinker's primitives, so that loop, judges and ledger stay the same on a laptop, on a GPU and elsewhere.
Tokens in, tokens out: nobody tokenises a text twice. Knows neither torch nor a model; a loop over these records reads

    backend = open_backend(...)                              # tuning/local, or a Sampler and a Learner of your own
    prompt_ids = backend.tokenizer.prompt_ids(messages)
    async for sample in backend.sampler.sample(prompt_ids, 8, sampling):
        rows.append(TrainSample.of(prompt_ids, sample, task_key=example.id, group=example.id, reward=...))
    report = backend.learner.forward_backward(credit(rows, "group_norm").samples, Loss("importance_sampling"))
    backend.learner.optim_step(Adam(learning_rate=1e-4))
    await backend.sampler.publish(backend.learner.save_adapter(folder))
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, get_args, runtime_checkable

from promptlearn.errors import ConfigError
from promptlearn.models.base import Sampling
from promptlearn.records import Json, Message

FinishReason = Literal["stop", "length"]
LossName = Literal["importance_sampling", "ppo", "grpo", "dr_grpo", "dapo", "cispo", "gspo", "cross_entropy"]
AdvantageName = Literal["group_norm", "centre", "leave_one_out", "batch_std"]

LOSSES: tuple[LossName, ...] = get_args(LossName)
ADVANTAGES: tuple[AdvantageName, ...] = get_args(AdvantageName)
CLIPS: Mapping[LossName, tuple[float, float]] = {
    "ppo": (0.2, 0.2),
    "grpo": (0.2, 0.2),
    "dr_grpo": (0.2, 0.2),
    "dapo": (0.2, 0.28),
    "gspo": (3e-4, 4e-4),
}
"""How far below and above 1 a ratio is let, by loss: Schulman et al. 2017, table 3 (0.2, which GRPO and Dr. GRPO keep);
Yu et al. 2025, "DAPO", section 4.1; Zheng et al. 2025, "Group Sequence Policy Optimization", section 5.1. Other losses
do not clip."""


def training_sampling(max_tokens: int, seed: int | None = None) -> Sampling:
    """The one way in which training samples are drawn: temperature 1, top-p 1, top-k 0."""
    return Sampling(max_tokens=max_tokens, temperature=1.0, top_p=1.0, seed=seed)


def greedy_sampling(max_tokens: int) -> Sampling:
    """How the policy is measured: always its likeliest token. No training sample is drawn so."""
    return Sampling(max_tokens=max_tokens, temperature=0.0)


def check_sampling(sampling: Sampling) -> None:
    """Raise ConfigError unless samples are drawn from the policy itself.

    Where a sampler cuts or sharpens the distribution, its log-probabilities are of another policy than the one that is
    trained, and the ratio of the two is biased (huggingface/trl#6789).
    """
    wrong = [f"temperature {sampling.temperature:g}"] if sampling.temperature != 1.0 else []
    wrong += [f"top_p {sampling.top_p:g}"] if sampling.top_p not in (None, 1.0) else []
    wrong += [f"{key} {sampling.extra[key]}" for key, neutral in _NEUTRAL.items() if _cuts(sampling, key, neutral)]
    wrong += ["stop strings"] if sampling.stop else []
    if wrong:
        raise ConfigError(
            f"training samples are drawn with {', '.join(wrong)}: that is another policy than the one that is trained;"
            " set temperature 1, top_p 1, top_k 0 and no other key that shapes the distribution"
        )


@dataclass(frozen=True, slots=True)
class Sample:
    """One completion of a prompt, as the policy drew it."""

    index: int
    """Its place in the group, 0 … n-1; samples arrive in the order in which they end."""
    token_ids: tuple[int, ...]
    """With the end-of-sequence token, where the policy drew one; never with padding."""
    logprobs: tuple[float, ...]
    """Of each token under the policy that drew it, natural logarithm; as long as `token_ids`."""
    finish_reason: FinishReason
    policy_version: int
    """0 is the adapter as it was made; each published one counts one more."""


@dataclass(frozen=True, slots=True)
class TrainSample:
    """One row of the hand-over format: a whole sequence, prompt and everything behind it, aligned by token.

    `turn_ids`, `token_ids`, `mask`, `behaviour_logprobs` and `advantages` have the same length T. Only tokens with
    a true mask are trained on; prompt, tool and environment tokens have mask false and zeros elsewhere.
    """

    task_key: str
    """What was asked: the example's id."""
    group: str
    """Samples with equal groups answer the same prompt, and are compared with each other."""
    turn_ids: tuple[int, ...]
    """0 for the prompt, k for the k-th turn of the policy and what the environment answers to it."""
    token_ids: tuple[int, ...]
    mask: tuple[bool, ...]
    """True where the policy chose the token. Comes from lengths, never from ids: a pad token may be an end token."""
    behaviour_logprobs: tuple[float, ...]
    """As the sampler recorded them; the denominator of every ratio."""
    advantages: tuple[float, ...]
    policy_start: int
    """Version that drew the first sampled token."""
    policy_end: int
    """Version that drew the last one."""
    reward: float | None = None
    """None where it could not be computed: such a row is in no mean, no deviation and no loss."""
    reward_parts: Mapping[str, float | None] = field(default_factory=dict)
    """Judge → its score."""
    feedback: str = ""
    """What the judges said."""
    finish_reason: FinishReason = "stop"
    model_hash: str = ""
    tokenizer_hash: str = ""

    def __post_init__(self) -> None:
        lengths = {
            len(column)
            for column in (self.turn_ids, self.token_ids, self.mask, self.behaviour_logprobs, self.advantages)
        }
        if len(lengths) != 1:
            raise ValueError(f"the columns of a TrainSample have different lengths: {sorted(lengths)}")

    @classmethod
    def of(
        cls,
        prompt_ids: Sequence[int],
        sample: Sample,
        *,
        task_key: str,
        group: str,
        reward: float | None = None,
        reward_parts: Mapping[str, float | None] | None = None,
        feedback: str = "",
        model_hash: str = "",
        tokenizer_hash: str = "",
    ) -> TrainSample:
        """The row of a single turn; advantages are 0 until `credit` fills them in."""
        before, behind = len(prompt_ids), len(sample.token_ids)
        return cls(
            task_key=task_key,
            group=group,
            turn_ids=(0,) * before + (1,) * behind,
            token_ids=(*prompt_ids, *sample.token_ids),
            mask=(False,) * before + (True,) * behind,
            behaviour_logprobs=(0.0,) * before + sample.logprobs,
            advantages=(0.0,) * (before + behind),
            policy_start=sample.policy_version,
            policy_end=sample.policy_version,
            reward=reward,
            reward_parts=reward_parts or {},
            feedback=feedback,
            finish_reason=sample.finish_reason,
            model_hash=model_hash,
            tokenizer_hash=tokenizer_hash,
        )

    @classmethod
    def from_row(cls, row: Mapping[str, Json]) -> TrainSample:
        """The reverse of `dataclasses.asdict`, from JSON."""
        columns: dict[str, Json] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in row.items()
        }
        return cls(**columns)

    @property
    def prompt_length(self) -> int:
        """Tokens before the first one that the policy chose; T where it chose none."""
        return self.mask.index(True) if True in self.mask else len(self.mask)


@dataclass(frozen=True, slots=True)
class Loss:
    """Which loss, and its settings; the formulas stand in tuning/losses.py."""

    name: LossName = "importance_sampling"
    clip_low: float | None = None
    """Ratios below 1 - clip_low are clipped; by default as the loss's paper has it (`CLIPS`)."""
    clip_high: float | None = None
    """Ratios above 1 + clip_high are clipped; likewise."""
    cap: float = 2.0
    """Largest weight of a token: importance_sampling, cispo."""
    kl_coef: float = 0.0
    """Weight of the KL divergence to the base model, which is the model with the adapter off."""
    max_tokens: int | None = None
    """The longest completion that sampling allows: dr_grpo divides by it, and needs it."""
    sequences: int | None = None
    """Sequences with a reward that were drawn for the step, those of dropped groups included: dr_grpo divides by them,
    so that what is dropped changes no weight; by default as many as the minibatch has."""

    def __post_init__(self) -> None:
        if self.name not in LOSSES:
            raise ConfigError(f"no loss is called {self.name!r}: it is one of {', '.join(LOSSES)}")
        if self.name == "dr_grpo" and not self.max_tokens:
            raise ConfigError("dr_grpo divides by the longest completion that sampling allows: give max_tokens")

    @property
    def bounds(self) -> tuple[float, float]:
        """The lowest and the highest ratio that is not clipped."""
        low, high = CLIPS.get(self.name, (1.0, math.inf))
        return 1 - (low if self.clip_low is None else self.clip_low), 1 + (
            high if self.clip_high is None else self.clip_high
        )


@dataclass(frozen=True, slots=True)
class Adam:
    """One optimizer step (AdamW, decoupled weight decay)."""

    learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 1.0
    """The gradient is scaled down to this norm."""


@dataclass(frozen=True, slots=True)
class Lora:
    """What is trained: low-rank additions to every linear layer but the output head."""

    rank: int = 32
    alpha: float = 32.0
    seed: int = 0
    """Of the random half of the adapter; the other half starts at zero, so version 0 is the base model."""


@dataclass(frozen=True, slots=True)
class StepReport:
    """What one `forward_backward` saw. Means are over trained tokens."""

    loss: float
    """No measure of progress: it is near 0 on fresh samples, whatever is learned."""
    kl: float | None
    """Of the policy to the base model, nats per token (k3 estimator); None where the loss does not use it."""
    entropy: float
    """Nats per token."""
    clip_fraction: float
    """Share of tokens (gspo: sequences) whose ratio was clipped or capped."""
    grad_norm: float
    """Of the gradient that has gathered since the last optimizer step, before clipping."""
    tokens: int
    """Trained ones."""
    ratio: float
    """Mean of policy over behaviour; 1 at the first minibatch on fresh samples."""
    ratio_error: float
    """The largest distance of a ratio from 1."""
    effective_sample_size: float
    """(Σw)² / (n Σw²) over the sequences' ratios w: 1 on fresh samples, less the staler they are."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Canary:
    """A sequence whose log-probabilities tell whether an adapter arrived."""

    token_ids: tuple[int, ...]
    logprobs: tuple[float, ...]
    """Of token 1, 2, … given what is before it, with the adapter; one shorter than `token_ids`."""
    stale: tuple[float, ...]
    """The same with what was published before."""


@dataclass(frozen=True, slots=True)
class Adapter:
    """An adapter on the disk, in PEFT's format."""

    path: Path
    """The folder with adapter_config.json and adapter_model.safetensors."""
    version: int
    """Optimizer steps that made it."""
    canary: Canary | None = None


@runtime_checkable
class Tokenizer(Protocol):
    @property
    def hash(self) -> str:
        """Of vocabulary and chat template."""

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """The chat, rendered by the model's own template up to where the reply begins."""

    def text(self, token_ids: Sequence[int]) -> str:
        """What a person reads: without special tokens."""


@runtime_checkable
class Sampler(Protocol):
    """Draws from the policy that was published last."""

    @property
    def policy_version(self) -> int:
        """Of the adapter that the next sample is drawn with."""

    def sample(self, prompt_ids: Sequence[int], n: int, sampling: Sampling) -> AsyncIterator[Sample]:
        """`n` completions of one prompt, each as soon as it ends.

        `sampling` must pass `check_sampling` or be `greedy_sampling`, or ConfigError is raised; its seed makes the
        group reproducible.
        Raises ModelError.
        """

    async def publish(self, adapter: Adapter) -> int:
        """Sample from `adapter` from now on; returns the new policy version, `adapter.version`.

        Raises TuningError where the canary says that the adapter did not arrive.
        """

    async def close(self) -> None: ...


@runtime_checkable
class Learner(Protocol):
    """Holds the adapter that is trained. Its methods block; a loop calls them with `asyncio.to_thread`."""

    @property
    def model_hash(self) -> str:
        """Of the base model's weights."""

    @property
    def version(self) -> int:
        """Optimizer steps so far."""

    def logprobs(self, samples: Sequence[TrainSample], base: bool = False) -> list[list[float]]:
        """Of each token, 0 where the mask is false; with `base`, of the model with the adapter off."""

    def forward_backward(self, samples: Sequence[TrainSample], loss: Loss) -> StepReport:
        """Add the gradient of the loss over `samples` to what has gathered; one call is one minibatch.

        Rows whose reward is None may not be among them (`credit` leaves them out). Raises TuningError for a loss or
        gradient that is no number.
        """

    def optim_step(self, adam: Adam) -> None:
        """Change the adapter by what has gathered, and forget it."""

    def save_adapter(self, path: Path) -> Adapter:
        """Write the adapter for a Sampler, with a canary against the one saved before."""

    def save_state(self, path: Path) -> None:
        """Write everything that training needs to go on exactly: adapter, optimizer, version."""

    def load_state(self, path: Path) -> None:
        """Go on from what `save_state` wrote."""


@dataclass(frozen=True, slots=True)
class Backend:
    """Where weights live, opened."""

    tokenizer: Tokenizer
    sampler: Sampler
    learner: Learner

    @property
    def model_hash(self) -> str:
        """Of the base model's weights."""
        return self.learner.model_hash


_NEUTRAL: Mapping[str, tuple[Json, ...]] = {
    "top_k": (None, 0, -1),
    "min_p": (None, 0),
    "typical_p": (None, 1),
    "repetition_penalty": (None, 1),
    "presence_penalty": (None, 0),
    "frequency_penalty": (None, 0),
    "logit_bias": (None, {}),
}
"""Keys that shape a distribution, and the values with which they do not."""

NEUTRAL: Mapping[str, Json] = {key: neutral[1] for key, neutral in _NEUTRAL.items()}
"""Each of these keys with a value that shapes nothing: for a sampler that has defaults of its own."""


def _cuts(sampling: Sampling, key: str, neutral: tuple[Json, ...]) -> bool:
    return sampling.extra.get(key) not in neutral
