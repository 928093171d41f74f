"""Ranks of prompts on the same rows: intervals that are right, and no difference where there is none."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.experiments.ranks import LEVEL, Place, rank

Scores = list[float | None]


def binary(share: float, n: int = 60) -> Scores:
    return [1.0 if at < share * n else 0.0 for at in range(n)]


def test_clear_differences_give_single_ranks() -> None:
    ranking = rank({"bad": binary(0.1), "good": binary(0.9), "middling": binary(0.5)})
    assert ranking.places == {"bad": Place(3, 3, 3), "good": Place(1, 1, 3), "middling": Place(2, 2, 3)}
    assert str(ranking.places["good"]) == "1 of 3"
    best = next(one for one in ranking.comparisons if {one.first, one.second} == {"bad", "good"})
    assert best.better == "good"
    assert best.difference == pytest.approx(-0.8)


def test_what_nobody_can_tell_apart_shares_a_rank() -> None:
    ranking = rank({"a": binary(0.5), "b": binary(0.52), "c": binary(0.05)})
    assert (str(ranking.places["a"]), str(ranking.places["b"])) == ("1–2 of 3", "1–2 of 3")
    assert ranking.places["c"] == Place(3, 3, 3)


def test_equal_scores_are_no_evidence() -> None:
    ranking = rank({"a": binary(0.5), "b": binary(0.5)})
    assert ranking.comparisons[0].p_value == 1.0
    assert ranking.comparisons[0].better is None


def test_holm_s_correction_by_hand() -> None:
    """McNemar, one-sided: 8 wins to 0 is 1/256, 7 to 0 is 1/128; six ordered pairs are tested."""
    a, b = [1.0] * 8 + [0.0] * 8, [0.0] * 16
    c = [0.0] * 9 + [1.0] * 7
    ranking = rank({"a": a, "b": b, "c": c})
    found = {(one.first, one.second): [one.p_value, one.adjusted] for one in ranking.comparisons}
    assert found["a", "b"] == pytest.approx([1 / 256, 6 / 256])
    assert found["b", "c"] == pytest.approx([1 / 128, 5 / 128])
    assert ranking.places["b"] == Place(3, 3, 3)


def test_nobody_wins_by_failing_where_it_is_hard() -> None:
    """`fragile` is right wherever it has a score, and has none on the rows that are hard."""
    solid, fragile = binary(0.6), [1.0 if at < 36 else None for at in range(60)]
    ranking = rank({"solid": solid, "fragile": list(fragile)})
    assert ranking.places["fragile"].low == ranking.places["solid"].low == 1
    assert ranking.comparisons[0].n == 36


def test_graded_scores_of_many_prompts() -> None:
    """A permutation test alone could not reach the levels that 870 comparisons ask for."""
    rng = np.random.default_rng(1)
    rows = rng.uniform(0.3, 0.6, 80)
    prompts = {f"p{n}": list(np.clip(rows + rng.normal(0, 0.05, 80), 0, 1)) for n in range(29)}
    ranking = rank({"best": list(np.clip(rows + 0.3, 0, 1)), **prompts})
    assert ranking.places["best"] == Place(1, 1, 30)
    assert ranking.places["p0"].low == 2


def test_a_prompt_that_was_never_judged_can_be_anywhere() -> None:
    ranking = rank({"a": binary(0.9), "b": [None] * 60})
    assert ranking.places["b"] == Place(1, 2, 2)
    assert ranking.comparisons[0].difference is None


def test_equal_prompts_are_told_apart_in_few_batches() -> None:
    """The chance that any two of four equal prompts seem different is at most the level, for both kinds of tests."""
    rng, batches = np.random.default_rng(5), 120
    for graded in (False, True):
        wrong = 0
        for _ in range(batches):
            table = rng.uniform(0, 1, (4, 30))
            scores = {str(n): [float(v if graded else v > 0.5) for v in row] for n, row in enumerate(table)}
            wrong += any(one.better for one in rank(scores).comparisons)
        assert wrong / batches <= LEVEL + 2 * (LEVEL * (1 - LEVEL) / batches) ** 0.5


@given(
    st.integers(5, 30).flatmap(
        lambda n: st.lists(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=n, max_size=n), min_size=2, max_size=6)
    )
)
def test_the_observed_rank_is_inside_its_interval(table: list[list[float]]) -> None:
    scores = {str(number): list[float | None](row) for number, row in enumerate(table)}
    means = {name: sum(row) / len(row) for name, row in zip(scores, table, strict=True)}
    ranking = rank(scores)
    for name, place in ranking.places.items():
        above = sum(mean > means[name] for mean in means.values())
        assert place.low <= 1 + above
        assert place.high >= 1 + above
        assert 1 <= place.low <= place.high <= place.of == len(table)
