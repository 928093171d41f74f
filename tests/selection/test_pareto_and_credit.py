"""Whom to learn from next, and who may propose."""

from collections import Counter
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.selection.credit import FLOOR, PRIOR_CALLS, PRIOR_GAIN, Credit
from promptlearn.selection.pareto import Complement, choose_parent, complements, front


def test_the_front_keeps_whoever_is_best_somewhere() -> None:
    pool = {
        "a": {"1": 1.0, "2": 0.0, "3": 0.0},
        "b": {"1": 0.0, "2": 1.0, "3": 0.0},
        "c": {"1": 0.5, "2": 0.5},
    }
    assert front(pool) == {"a": 2, "b": 2}


def test_prompts_without_any_score_are_all_on_the_front() -> None:
    assert front({"a": {}, "b": {}}) == {"a": 1, "b": 1}


def test_the_parent_is_drawn_from_the_front_and_by_the_seed_alone() -> None:
    """Invariant 8."""
    pool = {"a": {str(i): 1.0 for i in range(9)}, "b": {"9": 1.0, "1": 0.0}, "c": {"1": 0.0}}
    drawn = Counter(choose_parent(pool, "a", f"seed/{number}") for number in range(300))
    assert drawn == Counter(choose_parent(pool, "a", f"seed/{number}") for number in range(300))
    assert drawn["c"] == 0
    assert drawn["a"]
    assert drawn["b"]


def test_a_promising_prompt_on_few_rows_is_preferred_to_one_on_many_rows_that_is_worse() -> None:
    rows = [str(number) for number in range(100)]
    pool = {
        "incumbent": {row: float(int(row) % 4 == 0) for row in rows},
        "promising": {row: float(int(row) % 2 == 0) for row in rows[:24]},
        "worse": {row: float(int(row) % 10 == 1) for row in rows},
    }
    drawn = Counter(choose_parent(pool, "incumbent", str(number)) for number in range(300))
    assert drawn["promising"] > 0.9 * 300
    assert drawn["worse"] == 0


def ran(credit: Credit, name: str, gain: float, calls: int, usd: float | None = None) -> None:
    """A draft that was asked for, made, run and paid for."""
    credit.drafted(name, 1, 1)
    credit.spent(name, calls, usd)
    credit.earned(name, gain)


def test_every_proposer_is_tried_first() -> None:
    assert Credit(["rewrite", "edit", "rules", "demos"]).share(4, 0).drafts == {
        "rewrite": 1,
        "edit": 1,
        "rules": 1,
        "demos": 1,
    }
    assert Credit(["rules", "demos"]).share(4, 0).drafts == {"rules": 2, "demos": 2}


def test_drafts_follow_what_was_earned_and_nobody_is_given_up() -> None:
    credit = Credit(["rules", "demos"])
    for name, gain in (("rules", 0.0), ("demos", 0.7)):
        ran(credit, name, gain, calls=40)
    assert credit.share(4, 1).drafts["demos"] > credit.share(4, 1).drafts["rules"]
    assert sum(credit.share(40, 1).drafts.values()) == 40
    assert credit.share(40, 1).drafts["rules"] >= 2


@given(
    st.integers(1, 6),
    st.lists(st.tuples(st.integers(1, 5), st.integers(0, 5), st.floats(0, 1)), min_size=60, max_size=120),
)
def test_each_proposer_has_a_draft_at_least_as_often_as_the_floor_says(
    proposers: int, rounds: list[tuple[int, int, float]]
) -> None:
    credit = Credit([f"p{number}" for number in range(proposers)])
    waited, surplus = dict.fromkeys(credit.accounts, 0), dict.fromkeys(credit.accounts, 0.0)
    for turn, (count, winner, gain) in enumerate(rounds):
        share = credit.share(count, turn)
        credit.book(share)
        assert sum(share.drafts.values()) == count
        for name, drafts in share.drafts.items():
            waited[name] = 0 if drafts else waited[name] + count
            surplus[name] += drafts - share.parts[name]
            for _ in range(drafts):
                ran(credit, name, gain / drafts if name == f"p{winner}" else 0.0, 40)
        assert max(waited.values()) < ceil(proposers / FLOOR)
        assert max(map(abs, surplus.values())) <= proposers  # what rounding took is given back


