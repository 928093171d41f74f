"""What is said about a training set-up before it costs anything."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from colours import LABELS, colour_job

from promptlearn.config import JudgeConfig, TuningConfig
from promptlearn.job import JudgeSpec
from promptlearn.judging import Contains, LabelSet
from promptlearn.ledger import Budget
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example, Usage
from promptlearn.store import Store, open_store
from promptlearn.tuning.base import Sample, training_sampling
from promptlearn.tuning.lint import lint, lint_base, planned_calls
from promptlearn.tuning.rewards import Reward
from promptlearn.tuning.stream import Ask, Draw, Group

SURFACE = Contains(needles=["blue"])


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@pytest.mark.parametrize(
    ("settings", "warning"),
    [
        ({"learning_rate": 1e-6}, "too little to learn"),
        ({"learning_rate": 1e-2}, "gibberish"),
        ({"group": 2}, "fewer than 4 say little"),
    ],
)
def test_settings_that_do_not_learn(store: Store, settings: dict[str, Any], warning: str) -> None:
    [said] = lint(colour_job(store), TuningConfig(**settings))
    assert warning in said


@pytest.mark.parametrize("rate", [1e-5, 1e-4, 1e-3])
def test_ordinary_settings_are_left_alone(store: Store, rate: float) -> None:
    assert lint(colour_job(store), TuningConfig(learning_rate=rate)) == ()


def test_rewards_that_would_be_gamed(store: Store) -> None:
    surface, right = JudgeSpec(SURFACE), JudgeSpec(LabelSet(LABELS))
    assert "looks at the surface" in lint(colour_job(store, judges=[SURFACE]), TuningConfig())[0]
    for rest in (right, JudgeSpec(LabelSet(LABELS), weight=0, veto=True)):
        assert lint(replace(colour_job(store), judges=(surface, rest)), TuningConfig()) == ()
    # A gold judge does not steer, so that it makes no reward safer.
    gold = JudgeSpec(LabelSet(LABELS), gold=True)
    assert lint(replace(colour_job(store), judges=(surface, gold)), TuningConfig())


def test_a_policy_that_judges_itself(store: Store) -> None:
    model = ScriptedModel(["never asked"], identity="same")
    judges = (JudgeSpec(JudgeConfig(use="correctness")),)
    own = replace(colour_job(store), judges=judges, task=model, judge=model)
    said = lint(own, TuningConfig())
    assert any("judge" in text and "flatters itself" in text for text in said)
    assert any("learns to please" in text for text in said)


def test_a_budget_that_ends_training_early(store: Store) -> None:
    settings = TuningConfig(steps=10, groups=2, group=5, validate_every=4)
    assert planned_calls(colour_job(store), settings) == {"task": 10 * 10 + 4 * 6, "judge": 0, "meta": 0}
    assert lint(colour_job(store, budget=Budget(task_calls=124)), settings) == ()
    [said] = lint(colour_job(store, budget=Budget(task_calls=123)), settings)
    assert "budget.task_calls = 123 ends training" in said


@pytest.mark.parametrize(
    ("rewards", "warning"),
    [([0.0, 0.0, None], "scores 0"), ([1.0, 1.0], "is right already"), ([0.0, 1.0], None), ([None], None)],
)
def test_a_base_from_which_nothing_can_be_learned(rewards: list[float | None], warning: str | None) -> None:
    sample = Sample(0, (1,), (-0.5,), "stop", 0)
    draw = Draw(Ask(Example("e", {}), (1,), training_sampling(1)), (sample,) * len(rewards), 0.1)
    said = lint_base([Group(draw, tuple(map(Reward, rewards)))])
    assert (warning is None) == (said == ())
    assert warning is None or warning in said[0]
    assert draw.usage == Usage(len(rewards), 0, len(rewards), len(rewards), len(rewards) - 1, 0.0)
