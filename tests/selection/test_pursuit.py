"""The race by another objective than quality: what it accepts, and how often it is wrong."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.config import ObjectiveConfig
from promptlearn.records import Decision
from promptlearn.selection.objectives import MEASURES
from promptlearn.selection.pursuit import Aim, PursuitRace, Seen, aim_of, change_of

TOKENS = ObjectiveConfig(name="tokens")
Draw = tuple[float | None, float | None]


def race(columns: dict[str, list[Draw]], may_lose: float, alpha: float = 0.05) -> dict[str, Decision]:
    """Candidates against `inc`, which is the baseline too."""
    rows = [str(number) for number in range(len(columns["inc"]))]
    found = PursuitRace("inc", dict.fromkeys(columns.keys() - {"inc"}, 1.0), rows, alpha, Aim(TOKENS, may_lose))
    position = 0
    while not found.finished:
        end = position + len(found.wanted())
        seen = {digest: [Seen(*one) for one in own[position:end]] for digest, own in columns.items()}
        found.see(seen, [one.quality for one in seen["inc"]])
        position = end
    return {one.candidate: one for one in found.decisions()}


def test_a_cheaper_prompt_of_equal_quality_wins_without_a_claim_on_quality() -> None:
    taken = race({"inc": [(1.0, 200.0)] * 72, "new": [(1.0, 120.0)] * 72}, 0.01)["new"]
    assert taken.outcome == "accepted"
    assert taken.difference == 0.0
    assert taken.p_value == 1.0
    assert "200 → 120" in taken.reason
    assert "as measured on all rows" in taken.reason


def test_a_large_allowance_is_proven_before_the_last_row() -> None:
    taken = race({"inc": [(1.0, 200.0)] * 200, "new": [(1.0, 120.0)] * 200}, 0.2)["new"]
    assert taken.outcome == "accepted"
    assert taken.pairs < 100
    assert "proven to lose no more than 0.2" in taken.reason


@pytest.mark.parametrize("score", [0.0, None])
def test_a_cheaper_prompt_that_loses_quality_is_out_failures_included(score: float | None) -> None:
    new: list[Draw] = [(score if number % 8 == 0 else 1.0, 100.0) for number in range(72)]
    taken = race({"inc": [(1.0, 200.0)] * 72, "new": new}, 0.01)["new"]
    assert taken.outcome != "accepted"
    assert "quality changes by -" in taken.reason


def test_a_prompt_that_is_only_right_more_often_is_not_accepted() -> None:
    taken = race({"inc": [(0.0, 200.0)] * 72, "new": [(1.0, 200.0)] * 72}, 0.01)["new"]
    assert taken.outcome != "accepted"


def test_a_race_without_a_difference_seldom_sees_one() -> None:
    """Invariant 7: at most `alpha` of races accept a prompt that is no cheaper."""
    wrong = 0
    for seed in range(150):
        rng = Random(seed)
        columns: dict[str, list[Draw]] = {
            digest: [(1.0, 100 * rng.lognormvariate(0, 0.3)) for _ in range(48)] for digest in ("inc", "a", "b")
        }
        wrong += any(one.outcome == "accepted" for one in race(columns, 0.01).values())
    assert wrong <= 0.05 * 150


@given(st.sampled_from(MEASURES), st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_gain_lies_between_minus_one_and_one_and_turns_with_its_sides(name: str, new: float, old: float) -> None:
    aim = Aim(ObjectiveConfig(name=name), 0.0)
    gain, back = aim.gain(new, old), aim.gain(old, new)
    assert gain is not None
    assert back is not None
    assert -1 <= gain <= 1
    assert gain == -back
    assert (gain > 0) == (new < old)
    assert aim.gain(None, old) is None


def test_only_another_lead_than_quality_is_pursued() -> None:
    quality = ObjectiveConfig(name="quality", may_lose=0.1)
    assert aim_of(()) is None
    assert aim_of((quality, TOKENS)) is None
    assert aim_of((TOKENS, quality)) == Aim(TOKENS, 0.1)


def test_a_row_that_only_the_new_prompt_failed_on_is_lost() -> None:
    assert change_of([1.0, None, 0.0], [1.0, 1.0, None]) == -0.5
