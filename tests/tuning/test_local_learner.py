"""LocalLearner on a random model of two layers: gradients, ratios, masks, state, memory."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_llama import VOCABULARY, rows, rows_with_a_trunk, stir, tiny_model, tiny_policy, with_advantage
from torch import Tensor

from promptlearn.errors import ConfigError, TuningError
from promptlearn.tuning.base import LOSSES, Adam, Learner, Loss, LossName, TrainSample
from promptlearn.tuning.local import packing
from promptlearn.tuning.local.head import token_logprobs
from promptlearn.tuning.local.learner import LocalLearner
from promptlearn.tuning.local.memory import activation_bytes, plan

GROUPS = [(9, [3, 4, 1]), (7, [2, 6]), (1, [2])]


def learner(tokens_at_once: int | None = None, checkpoint: bool = False) -> LocalLearner:
    policy = tiny_policy()
    stir(policy)
    return LocalLearner(policy, tokens_at_once=tokens_at_once, checkpoint=checkpoint)


def gradient(of: LocalLearner) -> Tensor:
    parts = [value.grad for value in of._policy.parameters]
    return torch.cat([part.flatten() for part in parts if part is not None])


def on_policy(samples: list[TrainSample], of: LocalLearner) -> list[TrainSample]:
    return [
        replace(sample, behaviour_logprobs=tuple(row))
        for sample, row in zip(samples, of.logprobs(samples), strict=True)
    ]


def settings_of(name: LossName) -> Loss:
    return Loss(name, max_tokens=8 if name == "dr_grpo" else None, kl_coef=0.05)


def plain_logprobs(samples: list[TrainSample]) -> list[list[float]]:
    """transformers' own forward pass, one row at a time, no adapter, no grouping."""
    model = tiny_model()
    scored = []
    for sample in samples:
        with torch.no_grad():
            logp = model(input_ids=torch.tensor([sample.token_ids])).logits[0].log_softmax(-1)
        row = [float(logp[place - 1, token]) for place, token in enumerate(sample.token_ids)]
        scored.append([value if sampled else 0.0 for value, sampled in zip(row, sample.mask, strict=True)])
    return scored


def test_the_protocol_is_kept() -> None:
    assert isinstance(learner(), Learner)


