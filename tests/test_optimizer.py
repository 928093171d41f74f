"""The loop on a task whose best prompt is known, through the public API."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic

import promptlearn
from promptlearn import Budget, RunResult
from promptlearn.dataset import load_dataset
from promptlearn.errors import ConfigError, ModelError, TooManyErrors
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing.base import Brief
from promptlearn.records import Draft, Message, Prompt, Review, Rule
from promptlearn.report import family, load_run, overview
from promptlearn.report.earnings import earnings
from promptlearn.runlog import Event
from promptlearn.store import open_store


def learn(store: Path, **changes: Any) -> RunResult:
    arguments: dict[str, Any] = {
        "task": synthetic.task_model(),
        "inputs": ["message"],
        "expected": "tag",
        "reviews": synthetic.house_rules(),
        "proposers": ["rules", "demos"],
        "store": store / "store.db",
        "budget": Budget(task_calls=2000),
    }
    settings = arguments | changes
    return promptlearn.optimize(settings.pop("prompt", synthetic.SEED), synthetic.rows(), **settings)


def jitter(seed: int) -> Callable[[Sequence[Message]], float]:
    rng = random.Random(seed)
    return lambda messages: rng.random() / 300


def outcome(result: RunResult) -> dict[str, Any]:
    """What has to be the same whenever the run is the same."""
    document = result.to_json()
    return {key: document[key] for key in ("decision", "stop_reason", "baseline", "delta", "candidates")} | {
        "best": [document["best"]["digest"], document["best"]["test"]]
    }


def test_it_learns_the_hidden_rules_and_proves_it(tmp_path: Path) -> None:
    result = learn(tmp_path)
    assert result.decision == "improved"
    assert result.baseline.score == 0.0
    assert result.best.score == 1.0
    assert result.delta.p_value < 1e-6
    assert result.test_reads == 1
    assert result.best_path is not None
    assert Path(result.best_path).exists()


def test_every_learned_part_names_where_it_came_from_and_what_it_is_worth(tmp_path: Path) -> None:
    """Invariant 11."""
    prompt = learn(tmp_path).prompt
    effects = [rule.effect for rule in prompt.rules] + [demo.effect for demo in prompt.demonstrations]
    assert effects
    for rule in prompt.rules:
        assert rule.sources
    for demo in prompt.demonstrations:
        assert demo.source
    assert all(effect is not None and effect.score > 0 for effect in effects)


def test_what_was_there_before_is_measured_too_and_stays(tmp_path: Path) -> None:
    """Invariant 11: a rule of the user's own file has a worth, whatever it is, and is not ours to remove."""
    own = (Rule("Mail about a parcel gets the tag shipping."), Rule("Be kind to everybody."))
    result = learn(tmp_path, prompt=replace(Prompt.of(synthetic.SEED), rules=own))
    prompt = result.prompt
    useful, idle = (next(rule for rule in prompt.rules if rule.text == one.text) for one in own)
    assert useful.effect is not None
    assert idle.effect is not None
    assert idle.effect.score == 0
    with open_store(tmp_path / "store.db") as store:
        said = [decision.reason for decision in store.reader.decisions(result.run_id) if decision.stage == "prune"]
    assert any("was there before and stays" in reason for reason in said)


def test_a_rule_without_which_rows_fail_is_not_pruned(tmp_path: Path) -> None:
    """A failure is no score, and nothing gained: where the rule is missing, nobody knows what the answers would be."""

    def answer(messages: Sequence[Message]) -> str | ModelError:
        if "Answer in one line." not in messages[0].content and "parcel is wet" in messages[-1].content:
            return ModelError("program", "the tool crashed")
        return synthetic.answer(messages)

    line = Review("r9", "Answer in one line.", trusted=True, state="approved", url="u9")
    result = learn(
        tmp_path,
        task=ScriptedModel(answer, identity="crashes"),
        reviews=[*synthetic.house_rules(), line],
        proposers=["rules"],
    )
    assert "Answer in one line." in [rule.text for rule in result.prompt.rules]
    assert result.best.errors == 0
    with open_store(tmp_path / "store.db") as store:
        said = [decision.reason for decision in store.reader.decisions(result.run_id) if decision.stage == "prune"]
    assert any("rows fail without it" in reason for reason in said)


