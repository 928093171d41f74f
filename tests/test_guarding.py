"""Guards: a winner that loses what reviewers taught the prompt in charge does not take its place."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import synthetic

import promptlearn
from promptlearn import Budget
from promptlearn.assembly import prompt_scope
from promptlearn.config import PromptConfig
from promptlearn.dataset import Dataset, load_dataset
from promptlearn.evaluation import Row
from promptlearn.judging import NOT_APPLICABLE
from promptlearn.models.scripted import ScriptedModel
from promptlearn.optimizer.guarding import MOST_JUDGED, Guarding, Standing, adopted, review_guards
from promptlearn.optimizer.reading import Reader
from promptlearn.proposing.base import Brief
from promptlearn.records import Decision, Draft, Guard, Message, Prompt, Review, Rollout, Rule
from promptlearn.report import load_run
from promptlearn.store import open_store
from promptlearn.store.feedback_rows import GuardRow

GUARD = Guard("Answer with one word.", ("https://github.com/acme/shop/pull/1#r1",))


class Known(Reader):
    """Rows whose outputs are known, in place of a run's."""

    def __init__(self, outputs: Mapping[str, Callable[[int], str]], dataset: Dataset, unread: int = 0) -> None:
        self.outputs = outputs
        self.numbers = {example.id: number for number, example in enumerate(dataset.validation)}
        self.unread = unread
        self.asked: list[tuple[str, str]] = []

    async def rows(self, prompts: Sequence[Prompt], examples: Sequence[Any], split: str) -> list[list[Row]]:
        found = []
        for prompt in prompts:
            self.asked += [(prompt.text, example.id) for example in examples]
            said = [self.outputs[prompt.text](self.numbers.get(example.id, 0)) for example in examples]
            found.append(
                [
                    Row(example, Rollout(prompt.digest, example.id, text), (), float("right" in text))
                    for example, text in zip(examples, said, strict=True)
                ]
            )
        return found

    def has(self, split: str, key: tuple[str, str]) -> bool:
        return self.numbers.get(key[1], 0) >= self.unread

    def judging(self) -> Any:
        return nullcontext()


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_dataset(synthetic.rows(120), inputs=["message"], expected="tag")


OLD, NEW = Prompt.of("old"), Prompt.of("new")
WON = Decision(NEW.digest, OLD.digest, "race", "accepted", "better", 40, 0.2)


def outputs(old: Callable[[int], str], new: Callable[[int], str]) -> dict[str, Callable[[int], str]]:
    return {"old": old, "new": new}


def one(number: int) -> str:
    return "billing"


def two(number: int) -> str:
    return "billing please"


async def test_a_guard_that_the_candidate_loses_is_named(dataset: Dataset) -> None:
    guarding = Guarding([GUARD], dataset)
    decision, spent = await guarding.check(OLD, NEW, WON, Known(outputs(one, two), dataset))
    rows = len(dataset.validation)
    assert spent is None
    assert (decision.stage, decision.outcome) == ("guard", "rejected")
    assert decision.reason == (
        f"guard {GUARD.id} “Answer with one word.”: kept on 0 of {rows} rows, by the incumbent on {rows}"
    )
    assert (decision.pairs, decision.difference) == (40, 0.2)


@pytest.mark.parametrize(("old", "new"), [(one, one), (two, two), (two, one)])
async def test_a_guard_that_nobody_keeps_or_both_keep_stops_nobody(
    dataset: Dataset, old: Callable[[int], str], new: Callable[[int], str]
) -> None:
    guarding = Guarding([GUARD], dataset)
    assert await guarding.check(OLD, NEW, WON, Known(outputs(old, new), dataset)) == (WON, None)


@pytest.mark.parametrize(
    ("rows", "before", "after", "p_value", "lost"),
    [
        (40, 40, 39, 0.5, False),
        (40, 40, 35, 0.03, True),
        (3, 3, 1, 0.25, True),
        (3, 3, 2, 0.5, False),
        (1, 1, 0, 0.5, False),
    ],
)
def test_what_counts_as_lost(rows: int, before: int, after: int, p_value: float, lost: bool) -> None:
    assert Standing(GUARD, rows, before, after, p_value).lost is lost


def keeping(kept: Sequence[bool]) -> Callable[[int], str]:
    return lambda number: one(number) if kept[number] else two(number)


