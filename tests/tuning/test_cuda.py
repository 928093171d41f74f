"""The GPU path; every test skips without CUDA. `make gpu-check` runs them and prints figures."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import torch
from tiny_llama import rows, stir, tiny_model

from promptlearn.models.pull import pull
from promptlearn.tuning.base import Adam, Lora, Loss, TrainSample, training_sampling
from promptlearn.tuning.local import open_local
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.local.sampler import LocalSampler

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
GROUPS = [(5, [3, 4, 1]), (7, [2, 6])]


def policy(device: str, dtype: torch.dtype = torch.float32) -> Policy:
    made = Policy(tiny_model().to(device, dtype), Lora(rank=4, alpha=8), model_hash="tiny", eos_ids=(1, 2))
    if device == "cpu":
        stir(made)
    return made


def gradient(of: LocalLearner) -> torch.Tensor:
    return torch.cat([value.grad.flatten().cpu() for value in of._policy.parameters if value.grad is not None])


def test_the_gradient_is_that_of_the_cpu() -> None:
    cpu, cuda = policy("cpu"), policy("cuda")
    with torch.no_grad():
        for there, here in zip(cuda.parameters, cpu.parameters, strict=True):
            there.copy_(here)
    learners = [LocalLearner(each) for each in (cpu, cuda)]
    for learner in learners:
        learner.forward_backward(rows(GROUPS), Loss("grpo", kl_coef=0.1))
    torch.testing.assert_close(gradient(learners[1]), gradient(learners[0]), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.2)])
async def test_sampler_and_learner_agree(tmp_path: Path, dtype: torch.dtype, tolerance: float) -> None:
    shared = policy("cuda", dtype)
    learner, sampler = LocalLearner(shared), LocalSampler(shared)
    learner.forward_backward(rows(GROUPS), Loss())
    learner.optim_step(Adam(learning_rate=0.01))
    await sampler.publish(learner.save_adapter(tmp_path))
    drawn = [sample async for sample in sampler.sample([5, 6, 7], 8, training_sampling(12, seed=1))]
    made = [TrainSample.of([5, 6, 7], each, task_key="a", group="a", reward=0.0) for each in drawn]
    assert learner.forward_backward(made, Loss()).ratio_error < tolerance


def test_state_goes_from_one_device_to_the_other(tmp_path: Path) -> None:
    there = LocalLearner(policy("cuda"))
    there.forward_backward(rows(GROUPS), Loss())
    there.optim_step(Adam(learning_rate=0.01))
    there.save_state(tmp_path)
    here = LocalLearner(policy("cpu"))
    here.load_state(tmp_path)
    assert here.version == 1
    for row, other in zip(here.logprobs(rows(GROUPS)), there.logprobs(rows(GROUPS)), strict=True):
        assert row == pytest.approx(other, abs=1e-3)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize(("prompt", "group", "completion"), [(500, 8, 16), (200, 8, 64), (50, 8, 256)])
async def test_figures_of_the_real_model(prompt: int, group: int, completion: int) -> None:
    """Prints seconds and tokens per second; fresh samples must be near the policy in 16 bits too."""
    pull("smollm2-135m-instruct")
    backend = open_local("local/smollm2-135m-instruct", Lora(rank=16, alpha=32), device="cuda")
    ids = torch.randint(100, 40_000, (prompt,), generator=torch.Generator().manual_seed(0)).tolist()

    async def sample() -> list[TrainSample]:
        drawn = [each async for each in backend.sampler.sample(ids, group, training_sampling(completion, seed=1))]
        return [TrainSample.of(ids, each, task_key="a", group="a", reward=float(each.index % 2)) for each in drawn]

    async def step() -> float:
        report = backend.learner.forward_backward(samples, Loss())
        backend.learner.optim_step(Adam(learning_rate=1e-6))
        return report.ratio

    samples = await sample()
    assert abs(await step() - 1) < 0.05
    sampling, training = await seconds(sample), await seconds(step)
    drawn = sum(sum(each.mask) for each in samples)
    shape = f"{prompt} / {group} / {completion}"
    print(f"\n{shape}: sampling {sampling:.3f} s, {drawn / sampling:.0f} tokens/s; step {training:.3f} s")


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    await work()
    torch.cuda.synchronize()
    return time.perf_counter() - started