@pytest.mark.parametrize("cap", [290, 400, 600])
def test_after_a_budget_stop_as_many_parts_are_measured_as_fit_and_the_rest_is_named(tmp_path: Path, cap: int) -> None:
    """Invariants 1 and 11."""
    model = synthetic.task_model()
    own = tuple(Rule(f"Be kind to customer {number}.") for number in range(9))
    start = replace(Prompt.of(synthetic.SEED), rules=own)
    result = learn(tmp_path, prompt=start, task=model, budget=Budget(task_calls=cap), rounds=2, concurrency=64)
    assert result.decision == "improved"
    assert len(model.calls) <= cap
    effects = [rule.effect for rule in result.prompt.rules] + [demo.effect for demo in result.prompt.demonstrations]
    bare = effects.count(None)
    assert bare < len(effects)
    assert all(rule.effect for rule in result.prompt.rules if rule.sources)  # what was learned comes first
    [warning] = [text for text in result.warnings if "parts were not measured" in text]
    measured = f"{bare} of {len(effects)} parts were not measured" if bare else "not measured to the end"
    assert measured in warning
    assert f"budget.task_calls = {cap}" in warning
    with open_store(tmp_path / "store.db") as store:
        seen = [one for one in store.reader.decisions(result.run_id) if one.stage == "prune"]
        assert overview(store, result.run_id).warnings == result.warnings
    rows = len(load_dataset(synthetic.rows(), inputs=["message"], expected="tag").validation)
    assert all(one.pairs == rows for one in seen if one.outcome == "accepted")  # what goes was measured to the end


def test_a_task_that_no_prompt_helps_keeps_the_baseline(tmp_path: Path) -> None:
    """Invariant 7: no proof, no change."""
    stubborn = ScriptedModel(lambda messages: "shipping", identity="stubborn")
    result = learn(tmp_path, task=stubborn)
    assert result.decision == "not_proven"
    assert result.prompt.learned_text() == synthetic.SEED
    assert result.best_digest == result.baseline_digest


@pytest.mark.parametrize(
    "changes",
    [{}, {"budget": Budget(task_calls=600)}, {"budget": Budget(task_calls=300)}, {"pipeline_depth": 1}],
    ids=str,
)
def test_decisions_do_not_depend_on_concurrency_or_latency(tmp_path: Path, changes: dict[str, Any]) -> None:
    """Invariant 8, also where a budget ends the search."""
    outcomes = []
    for concurrency, seed in ((1, 0), (8, 1), (64, 2)):
        folder = tmp_path / str(concurrency)
        model = synthetic.task_model(latency=jitter(seed))
        result = learn(folder, task=model, concurrency=concurrency, **({"pipeline_depth": 3} | changes))
        with open_store(folder / "store.db") as store:
            outcomes.append((outcome(result), store.reader.decisions(result.run_id)))
    assert outcomes[0] == outcomes[1] == outcomes[2]


def test_a_second_run_over_the_same_journal_pays_nothing_and_decides_the_same(tmp_path: Path) -> None:
    """Invariant 3."""
    model = synthetic.task_model()
    first = learn(tmp_path, task=model)
    paid = len(model.calls)
    second = learn(tmp_path, task=model)
    assert len(model.calls) == paid
    assert outcome(first) == outcome(second)
    assert second.usage["task"].calls == 0
    # Rows that ran ahead in vain the first time are not asked for again.
    assert 0 < second.usage["task"].cached_calls <= first.usage["task"].calls + first.usage["task"].cached_calls
    assert second.run_id != first.run_id


@pytest.mark.parametrize("cap", [150, 200, 333, 500])
def test_a_call_cap_is_never_exceeded_and_the_test_is_still_read(tmp_path: Path, cap: int) -> None:
    """Invariant 1."""
    model = synthetic.task_model()
    result = learn(tmp_path, task=model, budget=Budget(task_calls=cap), concurrency=64)
    assert len(model.calls) <= cap
    assert result.baseline.n > 0
    assert result.baseline.errors == 0