async def test_equal_prompts_hardly_ever_lose_a_guard(dataset: Dataset) -> None:
    """Both keep it on nine rows of ten, at random: what is rejected for it is noise."""
    guarding = Guarding([GUARD], dataset)
    lost = 0
    for seed in range(300):
        rng = random.Random(seed)
        noisy = {name: [rng.random() < 0.9 for _ in dataset.validation] for name in ("old", "new")}
        said = outputs(keeping(noisy["old"]), keeping(noisy["new"]))
        lost += bool(await guarding.lost(OLD, NEW, Known(said, dataset)))
    assert lost / 300 <= 0.05


async def test_only_rows_that_decisions_have_read_are_looked_at(dataset: Dataset) -> None:
    reader = Known(outputs(one, two), dataset, unread=30)
    (standing,) = await Guarding([GUARD], dataset).standings(OLD, NEW, reader)
    assert standing.rows == len(dataset.validation) - 30
    assert len(reader.asked) == 2 * standing.rows


async def test_failed_rows_and_rows_that_were_not_judged_stay_out(dataset: Dataset) -> None:
    """Invariant 4."""

    def answer(messages: Sequence[Message]) -> str:
        return "no verdict"

    model = ScriptedModel(answer, identity="mute judge")
    (standing,) = await Guarding([Guard("Be kind.")], dataset, model).standings(
        OLD, NEW, Known(outputs(one, two), dataset)
    )
    assert (standing.rows, standing.lost, standing.unmeasured) == (0, False, True)


async def test_a_model_judges_a_few_rows_and_may_say_that_a_rule_does_not_apply(dataset: Dataset) -> None:
    def answer(messages: Sequence[Message]) -> str:
        shown = messages[-1].content
        label = NOT_APPLICABLE if "parcel" in shown else "broken" if "billing please" in shown else "kept"
        return f'{{"explanation": "x", "label": "{label}", "suggestion": null}}'

    model = ScriptedModel(answer, identity="kind judge")
    (standing,) = await Guarding([Guard("Be kind.")], dataset, model).standings(
        OLD, NEW, Known(outputs(one, two), dataset)
    )
    assert len(model.calls) == 2 * MOST_JUDGED
    about = [row for row in dataset.validation[:MOST_JUDGED] if "parcel" not in str(row.inputs["message"])]
    assert (standing.rows, standing.before, standing.after) == (len(about), len(about), 0)


async def test_a_guard_s_own_example_may_not_be_lost(dataset: Dataset) -> None:
    """Of the train or the validation split; the test split is nobody's to look at (invariant 5)."""
    example, hidden = dataset.train[0], dataset.test[0]
    guard = Guard("Say what is right.", examples=(example.id, hidden.id))
    reader = Known(outputs(lambda n: "right", lambda n: "wrong"), dataset)
    why = await Guarding([guard], dataset).lost(OLD, NEW, reader)
    assert why == f"guard {guard.id} “Say what is right.”: loses its example {example.id}"
    assert hidden.id not in {id for _, id in reader.asked}
    assert not await Guarding([guard], dataset).lost(NEW, OLD, reader)
    by_rule = replace(GUARD, examples=(example.id,))
    assert "loses its example" in await Guarding([by_rule], dataset).lost(OLD, NEW, Known(outputs(one, two), dataset))


def test_what_nothing_can_check_guards_nothing(dataset: Dataset) -> None:
    assert not Guarding([Guard("Be kind."), Guard("Be brief.", examples=("unknown",))], dataset)
    assert Guarding([Guard("Be kind.")], dataset, ScriptedModel(["x"]))


def test_reviews_become_guards_in_the_wording_of_their_rules() -> None:
    review = Review("r1", "- Use *one* word for {message}", url="u1", sources=("u2",), examples=("e1",))
    (guard,) = review_guards([review, Review("r2", "👍")], {"message"})
    assert guard == Guard("Use *one* word for message", ("u1", "u2"), ("e1",))


def test_what_a_shipped_prompt_says_or_keeps_is_adopted() -> None:
    shipped = replace(Prompt.of("x"), rules=(Rule("answer with ONE word"),))
    said = Standing(GUARD, 10, 9, 4, 1.0)
    better = Standing(Guard("No emoji."), 10, 3, 10, 1.0)
    worse = Standing(Guard("No links."), 10, 10, 9, 1.0)
    never = Standing(Guard("No lists."), 10, 0, 0, 1.0)
    kept = adopted([said, better, worse, never], shipped, "prompt.md", "run1")
    assert [row.guard.rule for row in kept] == ["Answer with one word.", "No emoji."]
    assert kept[1] == GuardRow("prompt.md", Guard("No emoji.", run="run1"), 10, 3, 10)


class Chatty:
    """Proposes the prompt that answers rightly and with too many words, and the one that answers with one word."""

    name = "chatty"

    def __init__(self) -> None:
        self.asked = 0

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        self.asked += 1
        text = "Use one word. Name topics." if self.asked == 1 else "Name topics and answers."
        return [Draft(brief.parent.with_text(text), "a rewrite")]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        return None


