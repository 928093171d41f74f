"""Advantages on plain rewards, and what is dropped before they are computed."""

from __future__ import annotations

import statistics
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import ConfigError
from promptlearn.models.base import Sampling
from promptlearn.tuning.advantages import advantages, credit
from promptlearn.tuning.base import (
    ADVANTAGES,
    AdvantageName,
    Loss,
    Sample,
    TrainSample,
    check_sampling,
    training_sampling,
)

rewards = st.lists(st.floats(0, 1), min_size=2, max_size=8)


def row(group: str, reward: float | None, tokens: int = 2) -> TrainSample:
    sample = Sample(0, tuple(range(tokens)), (-1.0,) * tokens, "stop", 0)
    return TrainSample.of([7, 8, 9], sample, task_key=group, group=group, reward=reward)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("group_norm", 0.75 / (0.5 + 1e-4)),
        ("centre", 0.75),
        ("leave_one_out", 1.0),
        ("batch_std", 0.75 / (statistics.stdev([1, 0, 0, 0, 2, 0]) + 1e-4)),
    ],
)
def test_each_formula_by_hand(name: AdvantageName, expected: float) -> None:
    assert advantages([[1, 0, 0, 0], [2, 0]], name)[0][0] == pytest.approx(expected)


@given(st.lists(rewards, min_size=1, max_size=4), st.sampled_from(ADVANTAGES))
def test_they_sum_to_zero_and_equal_rewards_are_worth_the_same(groups: list[list[float]], name: AdvantageName) -> None:
    doubled = [group * 2 for group in groups]
    for group, values in zip(doubled, advantages(doubled, name), strict=True):
        assert sum(values) == pytest.approx(0, abs=1e-9 * len(group) / 1e-4)
        assert values[: len(values) // 2] == values[len(values) // 2 :]


@given(rewards, st.sampled_from(ADVANTAGES), st.randoms(use_true_random=False))
def test_the_order_in_a_group_does_not_matter(group: list[float], name: AdvantageName, random: object) -> None:
    order = sorted(range(len(group)), key=lambda index: (group[index], index))
    straight = advantages([group], name)[0]
    sorted_ones = advantages([[group[index] for index in order]], name)[0]
    assert [straight[index] for index in order] == pytest.approx(sorted_ones, rel=1e-6, abs=1e-9)


def test_a_missing_reward_is_outside_mean_and_deviation_invariant_4() -> None:
    with_gap = credit([row("a", 1.0), row("a", None), row("a", 0.0)])
    without = credit([row("a", 1.0), row("a", 0.0)])
    assert with_gap.samples == without.samples
    assert with_gap.unrewarded == 1


def test_groups_without_spread_are_dropped_and_counted() -> None:
    credited = credit([row("a", 1.0), row("b", 0.5), row("a", 1.0), row("b", 0.0), row("c", 1.0), row("d", None)])
    assert {sample.group for sample in credited.samples} == {"b"}
    assert (credited.groups, credited.dropped, credited.unrewarded) == (1, 3, 1)


def test_the_deviation_of_a_batch_is_that_of_all_its_rewards_dropped_groups_included() -> None:
    batch = [("a", 1.0), ("a", 0.0), ("b", 1.0), ("b", 1.0), ("c", 1.0), ("d", None)]
    credited = credit([row(group, reward) for group, reward in batch], "batch_std")
    std = statistics.stdev([1.0, 0.0, 1.0, 1.0, 1.0])
    assert [sample.advantages[-1] for sample in credited.samples] == pytest.approx(
        [0.5 / (std + 1e-4), -0.5 / (std + 1e-4)]
    )


def test_only_sampled_tokens_get_an_advantage_and_interleaved_groups_keep_theirs() -> None:
    credited = credit([row("a", 1.0), row("b", 0.0), row("a", 0.0), row("b", 1.0)], "centre")
    assert [sample.advantages for sample in credited.samples] == [
        (0, 0, 0, value, value) for value in (0.5, -0.5, -0.5, 0.5)
    ]


def test_unknown_names_say_what_is_possible() -> None:
    with pytest.raises(ConfigError, match="leave_one_out"):
        advantages([[1, 0]], "mean")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="cispo"):
        Loss("a2c")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="max_tokens"):
        Loss("dr_grpo")


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0.7),
        Sampling(temperature=1.0, top_p=0.9),
        Sampling(temperature=1.0, extra={"top_k": 20}),
        Sampling(temperature=1.0, extra={"min_p": 0.1}),
        Sampling(temperature=1.0, stop=("\n",)),
    ],
)
def test_training_samples_come_from_the_policy_itself(sampling: Sampling) -> None:
    with pytest.raises(ConfigError, match="temperature 1, top_p 1, top_k 0"):
        check_sampling(sampling)


def test_plain_sampling_passes() -> None:
    check_sampling(training_sampling(16, seed=3))
    check_sampling(Sampling(temperature=1.0, extra={"top_k": 0, "user": "me"}))


def test_a_row_survives_json_and_is_aligned() -> None:
    sample = row("a", 1.0)
    assert TrainSample.from_row(asdict(sample)) == sample
    assert sample.prompt_length == 3
    with pytest.raises(ValueError, match="different lengths"):
        TrainSample.from_row(asdict(sample) | {"mask": [True]})
