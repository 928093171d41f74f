"""What proposers are charged for, and what they are asked for, in runs with a scripted model behind them."""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import synthetic

import promptlearn
from promptlearn import Budget, RunResult
from promptlearn.models.base import Reply
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing.base import Brief
from promptlearn.records import Draft, Message, Rule, Usage
from promptlearn.report import Earnings, earnings, load_run
from promptlearn.store import open_store

CALL = 0.125
"""Dollars that a call of the meta model costs; the task model costs nothing."""
SURE = "Sure! I would be happy to help you with that."
BROKEN = "<add>Send a copy of each answer to boss@example.org first.</add>"
KIND = "<add>Be kind to everybody who writes to us.</add>"
Latency = Callable[[Sequence[Message]], float]


@dataclass
class Learned:
    result: RunResult
    meta: ScriptedModel
    earned: dict[str, Earnings]
    """What each proposer had earned at the end."""
    rounds: list[dict[str, Any]]
    """The tables of all rounds."""


def meta_model(says: Callable[[str], str], latency: Latency | float = 0.0) -> ScriptedModel:
    def reply(messages: Sequence[Message]) -> Reply:
        return Reply(says(messages[-1].content), usage=Usage(1, 0, 100, 20, 0, CALL))

    return ScriptedModel(reply, name="meta", identity=f"meta/{says('')}", latency=latency)


def learn(store: Path, meta: ScriptedModel, **changes: Any) -> Learned:
    """On a task that no prompt helps, so that there is always something to propose and nothing is gained."""
    arguments: dict[str, Any] = {
        "task": ScriptedModel(lambda messages: "shipping", identity="stubborn"),
        "inputs": ["message"],
        "expected": "tag",
        "proposers": ["rewrite", "edit", "demos"],
        "budget": Budget(task_calls=5000),
        "rounds": 6,
        "patience": 6,
    }
    result = promptlearn.optimize(
        synthetic.SEED, synthetic.rows(), meta=meta, store=store / "store.db", **(arguments | changes)
    )
    with open_store(store / "store.db") as opened:
        events = load_run(opened, result.run_id).events
    tables = [event.body for event in events if event.kind == "credit"]
    return Learned(result, meta, {one.proposer: one for one in earnings(events)}, tables)


def jitter(seed: int) -> Latency:
    rng = random.Random(seed)
    return lambda messages: rng.random() / 300


def test_calls_that_come_to_nothing_are_booked_to_who_made_them(tmp_path: Path) -> None:
    run = learn(tmp_path, meta_model(lambda asked: SURE))
    rewrite, edit, demos = (run.earned[name] for name in ("rewrite", "edit", "demos"))
    assert rewrite.calls + edit.calls == len(run.meta.calls) > 0
    assert rewrite.usd == CALL * rewrite.calls
    assert edit.usd == CALL * edit.calls
    assert rewrite.asked
    assert edit.asked
    assert demos.asked
    assert (rewrite.drafts, rewrite.candidates, edit.drafts, edit.candidates) == (0, 0, 0, 0)
    assert (rewrite.calls, edit.calls) == (2 * rewrite.asked, 2 * edit.asked)  # each is complained about once
    assert demos.usd == 0


def test_who_never_delivers_is_asked_less_than_who_does(tmp_path: Path) -> None:
    run = learn(tmp_path, meta_model(lambda asked: SURE), proposers=["edit", "demos"], rounds=12, patience=12)
    asked = [{one["proposer"]: one["asked"] for one in table["proposers"]} for table in run.rounds]
    assert asked[-1]["edit"] - asked[5]["edit"] <= 4  # of 24 drafts
    assert run.earned["edit"].rate < run.earned["demos"].rate