def talkative(messages: Sequence[Message]) -> str:
    """The first rewrite answers with one word and is right for three topics of four; the second for all, in two."""
    system, question = messages[0].content, messages[-1].content
    topic = synthetic.topic_of(question)
    if topic is None:
        return "?"
    tag = synthetic.TAGS[topic]
    if "Name topics and answers." in system:
        return f"{tag} surely"
    if "Use one word." in system:
        return tag if topic != "parcel" else "unknown"
    return "Hello there!"


def learn(folder: Path, **changes: Any) -> promptlearn.RunResult:
    def has_tag(example: Any, rollout: Any) -> bool:
        return str(example.expected) in rollout.output

    arguments: dict[str, Any] = {
        "task": ScriptedModel(talkative, identity="talkative"),
        "inputs": ["message"],
        "expected": "tag",
        "judges": [has_tag],
        "proposers": [Chatty()],
        "reviews": [Review("r1", "Answer with one word.", trusted=True, state="approved", url="u1")],
        "store": folder / "store.db",
        "budget": Budget(task_calls=2000),
        "rounds": 3,
        "pipeline_depth": 1,
    }
    return promptlearn.optimize(synthetic.SEED, synthetic.rows(120), **(arguments | changes))


def test_a_better_prompt_that_breaks_a_rule_of_the_reviewers_is_refused_and_the_guard_is_named(tmp_path: Path) -> None:
    result = learn(tmp_path)
    assert result.decision == "improved"
    assert result.prompt.text == "Use one word. Name topics."
    with open_store(tmp_path / "store.db") as store:
        report = load_run(store)
        decisions = store.reader.decisions(report.id)
        (event,) = [event for event in report.events if event.kind == "guards"]
    refused = [decision for decision in decisions if decision.stage == "guard"]
    assert [decision.outcome for decision in refused] == ["rejected"]
    assert "Answer with one word." in refused[0].reason
    assert refused[0].difference is not None
    assert refused[0].difference > 0
    ((_, rule, rows, before, after),) = event.body["standings"]
    assert (rule, before) == ("Answer with one word.", 0)
    assert after == rows > 0


def test_without_guards_the_better_score_wins(tmp_path: Path) -> None:
    assert learn(tmp_path, guard=False).prompt.text == "Name topics and answers."
    assert learn(tmp_path / "other", reviews=[]).prompt.text == "Name topics and answers."


def brief(messages: Sequence[Message]) -> str:
    label = "broken" if "surely" in messages[-1].content else "kept"
    return f'{{"explanation": "counted the words", "label": "{label}", "suggestion": null}}'


BRIEF = Review("r1", "Stay brief.", trusted=True, state="approved", url="u1")


def test_where_no_code_can_check_a_rule_the_judge_s_model_does_and_its_calls_count(tmp_path: Path) -> None:
    judge = ScriptedModel(brief, identity="brief judge")
    result = learn(tmp_path, judge=judge, reviews=[BRIEF])
    assert result.prompt.text == "Use one word. Name topics."
    assert result.usage["judge"].calls == len(judge.calls) > 0
    again = learn(tmp_path, judge=judge, reviews=[BRIEF])
    assert again.usage["judge"].calls == 0
    assert (again.decision, again.delta) == (result.decision, result.delta)


def test_a_winner_whose_guards_nobody_can_pay_for_is_left_undecided(tmp_path: Path) -> None:
    """Invariant 1."""
    judge = ScriptedModel(brief, identity="brief judge")
    result = learn(tmp_path, judge=judge, reviews=[BRIEF], budget=Budget(task_calls=2000, judge_calls=5))
    assert len(judge.calls) <= 5
    assert (result.decision, result.stop_reason) == ("not_proven", "budget")
    with open_store(tmp_path / "store.db") as store:
        decisions = store.reader.decisions(result.run_id)
    assert [one.outcome for one in decisions if "no budget is left to read its guards" in one.reason] == ["undecided"]


def jitter(seed: int) -> Callable[[Sequence[Message]], float]:
    rng = random.Random(seed)
    return lambda messages: rng.random() / 300


def test_guards_decide_the_same_at_any_concurrency_and_latency(tmp_path: Path) -> None:
    """Invariant 8."""
    found = []
    for concurrency, seed in ((1, 0), (16, 1)):
        model = ScriptedModel(talkative, identity="talkative", latency=jitter(seed))
        folder = tmp_path / str(concurrency)
        result = learn(folder, task=model, concurrency=concurrency, pipeline_depth=2, proposers=[Chatty()])
        with open_store(folder / "store.db") as store:
            found.append(store.reader.decisions(result.run_id))
    assert found[0] == found[1]


