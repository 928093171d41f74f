"""`tuning`: how to train a LoRA adapter with the judges' verdict as reward."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from promptlearn.config.section import Section, switched


class LoraConfig(Section):
    """What is trained: low-rank additions to every linear layer but the output head."""

    rank: int = Field(16, ge=1)
    """Width of each addition."""
    alpha: float = Field(32, gt=0)
    """The addition counts alpha / rank."""


class SamplerConfig(Section):
    """Where training samples are drawn."""

    engine: Literal["auto", "local", "vllm"] = "auto"
    """`local`: in this process. `vllm`: a vLLM server that has the same weights. `auto`: the server where one answers
    that offers all that training needs, else this process."""
    url: str = "http://127.0.0.1:8000"
    """The server's root; it has to see the store's folder under the same path."""
    model: str | None = None
    """What the server calls the weights; by default as `base` says, or the only model that it has."""
    api_key_env: str | None = None
    """The environment variable that holds the server's key."""


class RankingConfig(Section):
    """The answers of a group against each other, in one call."""

    criteria: str | None = None
    """What makes one answer better than another; by default `scoring.criteria`, or that it answers what was asked, is
    true, and is no longer than needed."""
    weight: float = Field(0.3, gt=0, le=1)
    """Reward = (1 - weight) · the judges' score + weight · place, which is 1 for the best answer of the group and 0 for
    the worst. Below 0.5 what passes judges that say pass or fail is always ahead of what does not."""
    model: Literal["judge", "meta"] = "judge"
    """Who ranks: `models.judge` or `models.meta`."""


class TuningConfig(Section):
    base: str | None = None
    """Weights to start from: `local/NAME`, a GGUF file, a folder that transformers wrote, or a name on the Hugging Face
    hub; by default those of `models.task`, which has to be `local/…` then."""
    method: Literal["rl", "rejection_sft"] = "rl"
    """`rl`: a sample counts as much as it is better than its group. `rejection_sft`: supervised learning on the samples
    that every judge passes; it takes neither `loss` nor `advantage`."""
    engine: Literal["local", "trl"] = "local"
    """Who takes the steps: `local`, or GRPOTrainer of TRL, which has to be installed; docs/tuning.md says what it can
    not do."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where the weights live; the best that is there by default."""
    threads: int | None = Field(None, ge=1)
    """Of torch on the CPU; by default as many as torch takes, and one on two processors: two take as long there, and
    leave nothing for anything else."""
    steps: int = Field(40, ge=1)
    """Optimizer steps at most."""
    groups: int = Field(4, ge=1)
    """Train examples per step."""
    group: int = Field(8, ge=2)
    """Samples per example; they are compared with each other, so that fewer than four say little."""
    max_tokens: int | None = Field(None, gt=0)
    """Of one sample; by default as `models.task` has it."""
    learning_rate: float = Field(1e-4, gt=0)
    """LoRA wants about ten times what full fine-tuning does: 1e-5 to 1e-3, the more the smaller the model."""
    schedule: Literal["constant", "linear"] = "constant"
    """`linear`: the learning rate falls to 0 over `steps`, so that the last ones, in which few groups have a say, undo
    nothing that the first have learned."""
    lora: LoraConfig = LoraConfig()
    """Size of the adapter."""
    sampler: SamplerConfig = SamplerConfig()
    """Where samples are drawn."""
    loss: Literal["importance_sampling", "ppo", "grpo", "dr_grpo", "dapo", "cispo", "gspo"] = "importance_sampling"
    """Formulas and sources: docs/tuning.md."""
    clip_low: float | None = Field(None, gt=0, lt=1)
    """Ratios below 1 - clip_low are clipped; by default as the loss's paper has it: 0.2, gspo 3e-4."""
    clip_high: float | None = Field(None, gt=0)
    """Ratios above 1 + clip_high are clipped; by default 0.2, dapo 0.28, gspo 4e-4."""
    advantage: Literal["group_norm", "centre", "leave_one_out", "batch_std"] = "group_norm"
    """What a sample's reward is compared with."""
    ranking: Annotated[RankingConfig | None, BeforeValidator(lambda value: switched(value))] = None
    """Rank each group's answers too, so that a group that is all right or all wrong still teaches; validation is read
    without. `true`, or an object."""
    kl_coef: float = Field(0.0, ge=0)
    """Weight of the divergence from the base model; 0 lets the policy go where the reward is."""
    max_staleness: int = Field(0, ge=0, le=64)
    """Policy versions by which a sample may be older than the policy that learns from it: samples are drawn so many
    steps ahead, always from the same version. 0 is on-policy; more keeps slow judges and the sampler busy together."""
    queue: int = Field(8, ge=1)
    """Groups that may wait for their verdicts before the next one is drawn."""
    validate_every: int = Field(5, ge=1)
    """Steps between two readings of the validation split; the first is of the base."""
    validation_rows: int | None = Field(None, gt=0)
    """The first so many rows of the validation split; by default all."""
    patience: int = Field(3, ge=1)
    """Stop after so many readings in a row that are no better than the best."""
    flat_steps: int | None = Field(5, ge=1)
    """Stop after so many steps in a row in which no group had any spread, so that there was nothing to learn from;
    null goes on."""
    checkpoint_every: int = Field(5, ge=1)
    """Steps between two checkpoints; a killed run goes on from the last, and repeats what came after it exactly."""
    gpu_usd_per_hour: float | None = Field(None, ge=0)
    """What the device costs, for reports; by default unknown."""

    @model_validator(mode="after")
    def _one_method(self) -> TuningConfig:
        if self.method == "rejection_sft" and (self.loss, self.advantage) != ("importance_sampling", "group_norm"):
            raise ValueError(
                "method rejection_sft learns by cross-entropy and compares no samples; leave out loss and advantage"
            )
        if self.method == "rejection_sft" and self.ranking is not None:
            raise ValueError(
                "method rejection_sft learns what every judge passes, and a ranking passes none; leave it out"
            )
        unclipped = self.loss in ("importance_sampling", "cispo")
        if unclipped and (self.clip_low is not None or self.clip_high is not None):
            why = f"loss {self.loss}" if self.method == "rl" else "method rejection_sft"
            raise ValueError(f"{why} clips no ratio; leave out clip_low and clip_high, or take ppo, grpo, dapo or gspo")
        return self
