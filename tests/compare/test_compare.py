"""Comparisons end to end on a scripted model: what is read when, what is paid for, what the figures say."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import synthetic
from compared import dataset, synthetic_lab

from promptlearn.compare import Comparison, Plan, compare
from promptlearn.compare.best_of import BestOf
from promptlearn.compare.comparison import Pair
from promptlearn.compare.figure import figure, png
from promptlearn.compare.page import page
from promptlearn.errors import ConfigError, Interrupted, ModelError
from promptlearn.ledger import Budget
from promptlearn.models.base import Model
from promptlearn.models.scripted import Scripted, ScriptedModel
from promptlearn.records import Example, Message, Prompt
from promptlearn.runlog import Event
from promptlearn.selection.crossed import crossed_gap
from promptlearn.store import Store, open_store
from promptlearn.store.rows import EVALUATION


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


def run(store: Store, *arms: str, **settings: object) -> Comparison:
    return asyncio.run(compare(synthetic_lab(store, arms or ("base", "prompt"), **settings)))  # type: ignore[arg-type]


def test_a_learned_prompt_is_shown_to_be_better_than_the_base(store: Store) -> None:
    comparison = run(store)
    base, prompt = comparison.arms
    assert base.test.score == 0.0
    assert prompt.test.score == 1.0
    assert prompt.test.by_seed == (1.0, 1.0)
    assert base.training.calls == 0
    assert prompt.training.calls > 20
    (pair,) = comparison.pairs
    assert (pair.a, pair.b, pair.gap.difference, pair.better) == ("base", "prompt", 1.0, "prompt")
    assert pair.p_holm == pair.gap.p_value < 0.001


def test_what_is_cheaper_and_shown_to_be_worse_pays_for_nothing(store: Store) -> None:
    base, prompt = run(store).arms
    worse = Pair("prompt", "base", crossed_gap(prompt.scores, base.scores), p_holm=0.001, cheaper_from=0)
    assert (worse.better, worse.break_even_calls) == ("prompt", None)
    assert replace(worse, p_holm=0.5).break_even_calls == 0


def test_the_document_has_the_keys_that_it_promises(store: Store) -> None:
    document = json.loads(json.dumps(run(store).to_json()))
    for arm in document["arms"]:
        assert {"score", "n", "ci95"} <= set(arm["test"])
        assert set(arm["train"]) == {"calls", "tokens", "gpu_s", "cost_usd", "wall_s"}
        assert {"input_tokens", "cost_usd"} <= set(arm["per_call"])
    assert {"a", "b", "delta", "ci95", "p_value", "p_holm"} <= set(document["pairs"][0])
    assert document["pairs"][0]["rows_won"] == {"a": 0, "b": document["rows"]["test"]}
    assert document["mde"] == pytest.approx(2.8016 * (0.2 / document["rows"]["test"]) ** 0.5, rel=1e-3)
    assert document["break_even_calls"] is None


def test_learning_never_has_the_test_split_and_each_subject_reads_it_once(store: Store) -> None:
    """Invariant 5."""
    seen: list[tuple[str, str]] = []

    def observe(name: str, event: Event) -> None:
        if event.kind == "begun":
            seen.append((name.rpartition(", ")[2], name))

    comparison = asyncio.run(compare(synthetic_lab(store, ("base", "prompt", "best_of_n")), observe))
    kinds = [kind for kind, _ in seen]
    assert kinds.index("test") == kinds.count("seed 0") + kinds.count("seed 1")
    test = {example.id for example in dataset().test}
    for row in store.reader.runs():
        read = {one.rollout.example for one in store.reader.rollouts(row.id)}
        if row.config_digest.startswith(EVALUATION):
            assert read == test
        else:
            assert not read & test
            assert row.result["test_reads"] == 0
    assert all(reading.times == 1 for arm in comparison.arms for reading in arm.readings)


def test_a_second_comparison_pays_for_nothing_and_reads_nothing(store: Store) -> None:
    """Invariant 3."""
    models: list[ScriptedModel] = []

    def task() -> Model:
        models.append(synthetic.task_model())
        return models[-1]

    first = asyncio.run(compare(synthetic_lab(store, ("base", "prompt", "best_of_n"), task)))
    runs = len(store.reader.runs())
    models.clear()
    second = asyncio.run(compare(synthetic_lab(store, ("base", "prompt", "best_of_n"), task)))
    assert second.to_json() == first.to_json()
    assert len(store.reader.runs()) == runs
    assert not any(model.calls for model in models)


def test_a_comparison_that_was_stopped_goes_on_and_ends_as_the_other_would_have(store: Store, tmp_path: Path) -> None:
    """Invariant 3."""
    begun: list[str] = []

    def observe(name: str, event: Event) -> None:
        begun.append(name)

    with pytest.raises(Interrupted):
        asyncio.run(compare(synthetic_lab(store), observe, stopping=lambda: len(begun) > 60))
    stopped = run(store).to_json()
    with open_store(tmp_path / "other.db") as other:
        whole = run(other).to_json()
    assert stopped["pairs"] == whole["pairs"]
    assert [arm["test"]["by_seed"] for arm in stopped["arms"]] == [arm["test"]["by_seed"] for arm in whole["arms"]]
    assert [arm["train"]["calls"] for arm in stopped["arms"]] == [arm["train"]["calls"] for arm in whole["arms"]]


def test_best_of_n_spends_what_the_dearest_other_arm_does(store: Store) -> None:
    comparison = run(store, "base", "prompt", "best_of_n")
    base, prompt, best = comparison.arms
    assert best.samples == int(prompt.per_call.tokens / base.per_call.tokens)
    assert best.samples > 1
    assert best.per_call.tokens == pytest.approx(best.samples * base.per_call.tokens)
    assert best.per_call.tokens <= prompt.per_call.tokens
    assert best.test.score == 0.0  # more of the same answers
    assert [pair.better for pair in comparison.pairs] == ["prompt", None, "prompt"]


def test_best_of_n_stays_within_the_budget(store: Store) -> None:
    """Invariant 1."""
    rows = len(dataset().test)
    comparison = run(store, "base", "prompt", "best_of_n", budget=Budget(task_calls=2 * rows + 140))
    assert comparison.arms[2].samples <= (2 * rows + 140) // rows
    with pytest.raises(ConfigError, match=r"compare\.samples = 99 needs"):
        Plan.of(synthetic_lab(store, ("base", "best_of_n"), samples=99, budget=Budget(task_calls=200)))


def elect(replies: Sequence[Scripted], samples: int = 3) -> tuple[str, str | None]:
    program = BestOf(samples, 0.7).open(ScriptedModel(replies))
    rollout = asyncio.run(program.run(Prompt.of("Say."), Example("1", {"thing": "x"})))
    return rollout.output, rollout.error.kind if rollout.error else None


def test_the_most_frequent_answer_wins_and_the_first_of_equals() -> None:
    assert elect(["red", "Blue.", "blue"]) == ("Blue.", None)
    assert elect(["red", "blue", "green"]) == ("red", None)


def test_samples_that_failed_have_no_vote_and_none_left_is_a_failure() -> None:
    """Invariant 4."""
    lost = ModelError("timeout", "too slow")
    assert elect([lost, "blue", lost]) == ("blue", None)
    assert elect([lost, lost, lost]) == ("", "timeout")


def test_draws_of_best_of_n_differ_between_samples_and_seeds() -> None:
    model = ScriptedModel(lambda messages: "red")
    for seed in (0, 1):
        program = BestOf(3, 0.7, seed).open(model)
        asyncio.run(program.run(Prompt.of("Say."), Example("1", {"thing": "x"})))
    assert len({call.repeat for call in model.calls}) == 6
    assert {call.sampling.temperature for call in model.calls} == {0.7}


@pytest.mark.parametrize(("count", "blind"), [(32, True), (52, True), (53, False)])
def test_a_plan_with_too_few_rows_to_show_anything_says_how_many_do(store: Store, count: int, blind: bool) -> None:
    """Three pairs; where arms disagree on a fifth of the rows, no difference is larger than that fifth."""
    some = dataset()
    rows = replace(some, test=(some.test * 9)[:count])
    plan = Plan.of(synthetic_lab(store, ("base", "prompt", "best_of_n"), data=rows, seeds=3))
    assert (plan.discordance, plan.mde > plan.discordance, plan.blind) == (0.2, blind, blind)
    said = [warning for warning in plan.to_json()["warnings"] if "can show nothing" in warning]
    assert len(said) == blind
    assert all(f"{count} test rows" in warning and "53 rows would do" in warning for warning in said)


def test_the_plan_says_what_can_be_seen_and_warns_of_few_seeds(store: Store) -> None:
    plan = Plan.of(synthetic_lab(store, ("base", "prompt", "best_of_n"), seeds=1))
    assert plan.pairs == (("base", "prompt"), ("base", "best_of_n"), ("prompt", "best_of_n"))
    assert 0 < plan.mde < 1
    assert any("1 seed:" in warning for warning in plan.warnings)
    assert not any("seed" in warning for warning in Plan.of(synthetic_lab(store, seeds=3)).warnings)


def test_a_comparison_takes_no_more_calls_than_its_plan_says(store: Store) -> None:
    models: list[ScriptedModel] = []

    def task() -> Model:
        models.append(synthetic.task_model())
        return models[-1]

    lab = synthetic_lab(store, ("base", "prompt", "best_of_n"), task, samples=3)
    plan, rows = Plan.of(lab), len(dataset().test)
    asyncio.run(compare(lab))
    spent = sum(len(model.calls) for model in models)
    assert (1 + 2 + 2 * 3) * rows < spent <= plan.calls["task"]
    assert plan.to_json()["calls_at_most"] == plan.calls
    few = Plan.of(synthetic_lab(store, ("base", "prompt"), budget=Budget(task_calls=90)))
    assert few.calls == {"task": 2 * 90 + 3 * rows}


def test_what_can_not_be_compared_is_said_before_anything_is_spent(store: Store) -> None:
    blind = replace(dataset(), test=())
    with pytest.raises(ConfigError, match="the test split is empty"):
        Plan.of(synthetic_lab(store, data=blind))
    with pytest.raises(ConfigError, match="nothing here can train weights"):
        Plan.of(synthetic_lab(store, ("base", "weights")))


def test_a_price_that_nobody_knows_is_unknown_and_not_nothing(store: Store) -> None:
    """A model that lives here costs the device's time, whose price has to be given."""

    def answer(messages: Sequence[Message]) -> str:
        return synthetic.answer(messages)

    def task() -> Model:
        return ScriptedModel(answer, name="local/mine", identity="mine/1")

    comparison = run(store, task=task)
    assert comparison.arms[1].training.cost_usd is None
    assert comparison.arms[1].training.gpu_s > 0
    lab = synthetic_lab(store, task=task)
    priced = asyncio.run(compare(replace(lab, tuning=lab.tuning.model_copy(update={"gpu_usd_per_hour": 3600.0}))))
    training = priced.arms[1].training
    assert training.cost_usd == pytest.approx(training.gpu_s)


def test_page_and_picture_show_every_arm(store: Store) -> None:
    comparison = run(store, "base", "prompt", "best_of_n")
    text = page(comparison, "compare.png")
    for words in ("prompt − base", "best_of_n (n =", "80% power", "1.000 ("):
        assert words in text
    curves = figure(comparison)["hconcat"][1]["concat"]
    assert [curve["encoding"]["x"]["field"] for curve in curves] == ["calls", "tokens", "wall_s"]
    scores = [point["score"] for point in curves[0]["data"]["values"]]
    assert scores[0] == 0.0
    assert max(scores) == 1.0


@pytest.mark.slow
def test_the_picture_is_a_png(store: Store) -> None:
    assert png(run(store), scale=0.5).startswith(b"\x89PNG")
