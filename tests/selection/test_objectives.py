"""Several objectives: figures of rows, fronts and choices, as pure functions."""

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.config import ObjectiveConfig, in_order
from promptlearn.records import Failure, Interval, Rollout, Usage, Verdict
from promptlearn.selection.objectives import (
    Board,
    answer_of,
    better,
    board_of,
    broken,
    choose,
    compare,
    dominates,
    mean,
    pareto_front,
)

COST = ObjectiveConfig(name="cost")
TOKENS = ObjectiveConfig(name="tokens")
QUALITY = ObjectiveConfig(name="quality")
ROWS = 60


def board(quality: float, cost: float | None, right_from: int = 0) -> Board:
    """`quality` of the rows are right, beginning at one of them; each answer costs about `cost`."""
    right = {(right_from + n) % ROWS for n in range(round(quality * ROWS))}
    return {
        "quality": {str(n): float(n in right) for n in range(ROWS)},
        "cost": {str(n): None if cost is None else cost * (1 + n / 1000) for n in range(ROWS)},
    }


def test_a_rollout_says_what_it_took_and_nothing_that_nobody_counted() -> None:
    """Invariant 4: a failure has no figures; what is unknown is not 0."""
    known = answer_of(Rollout("p", "e", "four", usage=Usage(1, 0, 10, 5, cost_usd=0.5), seconds=2.0))
    assert known is not None
    assert (known.cost, known.tokens, known.latency, known.length) == (0.5, 15.0, 2.0, 4.0)
    unknown = answer_of(Rollout("p", "e", "four"))
    assert unknown is not None
    assert (unknown.cost, unknown.tokens, unknown.latency) == (None, None, None)
    assert answer_of(Rollout("p", "e", error=Failure("timeout", "late"))) is None


def test_a_board_takes_scores_answers_and_judges_by_name() -> None:
    tone = ObjectiveConfig(name="tone")
    verdicts = [Verdict("tone", "p/a", 0.25), Verdict("label_set", "p/a", 1.0)]
    rows = [
        ("a", 1.0, answer_of(Rollout("p", "a", "abc")), verdicts),
        ("b", None, None, []),
    ]
    found = board_of([QUALITY, tone, ObjectiveConfig(name="length")], rows)
    assert found == {"quality": {"a": 1.0, "b": None}, "tone": {"a": 0.25, "b": None}, "length": {"a": 3.0}}


def test_a_judge_that_a_failed_gate_held_up_earns_nothing() -> None:
    """Else a prompt would win by it for failing the gate where the judge is hard to please."""
    held = [Verdict("tone", "p/a", label="skipped"), Verdict("gate", "p/a", 0.0)]
    tone = ObjectiveConfig(name="tone")
    rows = [("a", 0.0, None, held), ("b", 1.0, None, [Verdict("tone", "p/b", 0.75)])]
    found = board_of([tone], rows)["tone"]
    assert found == {"a": 0.0, "b": 0.75}
    assert mean("tone", found.values()) == 0.375


def test_what_a_gate_that_could_not_judge_held_up_is_no_zero() -> None:
    """Invariant 4."""
    held = [Verdict("tone", "p/a", label="skipped"), Verdict("gate", "p/a", error=Failure("program", "it fell over"))]
    assert board_of([ObjectiveConfig(name="tone")], [("a", None, None, held)])["tone"] == {"a": None}


def test_a_mean_cost_with_an_unknown_price_is_unknown() -> None:
    assert mean("cost", [1.0, None]) is None
    assert mean("tone", [1.0, None]) == 1.0
    assert mean("tone", []) is None


def test_differences_keep_the_unit_of_their_objective() -> None:
    test = compare(COST, board(1, 0.001)["cost"], board(1, 0.003)["cost"])
    assert test is not None
    assert test.difference == pytest.approx(-0.002, rel=0.05)
    assert test.ci95.low < test.difference < test.ci95.high < 0
    assert better(COST, test)
    assert compare(COST, board(1, None)["cost"], board(1, 0.003)["cost"]) is None


def test_what_costs_nothing_before_and_after_costs_nothing_in_its_interval_too() -> None:
    free = {str(n): 0.0 for n in range(46)}
    test = compare(COST, free, free)
    assert test is not None
    assert (test.difference, test.ci95, test.p_value) == (0.0, Interval(0.0, 0.0), 1.0)


