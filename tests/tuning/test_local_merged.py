"""The published adapter added to the weights: the same policy as beside them, and the model's own weights untouched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_llama import VOCABULARY, rows, stir, tiny_model, tiny_policy

from promptlearn.tuning.base import Adam, Lora, Loss
from promptlearn.tuning.local import merged
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.policy import Policy

TEXT = list(range(3, 43))


def published(policy: Policy, folder: Path) -> tuple[float, ...]:
    """What the published policy says of a text, once the trained adapter is published."""
    stir(policy)
    policy.save(folder)
    policy.publish(folder)
    return policy.sequence_logprobs(TEXT, "published")


def weights(policy: Policy) -> list[torch.Tensor]:
    return [value.detach().clone() for value in policy._wrapped.parameters()]


def test_added_up_it_says_what_it_says_beside_the_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tiny_policy()
    assert merged.Merged.possible(policy._wrapped)
    said = published(policy, tmp_path / "sums")
    assert said == pytest.approx(policy.sequence_logprobs(TEXT, "trained"), abs=1e-4)
    assert max(abs(a - b) for a, b in zip(said, policy.sequence_logprobs(TEXT, "base"), strict=True)) > 0.1
    monkeypatch.setattr(merged, "device_memory", lambda device: 0)
    small = tiny_policy()
    assert not merged.Merged.possible(small._wrapped)
    assert published(small, tmp_path / "beside") == pytest.approx(said, abs=1e-4)


def test_the_weights_that_are_trained_stay_as_they_are_to_the_bit(tmp_path: Path) -> None:
    policy = tiny_policy()
    base = policy.sequence_logprobs(TEXT, "base")
    said = published(policy, tmp_path)
    before, trained = weights(policy), policy.sequence_logprobs(TEXT, "trained")
    with pytest.raises(RuntimeError, match="in the middle"), policy.using("published"):
        raise RuntimeError("in the middle")
    assert policy.sequence_logprobs(TEXT, "published") == said
    assert all(torch.equal(one, other) for one, other in zip(before, weights(policy), strict=True))
    assert policy.sequence_logprobs(TEXT, "trained") == trained
    assert policy.sequence_logprobs(TEXT, "base") == base


def test_a_step_between_two_samples_trains_the_adapter_alone(tmp_path: Path) -> None:
    """As if nothing had ever been sampled: the gradient is that of the adapter beside the weights."""
    sampled, other = tiny_policy(), tiny_policy()
    published(sampled, tmp_path)
    stir(other)
    for policy in (sampled, other):
        learner = LocalLearner(policy)
        learner.forward_backward(rows([(4, [3, 3])]), Loss())
        learner.optim_step(Adam(learning_rate=0.05))
    assert all(torch.equal(a, b) for a, b in zip(sampled.parameters, other.parameters, strict=True))


def test_weights_of_16_bits_take_no_adapter_in() -> None:
    policy = Policy(tiny_model().to(torch.bfloat16), Lora(rank=4, alpha=8), eos_ids=(1,))
    assert not merged.Merged.possible(policy._wrapped)
    assert len(policy.sequence_logprobs(TEXT, "published")) == len(TEXT) - 1 < VOCABULARY
