"""Log-probabilities of chosen tokens from hidden states, without ever holding the logits of a batch.

The head is frozen, so the gradient of log p(target) with respect to the hidden state is Σ_v ([v = target] - p(v)) W[v]:
known while the logits of a chunk are at hand, whatever the loss will be. Backward only scales it, and no logits are
kept: 2,000 tokens of a vocabulary of 49,152 would be 400 MB, and their gradient as much again. What stands before W[v]
is formed in 32 bits: of a token that is nearly certain, W[target] and Σ_v p(v) W[v] differ by less than 16 bits hold.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from promptlearn.tuning.local.memory import COPY_SHARE, device_memory

CHUNK_BYTES = 64 << 20
"""Logits at hand at once."""


def token_logprobs(hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(log-probabilities, entropies), both (N,), float32, in nats; only the first has a gradient, to `hidden` alone.

    `hidden` is (N, d), `head` (V, d) the frozen output matrix, `targets` (N,) token ids.
    """
    logp, entropy = _TokenLogprobs.apply(hidden, head, targets)  # type: ignore[no-untyped-call]
    return logp, entropy


def few_logits(head: Tensor) -> Callable[[Tensor], Tensor]:
    """What computes (N, V) logits, float32, of the (N, d) states of a few completions; `head` is (V, d) and frozen.
    Without a gradient.

    On a CPU the product goes through numpy and a copy of the head that stands input by input, where memory has room for
    one: eight rows take half the time that torch takes for them (docs/performance.md).
    """
    plain = head.device.type == "cpu" and head.dtype == torch.float32
    if not plain or head.numel() * head.element_size() > COPY_SHARE * device_memory(head.device):
        return lambda hidden: (hidden @ head.T).float()
    columns = head.T.contiguous().numpy()
    return lambda hidden: torch.from_numpy(np.matmul(hidden.numpy(), columns))


class _TokenLogprobs(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        wanted = ctx.needs_input_grad[0]
        slopes = torch.empty_like(hidden) if wanted else None
        logps, entropies = [], []
        rows = max(1, CHUNK_BYTES // (4 * len(head)))
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            logits = (hidden[part] @ head.T).float()
            total = logits.logsumexp(-1)
            logps.append(logits.gather(-1, targets[part, None])[:, 0] - total)
            chances = (logits - total[:, None]).exp_()
            entropies.append(total - torch.linalg.vecdot(chances, logits))
            if slopes is not None:
                errors = chances.neg_()
                errors[torch.arange(len(errors), device=errors.device), targets[part]] += 1
                slopes[part] = errors.to(head.dtype) @ head
        ctx.save_for_backward(slopes)
        entropy = torch.cat(entropies)
        ctx.mark_non_differentiable(entropy)
        return torch.cat(logps), entropy

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        (slopes,) = ctx.saved_tensors
        return slopes * gradients[0][:, None].to(slopes.dtype), None, None
