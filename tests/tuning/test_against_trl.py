"""Our loss and gradient against TRL's own trainer, on the same tensors: the oracle for every loss that both have."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_llama import rows, stir, tiny_model, tiny_policy

from promptlearn.tuning.base import Loss, TrainSample
from promptlearn.tuning.local.learner import LocalLearner

pytest.importorskip("trl")

CASES: list[tuple[Loss, dict[str, Any]]] = [
    (Loss("grpo"), {"loss_type": "grpo"}),
    (Loss("grpo", kl_coef=0.1), {"loss_type": "grpo", "beta": 0.1}),
    (Loss("ppo"), {"loss_type": "dapo"}),
    (Loss("dapo", kl_coef=0.05), {"loss_type": "dapo", "epsilon_high": 0.28, "beta": 0.05}),
    (Loss("dr_grpo", max_tokens=9), {"loss_type": "dr_grpo", "max_completion_length": 9}),
    (Loss("cispo", cap=1.5), {"loss_type": "cispo", "epsilon_high": 1.5}),
    (
        Loss("gspo"),
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-4, "epsilon_high": 4e-4},
    ),
]


def trainer(folder: Path, settings: dict[str, Any]) -> Any:
    """A real one, on the CPU, with the same adapter on the same model."""
    from datasets import Dataset
    from peft import LoraConfig
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    words = Tokenizer(WordLevel({f"w{index}": index for index in range(64)}, unk_token="w0"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, pad_token="w1", eos_token="w2")
    config = GRPOConfig(
        output_dir=str(folder),
        use_cpu=True,
        bf16=False,
        activation_checkpointing=False,
        num_generations=2,
        per_device_train_batch_size=2,
        report_to=[],
        **settings,
    )
    return GRPOTrainer(
        model=tiny_model(),
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=config,
        train_dataset=Dataset.from_dict({"prompt": ["w3", "w4"]}),
        processing_class=tokenizer,
        peft_config=LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM"),
    )


def tensors(samples: list[TrainSample], base: list[list[float]]) -> dict[str, torch.Tensor]:
    """The same rows as TRL holds them: prompts padded on the left, completions on the right."""
    prompt = max(sample.prompt_length for sample in samples)
    behind = max(len(sample.token_ids) - sample.prompt_length for sample in samples)

    def completion(sample: TrainSample, column: list[float] | tuple[float, ...]) -> list[float]:
        values = list(column[sample.prompt_length :])
        return values + [0] * (behind - len(values))

    def before(sample: TrainSample, column: tuple[int, ...]) -> list[int]:
        return [0] * (prompt - sample.prompt_length) + list(column[: sample.prompt_length])

    return {
        "prompt_ids": torch.tensor([before(sample, sample.token_ids) for sample in samples]),
        "prompt_mask": torch.tensor([before(sample, (1,) * prompt) for sample in samples]),
        "completion_ids": torch.tensor([completion(sample, sample.token_ids) for sample in samples]),
        "completion_mask": torch.tensor([completion(sample, (1,) * len(sample.token_ids)) for sample in samples]),
        "tool_mask": torch.tensor([completion(sample, tuple(map(int, sample.mask))) for sample in samples]),
        "old_per_token_logps": torch.tensor([completion(sample, sample.behaviour_logprobs) for sample in samples]),
        "ref_per_token_logps": torch.tensor([completion(s, row) for s, row in zip(samples, base, strict=True)]),
        "advantages": torch.tensor([sample.advantages[sample.mask.index(True)] for sample in samples]),
        "num_items_in_batch": torch.tensor(sum(sum(sample.mask) for sample in samples)),
    }


def near_policy(samples: list[TrainSample], learner: LocalLearner) -> list[TrainSample]:
    """Behaviour a little off the policy, so that some ratios are clipped and some are not."""
    moved = []
    generator = torch.Generator().manual_seed(4)
    for sample, row in zip(samples, learner.logprobs(samples), strict=True):
        noise = (0.3 * torch.randn(len(row), generator=generator)).tolist()
        pairs = zip(row, noise, sample.mask, strict=True)
        moved.append(replace(sample, behaviour_logprobs=tuple(v + e if m else 0.0 for v, e, m in pairs)))
    return moved


def with_tool_tokens(sample: TrainSample) -> TrainSample:
    """The second and third token behind the prompt came from a tool."""
    at = range(sample.prompt_length + 1, sample.prompt_length + 3)

    def column(values: tuple[Any, ...], neutral: Any) -> tuple[Any, ...]:
        return tuple(neutral if place in at else value for place, value in enumerate(values))

    return replace(sample, mask=column(sample.mask, False), advantages=column(sample.advantages, 0.0))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of trl and what it imports
@pytest.mark.parametrize(("loss", "settings"), CASES, ids=[f"{c[0].name}-kl{c[0].kl_coef:g}" for c in CASES])
def test_loss_and_gradient_equal_trl(tmp_path: Path, loss: Loss, settings: dict[str, Any]) -> None:
    policy = tiny_policy()
    stir(policy)
    learner = LocalLearner(policy)
    samples = rows([(5, [4, 6, 5]), (8, [7, 4])])
    samples = near_policy([with_tool_tokens(sample) for sample in samples], learner)
    theirs = trainer(tmp_path, settings)
    parameters = dict(theirs.model.named_parameters())
    with torch.no_grad():
        for (name, value), ours in zip(_adapter(parameters).items(), policy.parameters, strict=True):
            assert value.shape == ours.shape, name
            value.copy_(ours)
    theirs.model.eval()  # no dropout either way; in training its loss is divided by what its loop counts
    inputs = tensors(samples, learner.logprobs(samples, base=True))
    expected = theirs._compute_loss(theirs.model, inputs)
    expected.backward()

    report = learner.forward_backward(samples, loss)

    assert 0 < report.clip_fraction < 1
    assert report.loss == pytest.approx(float(expected), rel=1e-5, abs=1e-6)
    for (name, value), ours in zip(_adapter(parameters).items(), policy.parameters, strict=True):
        assert ours.grad is not None
        torch.testing.assert_close(ours.grad, value.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of trl and what it imports
def test_importance_sampling_equals_trl_s_correction_of_another_sampler(tmp_path: Path) -> None:
    """TRL truncates the ratio to the sampler (`token_truncate`) where vLLM draws, around a policy ratio of 1."""
    policy = tiny_policy()
    stir(policy)
    learner = LocalLearner(policy)
    samples = near_policy([with_tool_tokens(sample) for sample in rows([(5, [4, 6, 5]), (8, [7, 4])])], learner)
    theirs = trainer(tmp_path, {"loss_type": "dapo", "vllm_importance_sampling_mode": "token_truncate"})
    theirs.use_vllm = theirs.vllm_importance_sampling_correction = True
    parameters = _adapter(dict(theirs.model.named_parameters()))
    with torch.no_grad():
        for value, ours in zip(parameters.values(), policy.parameters, strict=True):
            value.copy_(ours)
    theirs.model.eval()
    now = learner.logprobs(samples)
    inputs = tensors(samples, now)
    behaviour = inputs.pop("old_per_token_logps")
    inputs["sampling_per_token_logps"] = behaviour
    inputs["importance_sampling_ratio"] = (inputs.pop("ref_per_token_logps") - behaviour).exp().clamp(max=1.1)
    expected = theirs._compute_loss(theirs.model, inputs)
    expected.backward()

    report = learner.forward_backward(samples, Loss("importance_sampling", cap=1.1))

    assert 0 < report.clip_fraction < 1
    assert report.loss == pytest.approx(float(expected.detach()), rel=1e-5, abs=1e-6)
    for (name, value), ours in zip(parameters.items(), policy.parameters, strict=True):
        torch.testing.assert_close(ours.grad, value.grad, rtol=1e-4, atol=1e-6, msg=name)


def _adapter(parameters: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in parameters.items() if ".lora_" in name}