def test_a_budget_too_small_for_the_test_is_refused_before_the_first_call(tmp_path: Path) -> None:
    model = synthetic.task_model()
    with pytest.raises(ConfigError, match=r"budget\.task_calls = 20 is too small"):
        learn(tmp_path, task=model, budget=Budget(task_calls=20))
    assert model.calls == []


def test_a_stopped_run_goes_on_with_a_larger_budget_and_reaches_the_same_end(tmp_path: Path) -> None:
    """Invariant 3: what the small budget paid for is not paid again."""
    whole = learn(tmp_path / "whole", task=synthetic.task_model())
    model = synthetic.task_model()
    first = learn(tmp_path / "parts", task=model, budget=Budget(tokens=20_000))
    assert first.stop_reason == "budget"
    stopped = len(model.calls)
    assert stopped > 0
    rest = learn(tmp_path / "parts", task=model)
    assert outcome(rest) == outcome(whole)
    assert rest.usage["task"].cached_calls >= stopped


def test_what_pruning_decided_at_a_smaller_budgets_end_is_forgotten_when_the_run_goes_on(tmp_path: Path) -> None:
    """Invariant 3."""
    splits = ["test"] * 4 + ["train"] * 60 + ["validation"] * 60  # too few for a proof, so that the run can go on
    rows = [row | {"split": split} for row, split in zip(synthetic.rows(124), splits, strict=True)]
    data = load_dataset(rows, inputs=["message"], expected="tag", split={"column": "split"})

    def outcome_of(name: str, caps: Sequence[int]) -> list[Any]:
        found: list[Any] = []
        for cap in caps:
            result = promptlearn.optimize(
                synthetic.SEED,
                data,
                task=synthetic.task_model(),
                reviews=synthetic.house_rules(),
                proposers=["rules", "demos"],
                store=tmp_path / name,
                budget=Budget(task_calls=cap),
                drafts=1,
            )
            with open_store(tmp_path / name) as store:
                decisions = store.reader.decisions(result.run_id)
                found += [result.run_id, decisions, [one.digest for one in load_run(store).candidates]]
        return found

    whole = outcome_of("whole.db", [1000])
    run, small, _, same, decisions, candidates = outcome_of("parts.db", [200, 1000])
    assert run == same
    assert any(one.stage == "prune" for one in small)
    assert [decisions, candidates] == whole[1:]


def test_a_dollar_cap_without_prices_is_refused(tmp_path: Path) -> None:
    """Invariant 1: an unknown price with a dollar cap is refused before the first call."""

    class Priceless(ScriptedModel):
        price = None

    with pytest.raises(ConfigError, match="nobody knows the price"):
        learn(tmp_path, task=Priceless(synthetic.answer, identity="priceless"), budget=Budget(usd=1))


@pytest.mark.parametrize(("labels", "refused"), [(False, 1), (True, 0)])
def test_a_right_answer_is_not_pasted_into_a_prompt_but_long_labels_may_be_listed(
    tmp_path: Path, labels: bool, refused: int
) -> None:
    """Invariant 6."""

    class Pasting:
        name = "pasting"

        async def propose(self, brief: Brief, count: int) -> list[Draft]:
            return [Draft(brief.parent.with_text(f"{brief.parent.text} Say: {brief.train[0].expected}"), "pastes")]

        async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
            return None

    words = "we are sorry that your order came late and we will send you another one for free"
    rows = [
        {"message": f"Ticket {at} is late.", "tag": f"In case {at % 2 if labels else at}, {words}."} for at in range(40)
    ]
    result = promptlearn.optimize(
        synthetic.SEED,
        rows,
        task=synthetic.task_model(),
        inputs=["message"],
        expected="tag",
        proposers=[Pasting()],
        judges=["normalized_match"],
        store=tmp_path / "store.db",
        rounds=1,
        drafts=1,
    )
    assert result.candidates.proposed == 1
    assert result.candidates.rejected_by_contract == refused


