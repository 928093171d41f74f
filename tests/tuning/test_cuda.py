"""The GPU path; every test skips without CUDA. `make gpu-check` runs them and prints figures."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import torch
from certain import error_of_slopes, nearly_certain
from colours import colour_job, colour_tuning
from deaf import Deaf
from tiny_folder import write_tiny_model
from tiny_llama import EOS, rows, rows_with_a_trunk, stir, tiny_model
from tiny_torch import tiny_backend
from torch.nn.attention import SDPBackend, sdpa_kernel

from promptlearn.errors import Interrupted, TuningError
from promptlearn.models.pull import pull
from promptlearn.report import tuning
from promptlearn.runlog import Event
from promptlearn.store import open_store
from promptlearn.tuning.base import Adam, Backend, Lora, Loss, Sample, TrainSample, training_sampling
from promptlearn.tuning.local import open_local
from promptlearn.tuning.local.export import export_gguf
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.loading import load, load_config
from promptlearn.tuning.local.policy import Policy
from promptlearn.tuning.local.sampler import LocalSampler
from promptlearn.tuning.run import train

DEVICE = "cuda"
pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
GROUPS = [(5, [3, 4, 1]), (7, [2, 6])]
SAMPLES = {"groups": rows(GROUPS), "trunk": rows_with_a_trunk([2, 5, 1]), "long": rows([(300, [40, 8]), (5, [200])])}
both = pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
any_shape = pytest.mark.parametrize("samples", SAMPLES.values(), ids=SAMPLES)


def policy(device: str = DEVICE, dtype: torch.dtype = torch.float32) -> Policy:
    """The adapter has an effect, and the same one wherever it is."""
    made = Policy(tiny_model().to(device, dtype), Lora(rank=4, alpha=8), model_hash="tiny", eos_ids=EOS)
    source = made if device == "cpu" else policy("cpu", dtype)
    if device == "cpu":
        stir(made)
    with torch.no_grad():
        for there, here in zip(made.parameters, source.parameters, strict=True):
            there.copy_(here)
    return made


def learner(device: str = DEVICE, dtype: torch.dtype = torch.float32, checkpoint: bool = False) -> LocalLearner:
    return LocalLearner(policy(device, dtype), tokens_at_once=10_000, checkpoint=checkpoint)


def gradient(of: LocalLearner) -> torch.Tensor:
    return torch.cat([value.grad.flatten().cpu() for value in of._policy.parameters if value.grad is not None])


def off(found: torch.Tensor, expected: torch.Tensor) -> float:
    """Distance, as a share of the expected length."""
    return float((found - expected).norm() / expected.norm())


async def drawn(sampler: LocalSampler, n: int = 8, tokens: int = 12) -> list[Sample]:
    return [sample async for sample in sampler.sample([5, 6, 7], n, training_sampling(tokens, seed=1))]


@any_shape
def test_the_gradient_is_that_of_the_cpu(samples: list[TrainSample]) -> None:
    here, there = learner("cpu"), learner()
    for each in (here, there):
        each.forward_backward(samples, Loss("grpo", kl_coef=0.1))
    assert off(gradient(there), gradient(here)) < 1e-3
    torch.testing.assert_close(gradient(there), gradient(here), rtol=1e-3, atol=1e-5)


@any_shape
def test_the_gradient_in_16_bits_points_where_that_of_32_does(samples: list[TrainSample]) -> None:
    exact, short = learner("cpu"), learner(dtype=torch.bfloat16)
    for each in (exact, short):
        each.forward_backward(samples, Loss("cross_entropy"))
    assert off(gradient(short), gradient(exact)) < 0.3


@both
@any_shape
def test_no_kernel_holds_all_scores(samples: list[TrainSample], dtype: torch.dtype) -> None:
    """Where neither efficient kernel takes what attention is asked, torch raises here."""
    with sdpa_kernel([SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION]):
        learner(dtype=dtype).forward_backward(samples, Loss(kl_coef=0.1))


@pytest.mark.parametrize("certain", [0.5, 0.9, 0.99, 0.999])
def test_the_head_in_16_bits_knows_which_way_a_nearly_certain_token_pulls(certain: float) -> None:
    states, head, targets = (each.to(DEVICE) for each in nearly_certain(certain))
    assert error_of_slopes(states, head, targets) < 0.03


@both
def test_the_divergence_from_the_base_is_that_of_the_cpu(dtype: torch.dtype) -> None:
    loss = Loss("grpo", kl_coef=0.1)
    expected = learner("cpu").forward_backward(SAMPLES["trunk"], loss).kl
    found = learner(dtype=dtype).forward_backward(SAMPLES["trunk"], loss).kl
    assert expected is not None
    assert expected > 0.01
    assert found == pytest.approx(expected, rel=0.2 if dtype == torch.bfloat16 else 1e-3)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-3), (torch.bfloat16, 0.2)])
async def test_sampler_and_learner_agree(tmp_path: Path, dtype: torch.dtype, tolerance: float) -> None:
    shared = policy(dtype=dtype)
    learner, sampler = LocalLearner(shared), LocalSampler(shared)
    learner.forward_backward(rows(GROUPS), Loss())
    learner.optim_step(Adam(learning_rate=0.01))
    await sampler.publish(learner.save_adapter(tmp_path))
    made = [TrainSample.of([5, 6, 7], each, task_key="a", group="a", reward=0.0) for each in await drawn(sampler)]
    assert learner.forward_backward(made, Loss()).ratio_error < tolerance


@both
async def test_checkpoints_change_neither_the_gradient_nor_the_sampler(tmp_path: Path, dtype: torch.dtype) -> None:
    kept, anew = learner(dtype=dtype), learner(dtype=dtype, checkpoint=True)
    for each in (kept, anew):
        each.forward_backward(SAMPLES["long"], Loss(kl_coef=0.1))
    assert off(gradient(anew), gradient(kept)) < (0.03 if dtype == torch.bfloat16 else 1e-4)
    anew.optim_step(Adam(learning_rate=0.01))
    sampler = LocalSampler(anew._policy)
    await sampler.publish(anew.save_adapter(tmp_path))
    assert sorted(sample.index for sample in await drawn(sampler)) == list(range(8))


@both
async def test_the_canary_catches_an_adapter_that_never_reached_the_sampler(tmp_path: Path, dtype: torch.dtype) -> None:
    trained = learner(dtype=dtype)
    adapter = trained.save_adapter(tmp_path)
    with pytest.raises(TuningError, match="still has the adapter published before"):
        await Deaf(trained._policy).publish(adapter)
    assert await LocalSampler(trained._policy).publish(adapter) == 0


def test_state_goes_from_one_device_to_the_other(tmp_path: Path) -> None:
    there = LocalLearner(policy())
    there.forward_backward(rows(GROUPS), Loss())
    there.optim_step(Adam(learning_rate=0.01))
    there.save_state(tmp_path)
    here = LocalLearner(policy("cpu"))
    here.load_state(tmp_path)
    assert here.version == 1
    for row, other in zip(here.logprobs(rows(GROUPS)), there.logprobs(rows(GROUPS)), strict=True):
        assert row == pytest.approx(other, abs=1e-3)


@both
def test_an_adapter_goes_to_llama_cpp(tmp_path: Path, dtype: torch.dtype) -> None:
    """As many tensors as PEFT's file has, with 32 bits, and the numbers that were trained."""
    from gguf import GGUFReader
    from safetensors.torch import load_file

    trained = learner(dtype=dtype)
    trained.save_adapter(tmp_path)
    written = GGUFReader(export_gguf(tmp_path, trained._policy.config, tmp_path / "adapter.gguf")).tensors
    saved = load_file(tmp_path / "adapter_model.safetensors")
    assert {tensor.tensor_type.name for tensor in written} == {"F32"}
    assert sorted(float(abs(tensor.data).sum()) for tensor in written) == pytest.approx(
        sorted(float(value.float().abs().sum()) for value in saved.values()), rel=1e-5
    )


