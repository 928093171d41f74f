"""LocalSampler on a random model of two layers: distribution, order, ends, publishing and its canary."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from deaf import Deaf
from tiny_llama import EOS, rows, stir, tiny_model, tiny_policy

from promptlearn.errors import ConfigError, TuningError
from promptlearn.models.base import Sampling
from promptlearn.tuning.base import Adam, Canary, Lora, Loss, Sample, Sampler, TrainSample, training_sampling
from promptlearn.tuning.canary import check
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.local.sampler import LocalSampler

PROMPT = [5, 6, 7, 8, 9]


async def draw(sampler: LocalSampler, n: int = 6, tokens: int = 8, seed: int | None = 1) -> list[Sample]:
    """In the order in which they ended."""
    return [sample async for sample in sampler.sample(PROMPT, n, training_sampling(tokens, seed))]


def trained(policy: Policy, steps: int = 1) -> LocalLearner:
    learner = LocalLearner(policy)
    for seed in range(steps):
        learner.forward_backward(rows([(4, [3, 3])], seed), Loss())
        learner.optim_step(Adam(learning_rate=0.05))
    return learner


async def test_the_protocol_is_kept() -> None:
    sampler = LocalSampler(tiny_policy())
    assert isinstance(sampler, Sampler)
    assert sampler.policy_version == 0


async def test_sampler_and_learner_agree_on_every_token(tmp_path: Path) -> None:
    policy = tiny_policy()
    learner, sampler = trained(policy), LocalSampler(policy)
    await sampler.publish(learner.save_adapter(tmp_path))
    samples = [TrainSample.of(PROMPT, s, task_key="a", group="a", reward=0.0) for s in await draw(sampler, 8, 12)]
    for sample, row in zip(samples, learner.logprobs(samples), strict=True):
        assert row == pytest.approx(sample.behaviour_logprobs, abs=1e-3)
    assert learner.forward_backward(samples, Loss()).ratio_error < 1e-3


@pytest.mark.parametrize("kl_coef", [0.0, 0.1])
async def test_a_step_with_checkpoints_leaves_the_sampler_as_it_was(tmp_path: Path, kl_coef: float) -> None:
    """Where the adapter stands beside the weights, the very layers that were checkpointed sample."""
    policies = [Policy(tiny_model().bfloat16(), Lora(rank=4, alpha=8), eos_ids=EOS) for _ in range(2)]
    drawn = []
    for policy, anew in zip(policies, (False, True), strict=True):
        learner, sampler = LocalLearner(policy, tokens_at_once=100, checkpoint=anew), LocalSampler(policy)
        learner.forward_backward(rows([(4, [3, 3])]), Loss(kl_coef=kl_coef))
        learner.optim_step(Adam(learning_rate=0.05))
        await sampler.publish(learner.save_adapter(tmp_path / str(anew)))
        drawn.append(await draw(sampler))
    assert drawn[0] == drawn[1]


async def test_samples_follow_the_policy() -> None:
    """The first token's frequencies in 4,000 samples are those of the model's distribution, within five deviations."""
    policy = tiny_policy(seed=3)
    counts = Counter(sample.token_ids[0] for sample in await draw(LocalSampler(policy), n=4000, tokens=1, seed=7))
    learner = LocalLearner(policy)
    for token in range(64):
        row = TrainSample.of(PROMPT, Sample(0, (token,), (0.0,), "length", 0), task_key="a", group="a")
        chance = math.exp(learner.logprobs([row])[0][-1])
        assert abs(counts[token] - 4000 * chance) < 5 * math.sqrt(4000 * chance) + 1, token


async def test_a_seed_decides_everything_and_a_row_does_not_depend_on_the_others() -> None:
    sampler = LocalSampler(tiny_policy())
    first, second = sorted(await draw(sampler), key=_index), sorted(await draw(sampler), key=_index)
    assert first == second
    assert first != sorted(await draw(sampler, seed=2), key=_index)
    assert (await draw(sampler, seed=None)) != (await draw(sampler, seed=None))


async def test_samples_end_at_every_end_token_and_arrive_as_they_end() -> None:
    samples = await draw(LocalSampler(tiny_policy(seed=5)), n=64, tokens=24)
    assert sorted(sample.index for sample in samples) == list(range(64))
    lengths = [len(sample.token_ids) for sample in samples]
    assert lengths == sorted(lengths)
    ends = {sample.token_ids[-1] for sample in samples if sample.finish_reason == "stop"}
    assert ends == set(EOS)
    for sample in samples:
        assert not set(EOS) & set(sample.token_ids[:-1])
        assert len(sample.logprobs) == len(sample.token_ids)
        assert sample.finish_reason == "stop" or len(sample.token_ids) == 24


async def test_leaving_early_stops_the_decoding() -> None:
    sampler = LocalSampler(tiny_policy(seed=5))
    stream = sampler.sample(PROMPT, 64, training_sampling(2000, 1))
    async for _ in stream:
        break
    await asyncio.wait_for(stream.aclose(), 20)  # type: ignore[attr-defined]
    assert len(await draw(sampler)) == 6


async def test_a_prompt_that_begins_as_the_one_before_is_read_from_where_they_part_to_the_bit(tmp_path: Path) -> None:
    policy, read = tiny_policy(), []
    learner, sampler = trained(policy), LocalSampler(policy)
    hidden = policy.hidden
    policy.hidden = lambda ids, *rest, **more: read.append(ids.shape[1]) or hidden(ids, *rest, **more)  # type: ignore[method-assign,func-returns-value]
    first, second = [[3 + place % 50 for place in range(150)] + tail for tail in ([5, 6], [7])]

    async def answer(prompt: list[int], of: LocalSampler) -> list[Sample]:
        read.clear()
        return sorted([one async for one in of.sample(prompt, 3, training_sampling(1, 7))], key=_index)

    await answer(first, sampler)
    assert read == [64, 64, 24]
    again = await answer(second, sampler)
    assert read == [23]
    assert again == await answer(second, LocalSampler(policy))  # who had read nothing before
    assert await answer(second, sampler) == again
    assert await answer(second[:128], sampler) == await answer(second[:128], LocalSampler(policy))
    await sampler.publish(learner.save_adapter(tmp_path))
    changed = await answer(second, sampler)
    assert read == [64, 64, 23]  # other weights read it anew
    assert changed != again


async def test_other_sampling_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"temperature 0\.7"):
        await anext(LocalSampler(tiny_policy()).sample(PROMPT, 1, Sampling(temperature=0.7)))
    with pytest.raises(ConfigError, match="without tokens"):
        await anext(LocalSampler(tiny_policy()).sample([], 1, training_sampling(4)))


async def test_training_changes_nothing_that_was_not_published(tmp_path: Path) -> None:
    policy = tiny_policy()
    sampler = LocalSampler(policy)
    before = await draw(sampler)
    learner = trained(policy, steps=3)
    assert await draw(sampler) == before
    assert await sampler.publish(learner.save_adapter(tmp_path)) == 3
    after = await draw(sampler)
    assert [sample.logprobs for sample in after] != [sample.logprobs for sample in before]
    assert {sample.policy_version for sample in after} == {3}


async def test_the_canary_catches_an_adapter_that_never_reached_the_sampler(tmp_path: Path) -> None:
    policy = tiny_policy()
    learner = trained(policy)
    adapter = learner.save_adapter(tmp_path)
    sampler = Deaf(policy)
    with pytest.raises(TuningError, match="still has the adapter published before"):
        await sampler.publish(adapter)
    assert sampler.policy_version == 0
    assert await LocalSampler(policy).publish(adapter) == 1


async def test_the_canary_catches_the_fault_at_a_later_version_too(tmp_path: Path) -> None:
    policy = tiny_policy()
    learner, sampler = trained(policy), Deaf(policy)
    await LocalSampler.publish(replace_class(sampler), learner.save_adapter(tmp_path / "1"))
    learner.forward_backward(rows([(4, [3, 3])], 9), Loss())
    learner.optim_step(Adam(learning_rate=0.05))
    with pytest.raises(TuningError, match="did not reach"):
        await sampler.publish(learner.save_adapter(tmp_path / "2"))


def replace_class(sampler: LocalSampler) -> LocalSampler:
    return LocalSampler(sampler._policy)


def test_another_model_behind_the_sampler_is_found_out() -> None:
    canary = Canary((1, 2, 3), logprobs=(-1.0, -1.0), stale=(-1.2, -1.2))
    check(canary, (-1.0001, -0.9999))
    check(canary, (-1.05, -1.05), tolerance=1e-3)
    with pytest.raises(TuningError, match="another adapter or another model"):
        check(canary, (-0.1, -5.0))
    with pytest.raises(TuningError):
        check(canary, (math.nan, -1.0))
    with pytest.raises(TuningError, match="1 tokens"):
        check(canary, (-1.0,))


async def test_an_adapter_of_another_model_is_refused(tmp_path: Path) -> None:
    policy = tiny_policy()
    adapter = trained(policy).save_adapter(tmp_path)
    from safetensors.torch import load_file, save_file

    file = tmp_path / "adapter_model.safetensors"
    tensors = {name.replace("layers.1", "layers.7"): value for name, value in load_file(file).items()}
    save_file(tensors, file)
    with pytest.raises(ConfigError, match=r"layers\.7"):
        await LocalSampler(policy).publish(replace(adapter, canary=None))


async def test_version_0_is_the_base_model() -> None:
    policy = tiny_policy()
    expected = await draw(LocalSampler(policy))
    stir(policy)
    assert await draw(LocalSampler(policy)) == expected
    assert torch.is_grad_enabled()


def _index(sample: Sample) -> int:
    return sample.index
