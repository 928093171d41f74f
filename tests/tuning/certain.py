"""States that are nearly certain of their token, and how exact the head's gradient to them is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from promptlearn.tuning.local.head import token_logprobs


def nearly_certain(chance: float) -> tuple[Tensor, Tensor, Tensor]:
    """(states, head, targets) in bf16: 32 states of which each expects its target with about this probability."""
    generator = torch.Generator().manual_seed(0)
    head = 0.04 * torch.randn(2000, 256, generator=generator)
    targets = torch.randint(len(head), (32,), generator=generator)
    states = torch.randn(32, 256, generator=generator)
    others = (states @ head.T).logsumexp(-1) + math.log(chance / (1 - chance))
    chosen = head[targets]
    by = (others - (states * chosen).sum(-1)) / chosen.square().sum(-1)
    return (states + by[:, None] * chosen).bfloat16(), head.bfloat16(), targets


def slopes(states: Tensor, head: Tensor, targets: Tensor) -> Tensor:
    """The gradient of the targets' log-probabilities."""
    states = states.detach().requires_grad_()
    logp, _ = token_logprobs(states, head, targets)
    (found,) = torch.autograd.grad(logp.sum(), states)
    return found


def error_of_slopes(states: Tensor, head: Tensor, targets: Tensor) -> float:
    """Median over the states of the gradient's distance from the one in 64 bits, as a share of its length."""
    wide = states.double().requires_grad_()
    plain = (wide @ head.double().T).log_softmax(-1).gather(-1, targets[:, None])
    (exact,) = torch.autograd.grad(plain.sum(), wide)
    off = slopes(states, head, targets).double() - exact
    return float((off.norm(dim=1) / exact.norm(dim=1)).median())