def test_a_rule_whose_loss_would_lose_its_guard_is_not_pruned(tmp_path: Path) -> None:
    """It is worth nothing to the judges, and something to the reviewers."""

    def answer(messages: Sequence[Message]) -> str:
        system, question = messages[0].content, messages[-1].content
        topic = synthetic.topic_of(question)
        known = topic is not None and re.search(rf"\b{topic}\b", system) is not None
        tag = synthetic.TAGS[topic] if topic and known else "Sorry"
        return tag if "exclamation" in system else f"{tag}!"

    reviews = [
        *synthetic.house_rules(),
        Review("r9", "Avoid exclamation marks.", trusted=True, state="approved", url="u9"),
    ]
    shared: dict[str, Any] = {
        "reviews": reviews,
        "proposers": ["rules"],
        "task": ScriptedModel(answer, identity="loud"),
    }
    kept = learn(tmp_path, **shared).prompt
    assert "Avoid exclamation marks." in [rule.text for rule in kept.rules]
    gone = learn(tmp_path / "other", **shared, guard=False).prompt
    assert "Avoid exclamation marks." not in [rule.text for rule in gone.rules]


def mute(messages: Sequence[Message]) -> str:
    return "I can not tell."


def test_guards_that_nobody_can_judge_are_told_and_are_none_that_were_kept(tmp_path: Path) -> None:
    """Invariant 4: they stop no winner, and the run says that nobody knows whether it keeps them."""
    judge = ScriptedModel(mute, identity="mute judge")
    result = learn(tmp_path, judge=judge, reviews=[BRIEF])
    (warning,) = result.warnings
    assert re.fullmatch(
        r"(\d+) of \1 guard judgements failed, so 1 of 1 guards were not measured; most often: .*can not be read.*",
        warning,
    )
    with open_store(tmp_path / "store.db") as store:
        decisions = store.reader.decisions(result.run_id)
        (event,) = [event for event in load_run(store).events if event.kind == "guards"]
    won = [one.reason for one in decisions if one.outcome == "accepted"]
    assert won
    assert all("“Stay brief.”: could not be judged" in reason for reason in won)
    assert event.body["unmeasured"] == [event.body["standings"][0][0]]
    told = learn(tmp_path / "other", judge=ScriptedModel(brief, identity="brief judge"), reviews=[BRIEF])
    assert told.warnings == ()


def test_some_judgements_of_a_guard_that_fail_are_counted(tmp_path: Path) -> None:
    def answer(messages: Sequence[Message]) -> str:
        return mute(messages) if any("jacket" in one.content for one in messages) else brief(messages)

    result = learn(tmp_path, judge=ScriptedModel(answer, identity="half a judge"), reviews=[BRIEF])
    (warning,) = result.warnings
    found = re.match(r"(\d+) of (\d+) guard judgements failed; most often: ", warning)
    assert found is not None
    assert 0 < int(found[1]) < int(found[2])


def test_no_part_is_pruned_while_a_guard_can_not_be_judged(tmp_path: Path) -> None:
    """What an approved rule is worth to its reviewers is not known then."""
    kindly = Review("r9", "Be kind.", trusted=True, state="approved", url="u9")
    shared: dict[str, Any] = {
        "reviews": [*synthetic.house_rules(), kindly],
        "proposers": ["rules"],
        "task": synthetic.task_model(),
    }
    kept = learn(tmp_path, **shared, judge=ScriptedModel(mute, identity="mute judge"))
    assert "Be kind." in [rule.text for rule in kept.prompt.rules]
    with open_store(tmp_path / "store.db") as store:
        reasons = [one.reason for one in store.reader.decisions(kept.run_id) if one.stage == "prune"]
    assert any("could not be judged" in reason for reason in reasons)
    gone = learn(tmp_path / "other", **shared, judge=ScriptedModel(brief, identity="brief judge"))
    assert "Be kind." not in [rule.text for rule in gone.prompt.rules]


def test_a_prompt_has_the_same_name_in_every_checkout(tmp_path: Path) -> None:
    for name in ("one", "two"):
        file = tmp_path / name / "prompts" / "support.yaml"
        file.parent.mkdir(parents=True)
        (tmp_path / name / ".git").mkdir()
        file.touch()
        assert prompt_scope(PromptConfig(file=file, key="a.b")) == "prompts/support.yaml#a.b"
    alone = tmp_path / "alone.md"
    assert prompt_scope(PromptConfig(file=alone)) == "alone.md"