def test_who_is_far_behind_still_gets_its_part_of_few_drafts() -> None:
    credit = Credit(["rewrite", "edit", "rules", "demos", "merge"])
    for name in credit.accounts:
        ran(credit, name, 1.0 if name == "edit" else 0.0, 200)
    got: Counter[str] = Counter()
    for turn in range(100):
        share = credit.share(4, turn)
        credit.book(share)
        got.update(share.drafts)
        for name, drafts in share.drafts.items():
            for _ in range(drafts):
                ran(credit, name, 0.5 if name == "edit" else 0.0, 40)
    assert all(got[name] >= 400 * FLOOR / 5 for name in credit.accounts)
    assert got["edit"] > 300


def test_where_prices_are_known_a_dollar_counts_and_not_a_call() -> None:
    credit = Credit(["rewrite", "rules"])
    ran(credit, "rewrite", 0.5, calls=40, usd=0.40)
    ran(credit, "rules", 0.5, calls=40, usd=0.04)
    table = credit.table()
    assert table["per"] == "dollar"
    rates = {row["proposer"]: row["rate"] for row in table["proposers"]}
    assert rates["rules"] > 2 * rates["rewrite"]
    credit.spent("rules", calls=1, usd=None)
    assert credit.table()["per"] == "100 calls"


@pytest.mark.parametrize("usd", [0.0, 0.01], ids=["per call", "per dollar"])
@pytest.mark.parametrize("calls", [0, 2], ids=["free", "paid"])
def test_who_delivers_nothing_is_asked_ever_less_whatever_that_cost(calls: int, usd: float) -> None:
    credit = Credit(["silent", "poor", "good"])
    asked: list[int] = []
    for turn in range(100):
        share = credit.share(3, turn)
        credit.book(share)
        asked.append(share.drafts["silent"])
        credit.drafted("silent", share.drafts["silent"], 0)
        credit.spent("silent", calls * share.drafts["silent"], 20 * usd * calls * share.drafts["silent"])
        for name, gain in (("poor", 0.02), ("good", 0.1)):
            for _ in range(share.drafts[name]):
                ran(credit, name, gain, 60, 60 * usd)
    rates = credit.rates()
    assert rates["silent"] < rates["poor"] < rates["good"]
    assert FLOOR / 3 * 150 - 1 <= sum(asked[50:]) <= 20  # of the last 150 drafts


def test_drafts_that_never_ran_cost_a_proposer_its_rate_and_free_ones_too() -> None:
    credit = Credit(["runs", "repeats"])
    ran(credit, "runs", 0.0, calls=0)
    credit.drafted("repeats", 3, 3)  # each of them made before, or against the contract
    rates = credit.rates()
    assert rates["runs"] == PRIOR_GAIN / (PRIOR_CALLS / 100)
    assert rates["repeats"] == PRIOR_GAIN / (4 * PRIOR_CALLS / 100)


def test_who_has_nothing_to_say_leaves_its_part_to_the_others() -> None:
    assert Credit(["rules", "demos", "merge"]).share(4, 0, idle=["merge"]).drafts == {"rules": 2, "demos": 2}
    assert Credit(["merge"]).share(4, 0, idle=["merge"]).drafts == {}


def test_a_prompt_that_wins_other_rows_complements_more_than_one_that_is_a_little_better_everywhere() -> None:
    rows = [str(number) for number in range(40)]
    pool = {
        "parent": {row: float(int(row) < 20) for row in rows},
        "specialist": {row: float(int(row) >= 20) for row in rows},
        "cousin": {row: float(int(row) < 24) for row in rows},
        "worse": {row: float(int(row) < 10) for row in rows},
        "lucky": {"30": 1.0},
    }
    found = complements(pool, "parent")
    assert [one.digest for one in found] == ["specialist", "lucky", "cousin"]
    assert found[0] == Complement("specialist", better=20, worse=20, rows=40)
