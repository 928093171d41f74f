"""Statistics over seeds and examples: against what can be computed by hand, and on chance alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.selection.crossed import crossed_gap, crossed_mean
from promptlearn.selection.stats import detectable_difference, holm, paired_test, rows_to_detect


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([]) == []
    assert holm([0.6, 0.7]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_no_correction_and_bonferroni_and_keeps_the_order(p_values: list[float]) -> None:
    adjusted = holm(p_values)
    for p, corrected in zip(p_values, adjusted, strict=True):
        assert p <= corrected <= min(1.0, len(p_values) * p) + 1e-12
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(adjusted)[order]) >= 0).all()


def test_the_detectable_difference_is_the_textbook_s() -> None:
    assert detectable_difference(250, 0.2) == pytest.approx(0.0792, abs=1e-4)
    assert detectable_difference(0, 0.2) == 1.0
    assert detectable_difference(250, 0.2, level=0.01) > detectable_difference(250, 0.2)


@given(st.floats(0.01, 1), st.floats(0.001, 0.1))
def test_there_is_something_to_find_from_the_rows_on_that_are_named(discordance: float, level: float) -> None:
    """Two arms differ by no more than the share of rows on which they disagree."""
    rows = rows_to_detect(discordance, level)
    assert detectable_difference(rows, discordance, level) <= discordance + 1e-9
    assert detectable_difference(rows - 1, discordance, level) >= min(1.0, discordance) - 1e-9


def test_the_detectable_difference_is_found_in_four_fifths_of_experiments() -> None:
    rng = np.random.default_rng(4)
    n, discordance = 250, 0.2
    gain = detectable_difference(n, discordance)
    shares = [(discordance + gain) / 2, (discordance - gain) / 2, 1 - discordance]
    found = 0
    for _ in range(400):
        wins, losses, _ = rng.multinomial(n, shares)
        a = [0.0] * wins + [1.0] * losses + [1.0] * (n - wins - losses)
        b = [1.0] * wins + [0.0] * losses + [1.0] * (n - wins - losses)
        found += paired_test(b, a).p_value < 0.05
    assert 0.70 < found / 400 < 0.88  # the exact test is a little stricter than the formula


def test_seeds_that_are_alike_are_one_paired_test() -> None:
    a, b = [0.0, 1.0, 0.0, 0.0, 0.0, 1.0], [1.0, 1.0, 0.0, 1.0, 1.0, 1.0]
    gap, plain = crossed_gap([a, a, a], [b, b, b]), paired_test(b, a)
    assert (gap.difference, gap.p_value, gap.ci95, gap.test) == (
        plain.difference,
        plain.p_value,
        plain.ci95,
        plain.test,
    )
    assert gap.by_seed == (0.5, 0.5, 0.5)


def test_seeds_that_differ_make_the_interval_wider() -> None:
    base = [[0.0, 1.0] * 50] * 3
    steady = crossed_gap(base, [[0.5, 1.0] * 50] * 3)
    moody = crossed_gap(base, [[0.0, 1.0] * 50, [0.5, 1.0] * 50, [1.0, 1.0] * 50])
    assert moody.difference == steady.difference == 0.25
    assert moody.ci95.high - moody.ci95.low > 2 * (steady.ci95.high - steady.ci95.low)
    assert moody.by_seed == (0.0, 0.25, 0.5)


def test_nobody_wins_by_failing_where_it_is_hard() -> None:
    """Invariant 4."""
    hard, easy = [0.0] * 20, [1.0] * 20
    a = [hard + easy]
    b: list[list[float | None]] = [[None] * 20 + [1.0] * 20]
    assert crossed_gap(a, b).p_value == 1.0
    half: list[list[float | None]] = [[None] * 10 + [1.0] * 10 + [0.0] * 20]
    mostly_right = [[0.0] * 10 + [0.0] * 10 + [0.0] * 20]
    assert crossed_gap(mostly_right, half).p_value == pytest.approx(paired_test([1.0] * 10, [0.0] * 10).p_value)
    lost = [[1.0] * 10 + [0.0] * 10 + [0.0] * 20]
    assert crossed_gap(lost, half).p_value == 1.0


def test_rows_that_each_way_is_better_on_are_counted() -> None:
    """Six examples, two seeds: better on three, worse on one, equal on one, never judged on one."""
    first: list[list[float | None]] = [[0, 0, 0, 1, 1, None], [0, 0, 1, 1, 0, 1]]
    second: list[list[float | None]] = [[1, 1, 1, 0, 0, 1], [1, 0, 1, 1, 1, None]]
    gap = crossed_gap(first, second)
    assert (gap.higher, gap.lower, gap.n) == (3, 1, 5)


def test_rows_without_a_score_are_counted_and_in_no_mean() -> None:
    mean = crossed_mean([[1.0, None, 0.0], [1.0, None, None]])
    assert (mean.score, mean.n, mean.errors, mean.by_seed) == (0.5, 2, 3, (0.5, 1.0))
    nothing = crossed_mean([[None, None]])
    assert (nothing.score, nothing.n, nothing.ci95.low, nothing.ci95.high) == (None, 0, 0.0, 1.0)


def test_chance_alone_is_rarely_taken_for_a_difference() -> None:
    rng = np.random.default_rng(1)
    found = missed = 0
    for _ in range(60):
        skill = rng.random(60)
        a, b = ((rng.random((3, 60)) < skill).astype(float).tolist() for _ in range(2))
        gap = crossed_gap(a, b)
        found += gap.p_value < 0.05
        missed += not gap.ci95.low <= 0 <= gap.ci95.high
    assert found <= 8
    assert missed <= 8
