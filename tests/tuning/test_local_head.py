"""Logits of a few states: the same numbers whichever library computes them."""

from __future__ import annotations

import pytest
import torch

from promptlearn.tuning.local import head as module
from promptlearn.tuning.local.head import few_logits


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
