"""The head: the same logits whichever library computes them, and a gradient that 16 bits do not blur."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from promptlearn.tuning.local import head as module
from promptlearn.tuning.local.head import few_logits, token_logprobs


def test_a_copy_of_the_head_gives_its_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    states, head = torch.randn(3, 24), torch.randn(300, 24)
    exact = states.double() @ head.double().T
    torch.testing.assert_close(few_logits(head)(states), exact.float(), rtol=1e-5, atol=1e-5)
    monkeypatch.setattr(module, "device_memory", lambda device: 0)
    torch.testing.assert_close(few_logits(head)(states), exact.float(), rtol=1e-5, atol=1e-5)


def test_logits_of_16_bits_come_as_32() -> None:
    states, head = torch.randn(3, 24).bfloat16(), torch.randn(300, 24).bfloat16()
    logits = few_logits(head)(states)
    assert logits.dtype == torch.float32
    assert torch.equal(logits, (states @ head.T).float())


@pytest.mark.parametrize("certain", [0.5, 0.9, 0.99, 0.999])
def test_the_gradient_in_16_bits_is_that_in_64(certain: float) -> None:
    """Of tokens that are nearly certain, too, as most of a good policy's are."""
    states, head, targets = nearly_certain(certain)
    wide = states.double().requires_grad_()
    plain = (wide @ head.double().T).log_softmax(-1).gather(-1, targets[:, None]).sum()
    (exact,) = torch.autograd.grad(plain, wide)
    errors = (slopes(states, head, targets).double() - exact).norm(dim=1) / exact.norm(dim=1)
    assert errors.median() < 0.03


def test_the_gradient_does_not_depend_on_how_many_tokens_are_at_hand_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    states, head, targets = nearly_certain(0.9)
    states, head = states.float(), head.float()
    whole = slopes(states, head, targets)
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * len(head) * 5)
    torch.testing.assert_close(slopes(states, head, targets), whole)


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
    states = states.detach().requires_grad_()
    logp, _ = token_logprobs(states, head, targets)
    (found,) = torch.autograd.grad(logp.sum(), states)
    return found
