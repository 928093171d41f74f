"""Whom a merge may join, and how two winners of the same moment become one."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random

import latent
import pytest

import promptlearn
from promptlearn import Budget
from promptlearn.dataset import load_dataset
from promptlearn.models.scripted import ScriptedModel
from promptlearn.optimizer.lineage import ancestors, joined, partners, unequal_lessons
from promptlearn.optimizer.racing import fresh_rows
from promptlearn.optimizer.state import View
from promptlearn.records import Candidate, Demonstration, Example, Message, Prompt, Rule
from promptlearn.report import family
from promptlearn.runlog import Event
from promptlearn.selection.credit import Credit
from promptlearn.store import open_store

BASE = Candidate(Prompt.of("Help the shop."), (), "baseline")


def child(parent: Candidate, *rules: str, proposer: str = "edit") -> Candidate:
    prompt = replace(parent.prompt, rules=(*parent.prompt.rules, *map(Rule, rules)))
    return Candidate(prompt, (parent.digest,), proposer)


ONE, OTHER = child(BASE, "Ask for the order."), child(BASE, "Name the price.")
GRANDCHILD = child(ONE, "Say thanks.")
POOL = {one.digest: one for one in (BASE, ONE, OTHER, GRANDCHILD)}


def view(scores: dict[str, dict[str, float | None]]) -> View:
    return View(BASE, POOL, Credit(["merge"]), frozenset(POOL), {"validation": scores})


def test_ancestors_nearest_first() -> None:
    assert ancestors(POOL, GRANDCHILD.digest) == [GRANDCHILD.digest, ONE.digest, BASE.digest]
    merged = replace(BASE, prompt=Prompt.of("x"), parents=(GRANDCHILD.digest, OTHER.digest))
    assert set(ancestors(POOL | {"m": merged}, "m")) == {"m", *POOL}


def test_a_prompt_is_not_joined_with_what_it_was_made_from() -> None:
    assert joined(POOL, GRANDCHILD, BASE) is None
    assert joined(POOL, BASE, ONE) is None
    found = joined(POOL, GRANDCHILD, OTHER)
    assert found is not None
    assert found[1] == BASE
    assert [rule.text for rule in found[0].prompt.rules] == ["Ask for the order.", "Say thanks.", "Name the price."]


def test_partners_are_right_where_the_parent_is_wrong_and_were_not_joined_before() -> None:
    scores: dict[str, dict[str, float | None]] = {
        ONE.digest: {"a": 1.0, "b": 0.0, "c": None},
        OTHER.digest: {"a": 0.0, "b": 1.0, "c": 1.0},
        BASE.digest: {"a": 0.0, "b": 0.0, "c": 0.0},
    }
    (partner,) = partners(view(scores), ONE)
    assert (partner.prompt, partner.base) == (OTHER.prompt, BASE.prompt)
    assert (partner.better, partner.worse, partner.rows) == (1, 1, 2)
    found = joined(POOL, ONE, OTHER)
    assert found is not None
    seen = replace(view(scores), seen=frozenset({*POOL, found[0].prompt.digest}))
    assert list(partners(seen, ONE)) == []


@pytest.fixture
def run(tmp_path: Path) -> latent.Learned:
    return latent.learn(tmp_path, rules=40, rounds=3)


def test_winners_of_rounds_in_flight_are_raced_as_one_and_have_two_parents(run: latent.Learned, tmp_path: Path) -> None:
    merged = [one for one in run.candidates if one.proposer == "merge"]
    accepted = {decision.candidate for decision in run.decisions if decision.outcome == "accepted"}
    won = [one for one in merged if one.digest in accepted]
    assert won
    by_digest = {one.digest: one for one in run.candidates}
    assert all(len(one.parents) == 2 for one in won)
    first, second = (by_digest[parent] for parent in won[0].parents)
    assert run.known(won[0]) > max(run.known(first), run.known(second))
    with open_store(tmp_path / "store.db") as store:
        found = family(store)
    numbers = {node.digest: node.number for node in found.nodes}
    edges = {(edge.parent, edge.child) for edge in found.edges}
    assert {(numbers[parent], numbers[won[0].digest]) for parent in won[0].parents} <= edges


def test_the_merge_of_winners_is_the_same_at_any_concurrency(tmp_path: Path) -> None:
    """Invariant 8."""
    runs = [latent.learn(tmp_path / str(n), rules=40, rounds=2, concurrency=n) for n in (1, 32)]
    assert runs[0].decisions == runs[1].decisions


def test_rows_from_which_only_one_of_two_prompts_learned() -> None:
    lessons = {ONE.digest: {"a", "b"}, OTHER.digest: {"b", "c"}, GRANDCHILD.digest: {"d"}}
    assert unequal_lessons(POOL, lessons, BASE.digest, GRANDCHILD.digest) == {"a", "b", "d"}
    assert unequal_lessons(POOL, lessons, ONE.digest, GRANDCHILD.digest) == {"d"}
    assert unequal_lessons(POOL, lessons, OTHER.digest, GRANDCHILD.digest) == {"a", "c", "d"}
    assert unequal_lessons(POOL, lessons, OTHER.digest, OTHER.digest) == set()


def test_extra_time_begins_with_rows_from_which_nobody_learned_and_that_are_paid_for() -> None:
    train = [Example(name, {}) for name in ("both", "paid", "one", "new", "shown")]
    demonstration = Demonstration({}, "yes", source="shown")
    shows = replace(BASE.prompt, demonstrations=(demonstration,))
    found = fresh_rows(train, {"one"}, {"one", "both"}, [BASE.prompt, shows], 9, lambda example: example == "paid")
    assert [example.id for example in found] == ["paid", "new", "both"]


def test_a_long_search_does_not_run_out_of_rows_for_extra_time(tmp_path: Path) -> None:
    """Each rule helps a little, and after six rounds every train row was in some critique."""
    numbers, extra = count(), dict[int, bool]()

    def teach(messages: Sequence[Message]) -> str:
        return f"<add>Be kind, for reason {next(numbers)}.</add>"

    def answer(messages: Sequence[Message]) -> str:
        prompt = "\n".join(message.content for message in messages[:-1])
        luck = Random(f"{prompt}/{messages[-1].content}").random()
        return "right" if luck < 0.3 + 0.1 * prompt.count("reason") else "wrong"

    def watch(event: Event) -> None:
        if event.kind == "decision" and event.body["stage"] == "race":
            extra[event.body["number"]] = extra.get(event.body["number"], False) or event.body["pairs"] > 60

    splits = ["train"] * 48 + ["validation"] * 60 + ["test"] * 20
    rows = [{"question": str(number), "label": "right", "split": split} for number, split in enumerate(splits)]
    promptlearn.optimize(
        "Answer.",
        load_dataset(rows, inputs=["question"], expected="label", split={"column": "split"}),
        task=ScriptedModel(answer, identity="a little better with each rule"),
        meta=ScriptedModel(teach, identity="one reason after another"),
        judges=["exact_match"],
        proposers=["edit"],
        rounds=30,
        patience=30,
        pipeline_depth=1,
        prune=False,
        budget=Budget(task_calls=8000),
        store=tmp_path / "store.db",
        observer=watch,
    )
    assert any(needed for number, needed in extra.items() if number <= 6)
    assert any(needed for number, needed in extra.items() if number > 6)