def test_the_adapter_as_it_is_made_and_the_adapter_off_are_the_base() -> None:
    samples = rows(GROUPS)
    expected = plain_logprobs(samples)
    fresh, stirred = LocalLearner(tiny_policy()), learner()
    for scored in (fresh.logprobs(samples), fresh.logprobs(samples, base=True), stirred.logprobs(samples, base=True)):
        for ours, theirs in zip(scored, expected, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
    assert stirred.logprobs(samples)[0] != pytest.approx(expected[0], abs=1e-2)


def test_adapter_off_is_not_a_matter_of_degree() -> None:
    """Bit for bit, before and after an optimizer step."""
    trained = learner()
    samples = rows(GROUPS)
    before = trained.logprobs(samples, base=True)
    trained.forward_backward(samples, Loss(kl_coef=0.1))
    trained.optim_step(Adam(learning_rate=0.1))
    assert trained.logprobs(samples, base=True) == before


@pytest.mark.parametrize("name", LOSSES)
def test_the_ratio_is_exactly_one_on_fresh_samples(name: LossName) -> None:
    trained = learner()
    report = trained.forward_backward(on_policy(rows(GROUPS), trained), settings_of(name))
    assert (report.ratio, report.ratio_error, report.effective_sample_size) == (1.0, 0.0, 1.0)
    assert report.clip_fraction == 0.0


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("budget", [1, 9, 16, 30])
def test_the_gradient_does_not_depend_on_the_split(name: LossName, budget: int) -> None:
    samples, whole, split = rows(GROUPS), learner(10_000), learner(budget)
    samples = [
        replace(sample, behaviour_logprobs=tuple(0.9 * value for value in row))
        for sample, row in zip(samples, whole.logprobs(samples), strict=True)
    ]
    together, apart = (each.forward_backward(samples, settings_of(name)) for each in (whole, split))
    torch.testing.assert_close(gradient(split), gradient(whole), rtol=1e-4, atol=1e-6)
    assert apart.loss == pytest.approx(together.loss, rel=1e-4, abs=1e-6)
    assert apart.effective_sample_size == pytest.approx(together.effective_sample_size, rel=1e-3)


@pytest.mark.parametrize("budget", [16, 10_000])
def test_checkpoints_change_memory_and_nothing_else(budget: int) -> None:
    kept, anew = learner(budget), learner(budget, checkpoint=True)
    assert remembered(anew) < remembered(kept) / 2
    torch.testing.assert_close(gradient(anew), gradient(kept), rtol=1e-5, atol=1e-7)


def remembered(of: LocalLearner) -> int:
    """How many numbers wait for backward during a step."""
    sizes: list[int] = []

    def keep(value: Tensor) -> Tensor:
        sizes.append(value.numel())
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        of.forward_backward(rows(GROUPS), Loss(kl_coef=0.1))
    return sum(sizes)


def test_tool_tokens_have_exactly_zero_gradient() -> None:
    """Whatever stands in their columns, the gradient is the same bit for bit: that of the sampled tokens."""

    def with_tool(noise: float) -> list[TrainSample]:
        return [
            replace(
                row,
                mask=tuple(sampled and place != 7 for place, sampled in enumerate(row.mask)),
                advantages=tuple(noise if place == 7 else value for place, value in enumerate(row.advantages)),
                behaviour_logprobs=tuple(
                    -noise if place == 7 else value for place, value in enumerate(row.behaviour_logprobs)
                ),
            )
            for row in rows([(5, [6, 5])])
        ]

    clean, noisy = learner(), learner()
    first, second = (each.forward_backward(with_tool(x), Loss("grpo")) for each, x in ((clean, 0.0), (noisy, 9.0)))
    assert torch.equal(gradient(clean), gradient(noisy))
    assert first.tokens == second.tokens == 9


def test_rows_without_advantage_pull_on_nothing() -> None:
    trained = learner()
    report = trained.forward_backward(
        [replace(row, advantages=(0.0,) * len(row.advantages)) for row in rows(GROUPS)], Loss()
    )
    assert report.grad_norm == 0.0
    assert torch.count_nonzero(gradient(trained)) == 0


def test_the_gradient_climbs_towards_what_was_rewarded() -> None:
    trained = learner()
    good, bad = rows([(4, [3, 3])])
    pair = [
        replace(good, advantages=tuple(map(float, good.mask))),
        replace(bad, advantages=tuple(-m for m in bad.mask)),
    ]
    before = [sum(row) for row in trained.logprobs(pair)]
    for _ in range(5):
        trained.forward_backward(on_policy(pair, trained), Loss())
        trained.optim_step(Adam(learning_rate=0.01))
    after = [sum(row) for row in trained.logprobs(pair)]
    assert after[0] > before[0]
    assert after[1] < before[1]
    assert trained.version == 5


def test_a_run_that_resumes_ends_as_the_uninterrupted_one_invariant_3(tmp_path: Path) -> None:
    def step(of: LocalLearner, seed: int) -> None:
        of.forward_backward(rows(GROUPS, seed), Loss("grpo"))
        of.optim_step(Adam(learning_rate=0.01))

    whole, first, second = learner(), learner(), LocalLearner(tiny_policy())
    for seed in range(4):
        step(whole, seed)
    for seed in range(2):
        step(first, seed)
    first.save_adapter(tmp_path / "adapter")
    first.save_state(tmp_path)
    second.load_state(tmp_path)
    for seed in range(2, 4):
        step(second, seed)
    assert second.version == whole.version == 4
    for ours, theirs in zip(second._policy.parameters, whole._policy.parameters, strict=True):
        assert torch.equal(ours, theirs)
    canary = second.save_adapter(tmp_path / "b").canary
    assert canary is not None
    assert canary.stale == first.save_adapter(tmp_path / "c").canary.stale  # type: ignore[union-attr]


def test_a_state_of_another_model_is_refused(tmp_path: Path) -> None:
    learner().save_state(tmp_path)
    policy = tiny_policy()
    policy.model_hash = "another"
    with pytest.raises(TuningError, match="another base model"):
        LocalLearner(policy).load_state(tmp_path)


def test_a_gradient_that_is_no_number_stops_the_run() -> None:
    trained = learner()
    broken = [replace(row, advantages=tuple(float("nan") for _ in row.mask)) for row in rows([(3, [2])])]
    with pytest.raises(TuningError, match="nan"):
        trained.forward_backward(broken, Loss())


@pytest.mark.parametrize(
    ("change", "match"),
    [(lambda row: replace(row, reward=None), "credit"), (lambda row: replace(row, mask=(False,) * 5), "no gradient")],
)
def test_what_can_not_be_trained_on(change: Callable[[TrainSample], TrainSample], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        learner().forward_backward([change(row) for row in rows([(3, [2])])], Loss())


@settings(max_examples=8, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 6), st.lists(st.integers(1, 5), min_size=1, max_size=4)), min_size=1, max_size=3)
)
def test_any_shape_scores_as_one_row_at_a_time(groups: list[tuple[int, list[int]]]) -> None:
    samples = rows(groups)
    for ours, theirs in zip(LocalLearner(tiny_policy()).logprobs(samples), plain_logprobs(samples), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.parametrize("budget", [None, 40, 70])
@pytest.mark.parametrize("tails", [[2, 5, 1], [0, 3, 0], [4]])
def test_what_all_groups_begin_with_is_computed_once_and_exactly(
    tails: list[int], budget: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A long prompt with other last words for each group, against one row at a time."""
    groups = rows_with_a_trunk(tails)
    assert LocalLearner(tiny_policy(), tokens_at_once=budget).logprobs(groups) == [
        pytest.approx(row, abs=1e-4) for row in plain_logprobs(groups)
    ]
    shared_once, one_by_one = learner(budget), learner(budget)
    shared_once.forward_backward(groups, Loss())
    monkeypatch.setattr(packing, "_WORTH", 1000)
    one_by_one.forward_backward(groups, Loss())
    torch.testing.assert_close(gradient(shared_once), gradient(one_by_one), rtol=1e-4, atol=1e-6)


def test_prompts_of_a_group_may_part_before_the_first_sampled_token() -> None:
    """Turns differ between samples: what all share is computed once, the rest belongs to each."""
    first, second = rows([(6, [3, 3])])
    second = replace(second, token_ids=(*first.token_ids[:4], 9, 9, *second.token_ids[6:]))
    assert LocalLearner(tiny_policy()).logprobs([first, second])[1] == pytest.approx(
        plain_logprobs([second])[0], abs=1e-4
    )


def test_the_head_without_logits_has_the_gradient_of_log_softmax() -> None:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(9, 8, generator=generator).requires_grad_()
    head = torch.randn(VOCABULARY, 8, generator=generator)
    targets = torch.randint(VOCABULARY, (9,), generator=generator)
    weight = torch.randn(9, generator=generator)
    logp, entropy = token_logprobs(hidden, head, targets)
    (slope,) = torch.autograd.grad((logp * weight).sum(), hidden)
    plain = (hidden @ head.T).log_softmax(-1)
    (expected,) = torch.autograd.grad((plain.gather(-1, targets[:, None])[:, 0] * weight).sum(), hidden)
    torch.testing.assert_close(slope, expected)
    torch.testing.assert_close(entropy, -(plain.exp() * plain).sum(-1).detach())


def test_the_plan_follows_the_memory_and_nothing_that_changes() -> None:
    config, cpu = tiny_model().config, torch.device("cpu")
    room = 4 * activation_bytes(config, cpu, row=50, checkpoint=False)
    assert plan(config, cpu, longest=50, memory=100 * room).checkpoint is False
    short = plan(config, cpu, longest=50, memory=20 * room)
    assert short.checkpoint
    assert short.tokens >= 50
    assert plan(config, cpu, 50) == plan(config, cpu, 50)


@pytest.mark.parametrize("groups", [[(5, [20, 20, 20])], [(20, [500, 500])]])
def test_a_step_keeps_no_more_than_the_plan_says(groups: list[tuple[int, list[int]]]) -> None:
    """Long rows too, whose masks are larger than all else."""
    of, samples = learner(10_000), rows(groups)
    row, tokens = max(len(sample.token_ids) for sample in samples), sum(prompt + sum(each) for prompt, each in groups)
    room = tokens * activation_bytes(of._policy.config, of._policy.device, row, checkpoint=False)
    assert room / 3 < bytes_kept(of, samples) < room


def bytes_kept(of: LocalLearner, samples: list[TrainSample]) -> int:
    """What waits for backward during a step, weights and the head's chunk left out."""
    weights = {value.untyped_storage().data_ptr() for value in of._policy._wrapped.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        kept[value.untyped_storage().data_ptr()] = value
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        of.forward_backward(samples, Loss())
    return sum(value.untyped_storage().nbytes() for place, value in kept.items() if place not in weights)


def test_architectures_that_compute_otherwise_are_refused() -> None:
    from promptlearn.tuning.base import Lora
    from promptlearn.tuning.local.policy import Policy

    model = tiny_model()
    model.config.sliding_window = 128
    with pytest.raises(ConfigError, match="sliding window"):
        Policy(model, Lora())


def plain_twin(of: LocalLearner) -> tuple[Any, list[torch.nn.Parameter]]:
    """(transformers' and PEFT's own model with the same adapter, the adapter's parameters)."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", lora_dropout=0.0, task_type="CAUSAL_LM")
    twin = get_peft_model(tiny_model(), settings).eval()
    adapter = [value for name, value in twin.named_parameters() if ".lora_" in name]
    with torch.no_grad():
        for value, mine in zip(adapter, of._policy.parameters, strict=True):
            value.copy_(mine)
    return twin, adapter


def gathered(adapter: list[torch.nn.Parameter]) -> Tensor:
    return torch.cat([value.grad.flatten() for value in adapter if value.grad is not None])


def test_cross_entropy_equals_transformers_own_loss() -> None:
    """Loss and gradient, on a padded batch: the mean over all completion tokens, whatever the behaviour was."""
    ours = learner()
    samples = [replace(one, advantages=tuple(map(float, one.mask))) for one in rows(GROUPS)]
    twin, adapter = plain_twin(ours)
    longest = max(len(one.token_ids) for one in samples)
    ids = torch.tensor([[*one.token_ids, *[0] * (longest - len(one.token_ids))] for one in samples])
    behind = torch.tensor([[*one.mask, *[False] * (longest - len(one.mask))] for one in samples])
    loss = twin(input_ids=ids, labels=ids.where(behind, torch.tensor(-100))).loss
    loss.backward()

    report = ours.forward_backward(samples, Loss("cross_entropy"))

    assert report.loss == pytest.approx(loss.item(), rel=1e-5)
    assert report.clip_fraction == 0
    torch.testing.assert_close(gradient(ours), gathered(adapter), rtol=1e-4, atol=1e-6)


def test_importance_sampling_equals_its_formula_written_by_hand() -> None:
    """Value -min(r, cap) A and gradient -min(r, cap) A ∇logp, one row at a time through transformers' own model."""
    ours = learner()
    cap = 1.05
    samples = [
        replace(one, behaviour_logprobs=tuple(value + 0.2 * (place % 3 - 1) for place, value in enumerate(row)))
        for one, row in zip(rows(GROUPS), ours.logprobs(rows(GROUPS)), strict=True)
    ]
    twin, adapter = plain_twin(ours)
    tokens, value = sum(sum(one.mask) for one in samples), 0.0
    for one in samples:
        logp = twin(input_ids=torch.tensor([one.token_ids])).logits[0].log_softmax(-1)
        for place in (place for place, sampled in enumerate(one.mask) if sampled):
            chosen = logp[place - 1, one.token_ids[place]]
            weight = min(math.exp(chosen.item() - one.behaviour_logprobs[place]), cap)
            value -= weight * one.advantages[place] / tokens
            (-weight * one.advantages[place] * chosen / tokens).backward(retain_graph=True)

    report = ours.forward_backward(samples, Loss("importance_sampling", cap=cap))

    assert 0 < report.clip_fraction < 1
    assert report.loss == pytest.approx(value, rel=1e-4)
    torch.testing.assert_close(gradient(ours), gathered(adapter), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "share"), [("gspo", 1 / 3), ("grpo", 6 / 8)])
def test_what_is_clipped_is_a_share_of_sequences_for_gspo_and_of_tokens_else(name: LossName, share: float) -> None:
    of = learner()
    long, *short = (with_advantage(one, 1.0) for one in on_policy(rows([(5, [6, 1, 1])]), of))
    drifted = tuple(value - sampled for value, sampled in zip(long.behaviour_logprobs, long.mask, strict=True))
    report = of.forward_backward([replace(long, behaviour_logprobs=drifted), *short], Loss(name))
    assert report.clip_fraction == pytest.approx(share)


@pytest.mark.parametrize("budget", [None, 12])
def test_dr_grpo_divides_by_what_was_drawn_whatever_was_dropped(budget: int | None) -> None:
    """As TRL, where a group without spread stays in the batch with advantage 0."""
    made = rows(GROUPS)
    samples = [one if one.group == "0" else replace(one, advantages=(0.0,) * len(one.mask)) for one in made]
    whole, kept = learner(budget), learner(budget)
    everything = whole.forward_backward(samples, Loss("dr_grpo", max_tokens=8))
    some = kept.forward_backward(
        [one for one in samples if one.group == "0"], Loss("dr_grpo", max_tokens=8, sequences=len(samples))
    )
    assert some.loss == pytest.approx(everything.loss)
    torch.testing.assert_close(gradient(kept), gradient(whole))


@pytest.mark.parametrize(("name", "bounds"), [("ppo", (0.8, 1.2)), ("dapo", (0.8, 1.28)), ("gspo", (0.9997, 1.0004))])
def test_clips_are_those_of_the_paper_unless_given(name: LossName, bounds: tuple[float, float]) -> None:
    assert Loss(name).bounds == pytest.approx(bounds)
    assert Loss(name, clip_low=0.1).bounds == pytest.approx((0.9, bounds[1]))
    assert Loss(name, clip_high=0.3).bounds == pytest.approx((bounds[0], 1.3))