@pytest.mark.parametrize("by", [1.0, 69.0])
def test_a_measure_that_falls_by_the_same_everywhere_is_no_proportion(by: float) -> None:
    """The interval reaches to both sides, and no further than the measures themselves let it."""
    old = {str(n): by + 30 + n % 5 for n in range(40)}
    test = compare(TOKENS, {id: value - by for id, value in old.items()}, old)
    assert test is not None
    assert test.difference == pytest.approx(-by)
    assert -max(old.values()) < test.ci95.low < -by < test.ci95.high < max(old.values())
    assert (test.test, better(TOKENS, test)) == ("permutation", True)


def test_a_measure_that_falls_on_some_rows_and_stays_on_others_is_no_proportion() -> None:
    """Differences of 0 and of one size are bootstrapped as any others."""
    old = {str(n): 100.0 for n in range(40)}
    some, other = ({id: 100.0 - by * (int(id) % 2) for id in old} for by in (69.0, 68.0))
    same, near = compare(TOKENS, some, old), compare(TOKENS, some | {"1": other["1"]}, old)
    assert same is not None
    assert near is not None
    assert (same.ci95.low, same.ci95.high) == pytest.approx((near.ci95.low, near.ci95.high), abs=1)


def test_the_front_holds_what_nobody_beats_by_everything() -> None:
    means: dict[str, Mapping[str, float | None]] = {
        "good": {"quality": 0.9, "cost": 3.0},
        "cheap": {"quality": 0.7, "cost": 1.0},
        "beaten": {"quality": 0.7, "cost": 2.0},
        "unknown": {"quality": 0.8, "cost": None},
    }
    assert pareto_front(means, [QUALITY, COST]) == {"good", "cheap", "unknown"}


@given(st.dictionaries(st.text(max_size=3), st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=1, max_size=8))
def test_each_prompt_is_on_the_front_or_beaten_by_one_that_is(points: dict[str, tuple[int, int]]) -> None:
    means = {key: {"quality": float(one), "cost": float(other)} for key, (one, other) in points.items()}
    objectives = [QUALITY, COST]
    front = pareto_front(means, objectives)
    assert front
    for key, own in means.items():
        assert (key in front) != any(dominates(means[other], own, objectives) for other in front)


def test_quality_leads_and_the_cheaper_of_equals_wins() -> None:
    boards = {"base": board(0.5, 1.0), "best": board(0.9, 3.0), "cheap": board(0.9, 2.0, 3), "worse": board(0.6, 0.5)}
    assert choose(boards, [QUALITY, COST], "best", "base") == "cheap"
    assert choose(boards, [QUALITY], "best", "base") == "best"


def test_a_little_quality_goes_for_cost_where_the_configuration_allows_it() -> None:
    boards = {"base": board(0.5, 1.0), "best": board(0.9, 3.0), "cheap": board(0.88, 1.0)}
    assert choose(boards, [QUALITY, COST], "best", "base") == "best"
    assert choose(boards, [ObjectiveConfig(name="quality", may_lose=0.04), COST], "best", "base") == "cheap"


def test_another_objective_may_lead_with_an_allowance_for_quality() -> None:
    boards = {"base": board(0.9, 3.0), "good": board(1.0, 3.0), "cheap": board(0.9, 1.0), "poor": board(0.5, 0.1)}
    objectives = [COST, ObjectiveConfig(name="quality", may_lose=0.01)]
    assert choose(boards, objectives, "good", "base") == "cheap"


def test_what_breaks_a_bound_is_out_and_an_unknown_mean_keeps_none() -> None:
    boards = {"base": board(0.5, 1.0), "best": board(0.9, 3.0), "next": board(0.8, 1.5)}
    capped = [QUALITY, ObjectiveConfig(name="cost", at_most=2.0)]
    assert choose(boards, capped, "best", "base") == "next"
    assert choose({"base": board(0.5, None)}, capped, "base", "base") is None
    assert broken(capped, board(0.5, None), board(0.5, 1.0)) == ["cost is unknown, and at most 2 is allowed"]


def test_nobody_wins_by_failing_where_it_is_hard() -> None:
    silent = board(0.9, 1.0)
    failed = {**silent, "quality": {id: score or None for id, score in silent["quality"].items()}}
    boards = {"base": board(0.5, 1.0), "best": board(0.95, 3.0), "failing": failed}
    assert choose(boards, [QUALITY, COST], "best", "base") == "best"


def test_the_order_of_objectives_is_checked() -> None:
    assert [one.name for one in in_order([COST])] == ["quality", "cost"]
    with pytest.raises(ValueError, match="nothing says how much quality may be lost"):
        in_order([COST, QUALITY])
    with pytest.raises(ValueError, match="twice"):
        in_order([COST, COST])