class Clerk:
    """Has so many rules in store, about nothing, and counts what it is asked for."""

    def __init__(self, name: str, stock: int) -> None:
        self.name = name
        self._stock = stock
        self.asked: list[int] = []

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        self.asked.append(count)
        rules = [Rule(f"Remark {number} of {self.name}.", ("x",)) for number in range(min(count, self._stock))]
        return [Draft(replace(brief.parent, rules=(*brief.parent.rules, rule)), rule.text) for rule in rules]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        return None


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_proposer_leaves_is_shared_out_among_those_with_something_to_say(tmp_path: Path, order: int) -> None:
    empty, poor, rich = Clerk("empty", 0), Clerk("poor", 1), Clerk("rich", 9)
    result = learn(tmp_path, proposers=[empty, poor, rich][::order], rounds=1, drafts=6)
    assert result.candidates.proposed == 6
    assert len(empty.asked) == 1
    assert rich.asked[-1] == 5
    with open_store(tmp_path / "store.db") as store:
        made = {one.proposer: one.drafts for one in earnings(load_run(store).events)}
    assert made == {"empty": 0, "poor": 1, "rich": 5}


def test_a_model_that_answers_nothing_stops_the_run_and_scores_nothing(tmp_path: Path) -> None:
    """Invariant 4."""
    with pytest.raises(TooManyErrors, match="empty"):
        learn(tmp_path, task=ScriptedModel(lambda messages: "", identity="mute"))
    with open_store(tmp_path / "store.db") as store:
        report = load_run(store)
        assert report.summary.state == "failed"
        assert all(row.mean is None for one in report.candidates for row in one.scores)


def test_observers_see_the_run(tmp_path: Path) -> None:
    events: list[Event] = []
    learn(tmp_path, observer=events.append)
    kinds = [event.kind for event in events]
    assert kinds[0] == "started"
    assert kinds[-1] == "finished"
    assert {"round", "critique", "proposed", "gate", "decision", "test", "row"} <= set(kinds)


async def test_it_works_inside_a_running_event_loop(tmp_path: Path) -> None:
    """As in a notebook: the sync call in a thread of its own, the async one as it is."""
    assert learn(tmp_path / "sync").decision == "improved"
    result = await promptlearn.aoptimize(
        synthetic.SEED,
        synthetic.rows(),
        task=synthetic.task_model(),
        inputs=["message"],
        expected="tag",
        reviews=synthetic.house_rules(),
        store=tmp_path / "async.db",
    )
    assert result.decision == "improved"


class Teacher:
    """Knows everything in one rule."""

    name = "teacher"

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        rule = Rule(", ".join(f"{topic} is {tag}" for topic, tag in synthetic.TAGS.items()), ("x",))
        return [Draft(replace(brief.parent, rules=(rule,)), "all of it")]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        return None


def test_the_baseline_stays_the_baseline_where_pruning_comes_back_to_it(tmp_path: Path) -> None:
    result = learn(tmp_path, proposers=[Teacher()], rounds=1, drafts=1)
    assert result.decision == "improved"
    with open_store(tmp_path / "store.db") as store:
        report, found = load_run(store), family(store)
    [pruned] = [one for one in report.candidates[0].decisions if one.stage == "prune"]
    assert (pruned.candidate, pruned.outcome) == (result.baseline_digest, "rejected")
    assert (report.candidates[0].proposer, report.candidates[0].parents) == ("baseline", ())
    assert report.candidates[0].outcome is None
    assert (found.nodes[0].generation, found.nodes[0].outcome) == (0, "")
    assert result.candidates.pruned == 1


def test_an_improvement_on_test_rows_that_were_read_before_is_warned_of(tmp_path: Path) -> None:
    """Invariants 5 and 7."""
    first = learn(tmp_path, budget=Budget(task_calls=150))
    again = learn(tmp_path)
    assert (first.decision, first.test_reads) == ("not_proven", 1)
    assert (again.run_id, again.decision, again.test_reads) == (first.run_id, "improved", 2)
    assert not any("same test rows" in text for text in first.warnings)
    assert any("rests on reading number 2 of the same test rows" in text for text in again.warnings)