def test_weights_have_16_bits_where_the_gpu_computes_in_them(tmp_path: Path) -> None:
    model, _, _ = load(str(write_tiny_model(tmp_path)), DEVICE)
    able = torch.cuda.get_device_capability()[0] >= 8
    assert model.dtype == (torch.bfloat16 if able else torch.float32)


async def test_a_training_from_a_folder_to_an_adapter(tmp_path: Path) -> None:
    """As `tune run` opens it: in 16 bits where the GPU computes in them."""
    base = write_tiny_model(tmp_path / "tiny")
    settings = colour_tuning(steps=3, groups=6, group=16, learning_rate=0.02, max_tokens=1, validate_every=3)
    with open_store(tmp_path / "store.db") as store:
        result = await train(colour_job(store), settings, open_local(str(base), Lora(4, 8), device=DEVICE))
        steps = tuning(store, result.run_id).steps
    assert (result.state, result.steps) == ("finished", 3)
    assert max(step.ratio_error for step in steps if step.ratio_error is not None) < 0.2
    assert result.gpu_s > 0
    assert export_gguf(result.adapter, load_config(str(base)), tmp_path / "adapter.gguf").is_file()


async def test_a_resumed_training_ends_as_the_uninterrupted_one(tmp_path: Path) -> None:
    """To rounding: CUDA adds up the gradient of attention in no fixed order."""
    settings = colour_tuning(steps=6, groups=6, group=16, learning_rate=0.01, max_tokens=1, validate_every=3)
    with open_store(tmp_path / "whole.db") as store:
        whole = await train(colour_job(store), settings, tiny_backend(DEVICE))
        expected = [(step.reward, step.grad_norm) for step in tuning(store, whole.run_id).steps]
    with open_store(tmp_path / "stopped.db") as store:
        seen: list[Event] = []

        def stopping() -> bool:
            return sum(event.kind == "step" for event in seen) == 4

        with pytest.raises(Interrupted):
            await train(colour_job(store), settings, tiny_backend(DEVICE), observer=seen.append, stopping=stopping)
        last = await train(colour_job(store), settings, tiny_backend(DEVICE))
        steps = [(step.reward, step.grad_norm) for step in tuning(store, last.run_id).steps]
    assert len(steps) == len(expected) == 6
    for (reward, norm), (other_reward, other_norm) in zip(steps, expected, strict=True):
        assert reward == pytest.approx(other_reward, abs=0.05)
        assert norm == pytest.approx(other_norm, rel=0.2)
    for one, other in zip(last.validation, whole.validation, strict=True):
        assert one.score == pytest.approx(other.score, abs=0.2)


