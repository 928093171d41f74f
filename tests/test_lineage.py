"""Whom a merge may join, and how two winners of the same moment become one."""

from dataclasses import replace
from pathlib import Path

import latent
import pytest

from promptlearn.optimizer.lineage import ancestors, joined, partners
from promptlearn.optimizer.state import View
from promptlearn.records import Candidate, Prompt, Rule
from promptlearn.report import family
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