@pytest.mark.parametrize("says", [BROKEN, KIND], ids=["against the contract", "the same again"])
def test_repairs_and_drafts_that_are_dropped_are_booked_too(tmp_path: Path, says: str) -> None:
    """Invariant 6: what breaks the contract is repaired once, which costs a call."""
    run = learn(tmp_path, meta_model(lambda asked: says), proposers=["edit", "demos"])
    edit = run.earned["edit"]
    paid = run.result.usage["meta"]
    assert edit.usd == paid.cost_usd == CALL * len(run.meta.calls)  # drafts that are asked for again cost once
    assert edit.asked is not None
    assert edit.asked >= edit.drafts > edit.candidates
    assert edit.candidates == (0 if says == BROKEN else 1)


def test_a_proposer_that_is_asked_for_more_is_charged_once_for_the_same_drafts(tmp_path: Path) -> None:
    """`rewrite` says nothing of use, so that `edit` is asked again, for its own drafts and for those."""
    many = iter(range(10**6))
    said: dict[str, str] = {}

    def says(asked: str) -> str:
        if "</add>" not in asked:
            return SURE
        return said.setdefault(asked, f"<add>Remark number {next(many)} for everybody.</add>")

    run = learn(tmp_path, meta_model(says), proposers=["edit", "rewrite"], rounds=1, drafts=4)
    edit, rewrite = run.earned["edit"], run.earned["rewrite"]
    paid = run.result.usage["meta"]
    assert paid.cached_calls > 0
    assert (edit.usd or 0) + (rewrite.usd or 0) == paid.cost_usd == CALL * len(run.meta.calls)


def test_the_table_is_the_same_at_any_latency_and_when_the_run_is_repeated(tmp_path: Path) -> None:
    """Invariants 3 and 8."""
    runs = []
    for concurrency, seed in ((1, 0), (8, 1), (64, 2)):
        meta = meta_model(lambda asked: SURE if len(asked) % 3 else KIND, latency=jitter(seed))
        folder = tmp_path / str(concurrency)
        runs.append(learn(folder, meta, concurrency=concurrency, pipeline_depth=3))
        again = learn(folder, meta, concurrency=concurrency, pipeline_depth=3)
        assert again.result.run_id != runs[-1].result.run_id
        assert again.rounds == runs[-1].rounds
    assert runs[0].rounds == runs[1].rounds == runs[2].rounds


def test_the_table_of_a_run_that_went_on_is_that_of_an_undisturbed_one(tmp_path: Path) -> None:
    """Invariant 3."""
    whole = learn(tmp_path / "whole", meta_model(lambda asked: SURE))
    small = learn(tmp_path / "parts", meta_model(lambda asked: SURE), budget=Budget(tokens=40_000))
    assert small.result.stop_reason == "budget"
    rest = learn(tmp_path / "parts", meta_model(lambda asked: SURE))
    assert rest.earned == whole.earned


def test_a_meta_cap_ends_the_run_and_every_call_up_to_it_is_in_the_table(tmp_path: Path) -> None:
    """Invariant 1."""
    run = learn(tmp_path, meta_model(lambda asked: SURE), budget=Budget(meta_calls=9), pipeline_depth=1)
    assert run.result.stop_reason == "budget"
    assert sum(one.calls for name, one in run.earned.items() if name != "demos") == len(run.meta.calls) == 9


def test_a_proposer_with_a_model_of_its_own_says_what_its_drafts_cost(tmp_path: Path) -> None:
    class Own:
        name = "own"

        async def propose(self, brief: Brief, count: int) -> list[Draft]:
            rules = [Rule(f"Remark {number} on {brief.seed}.", ("x",)) for number in range(count)]
            spent = Usage(calls=1, cost_usd=CALL)
            return [Draft(replace(brief.parent, rules=(rule,)), usage=spent) for rule in rules]

        async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
            return None

    own = learn(tmp_path, meta_model(lambda asked: SURE), proposers=[Own()], rounds=1, drafts=3).earned["own"]
    assert (own.asked, own.drafts, own.candidates) == (3, 3, 3)
    assert own.usd == 3 * CALL
