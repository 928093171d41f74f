"""The losses: from log-probabilities and advantages of trained tokens to one number with a gradient.

Knows tensors, no model. `low` and `high` are by default those of each loss's paper (`CLIPS` in tuning/base.py).
Written for token t of sequence i with ratio r = exp(logp - behaviour), where `behaviour` is
always the log-probability that the sampler recorded, and advantage A:

* `importance_sampling`  -min(r, cap) A, the weight truncated but the gradient kept: ∇ = -min(r, cap) A ∇logp.
  Tinker's documented `importance_sampling` up to the cap; truncation from Ionides 2008, as in Yao et al. 2025 (TIS).
* `ppo`                  -min(r A, clip(r, 1 - low, 1 + high) A). Schulman et al. 2017, equation 7.
* `dapo`                 as ppo, with a higher `high`. Yu et al. 2025, "DAPO", equation 8.
* `grpo`                 as ppo, each sequence first averaged over its own tokens. Shao et al. 2024, equation 3.
* `dr_grpo`              as ppo, divided by sequences · max_tokens, a constant: the sequences of dropped groups count.
  Liu et al. 2025, "Understanding R1-Zero-Like Training".
* `cispo`                -sg(min(r, cap)) A logp. MiniMax 2025, "MiniMax-M1", equation 4. Its gradient is that of
  `importance_sampling`; only the value of the loss differs.
* `gspo`                 as grpo with one ratio for the whole sequence, exp(mean over t of log r). Zheng et al. 2025,
  "Group Sequence Policy Optimization", equation 5.
* `cross_entropy`        -A logp with A = 1: supervised learning on the samples that were kept; no ratio, no clip.

`importance_sampling`, `ppo`, `dapo`, `cispo` and `cross_entropy` are averaged over all trained tokens of the
minibatch, `grpo` and `gspo` over sequences. With `kl_coef` each token adds kl_coef · r · (exp(d) - d - 1), d = base -
logp: Schulman's k3 estimator of KL(policy ‖ base), "Approximating KL Divergence" (2020), weighted with the ratio so
that its gradient has no bias. DeepSeek-AI 2025, "DeepSeek-V3.2", section 3.1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.tuning.base import Loss

if TYPE_CHECKING:
    from torch import Tensor

_BY_SEQUENCE = frozenset({"grpo", "gspo"})


@dataclass(frozen=True, slots=True)
class Tokens:
    """The N trained tokens of some whole sequences. All tensors have shape (N,)."""

    behaviour: Tensor
    """Natural logarithms, as recorded."""
    advantage: Tensor
    sequence: Tensor
    """Which of the `sequences` a token belongs to; int64."""
    weight: Tensor
    """Of its token in the loss; see `weights`. It comes from the whole minibatch, so that any split adds up to it."""
    sequences: int
    """In this part."""


def weights(loss: Loss, lengths: list[int]) -> list[float]:
    """What one token of each sequence weighs; `lengths` are the trained tokens of every sequence of the minibatch."""
    if loss.name in _BY_SEQUENCE:
        return [1 / (len(lengths) * max(length, 1)) for length in lengths]
    if loss.name == "dr_grpo":
        assert loss.max_tokens is not None
        return [1 / ((loss.sequences or len(lengths)) * loss.max_tokens)] * len(lengths)
    return [1 / max(sum(lengths), 1)] * len(lengths)


def policy_loss(logp: Tensor, tokens: Tokens, loss: Loss, base: Tensor | None = None) -> Tensor:
    """The loss of one part of a minibatch; a scalar.

    `logp` (N,) has the gradient; `base` (N,) are the log-probabilities with the adapter off, for `kl_coef`.
    """
    ratio = ratios(logp, tokens, loss)
    per_token = _surrogate(logp, ratio, tokens, loss)
    if loss.kl_coef:
        if base is None:
            raise ValueError("a loss with kl_coef needs the base model's log-probabilities")
        per_token = per_token + loss.kl_coef * ratio * k3(logp, base)
    return (per_token * tokens.weight).sum()


def k3(logp: Tensor, base: Tensor) -> Tensor:
    """exp(d) - d - 1 with d = base - logp: never negative, and in the mean KL(policy ‖ base)."""
    difference = base - logp
    return difference.exp() - difference - 1


def ratios(logp: Tensor, tokens: Tokens, loss: Loss) -> Tensor:
    """r of every token; for gspo that of its sequence. Shape (N,)."""
    log_ratio = logp - tokens.behaviour
    if loss.name == "gspo":
        log_ratio = (_by_sequence(log_ratio, tokens) / _lengths(tokens))[tokens.sequence]
    return log_ratio.exp()


def clipped(ratio: Tensor, tokens: Tokens, loss: Loss) -> Tensor:
    """Which tokens a clip or cap bears on. Boolean, shape (N,)."""
    if loss.name in {"importance_sampling", "cispo", "cross_entropy"}:
        return ratio > (math.inf if loss.name == "cross_entropy" else loss.cap)
    low, high = loss.bounds
    return ((ratio < low) & (tokens.advantage < 0)) | ((ratio > high) & (tokens.advantage > 0))


def clip_fraction(ratio: Tensor, tokens: Tokens, loss: Loss) -> float:
    """The share of tokens that a clip or cap bears on; for gspo, which has one ratio for a sequence, of sequences."""
    touched = clipped(ratio, tokens, loss).float()
    if loss.name == "gspo":
        touched = _by_sequence(touched, tokens) / _lengths(tokens)
    return float(touched.mean())


def effective_sample_size(logp: Tensor, tokens: Tokens) -> float:
    """(Σw)² / (n Σw²) over sequences, w = exp(Σ_t log r): the share of the samples that still counts. Kong 1992."""
    log_weight = _by_sequence(logp - tokens.behaviour, tokens)
    weight = (log_weight - log_weight.max()).exp()
    return float(weight.sum() ** 2 / (len(weight) * (weight**2).sum()))


def _surrogate(logp: Tensor, ratio: Tensor, tokens: Tokens, loss: Loss) -> Tensor:
    if loss.name == "importance_sampling":
        return -(ratio.clamp(max=loss.cap) / ratio).detach() * ratio * tokens.advantage
    if loss.name == "cispo":
        return -ratio.clamp(max=loss.cap).detach() * tokens.advantage * logp
    if loss.name == "cross_entropy":
        return -tokens.advantage * logp
    near = ratio.clamp(*loss.bounds)
    return -(ratio * tokens.advantage).minimum(near * tokens.advantage)


def _by_sequence(values: Tensor, tokens: Tokens) -> Tensor:
    return values.new_zeros(tokens.sequences).index_add(0, tokens.sequence, values)


def _lengths(tokens: Tokens) -> Tensor:
    return _by_sequence(tokens.behaviour.new_ones(len(tokens.sequence)), tokens).clamp(min=1)