@pytest.fixture(scope="module")
def smollm() -> Backend:
    pull("smollm2-135m-instruct")
    return open_local("local/smollm2-135m-instruct", Lora(rank=16, alpha=32), device=DEVICE)


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize(("prompt", "group", "completion"), [(500, 8, 16), (200, 8, 64), (50, 8, 256)])
async def test_figures_of_the_real_model(smollm: Backend, prompt: int, group: int, completion: int) -> None:
    """Prints seconds and tokens per second; fresh samples must be near the policy in 16 bits too."""
    ids = torch.randint(100, 40_000, (prompt,), generator=torch.Generator().manual_seed(0)).tolist()

    async def sample() -> list[TrainSample]:
        answers = [each async for each in smollm.sampler.sample(ids, group, training_sampling(completion, seed=1))]
        return [TrainSample.of(ids, each, task_key="a", group="a", reward=float(each.index % 2)) for each in answers]

    async def step() -> float:
        report = smollm.learner.forward_backward(samples, Loss())
        smollm.learner.optim_step(Adam(learning_rate=1e-6))
        return report.ratio

    samples = await sample()
    assert abs(await step() - 1) < 0.05
    sampling, training = await seconds(sample), await seconds(step)
    tokens = sum(sum(each.mask) for each in samples)
    shape = f"{prompt} / {group} / {completion}"
    print(f"\n{shape}: sampling {sampling:.3f} s, {tokens / sampling:.0f} tokens/s; step {training:.3f} s")


async def seconds(work: Callable[[], Awaitable[object]]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    await work()
    torch.cuda.synchronize()
    return time.perf_counter() - started
