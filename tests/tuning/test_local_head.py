"""The head: the same logits whichever library computes them, and a gradient that 16 bits do not blur."""

from __future__ import annotations

import pytest
import torch
from certain import error_of_slopes, nearly_certain, slopes

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


@pytest.mark.parametrize("certain", [0.5, 0.9, 0.99, 0.999])
def test_the_gradient_in_16_bits_is_that_in_64(certain: float) -> None:
    """Of tokens that are nearly certain, too, as most of a good policy's are."""
    assert error_of_slopes(*nearly_certain(certain)) < 0.03


def test_the_gradient_does_not_depend_on_how_many_tokens_are_at_hand_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    states, head, targets = nearly_certain(0.9)
    states, head = states.float(), head.float()
    whole = slopes(states, head, targets)
    monkeypatch.setattr(module, "CHUNK_BYTES", 4 * len(head) * 5)
    torch.testing.assert_close(slopes(states, head, targets), whole)
