"""Statistics of acceptance: known values, and rates that are promised."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from promptlearn.records import Interval
from promptlearn.selection.stats import Evidence, mcnemar, mean_interval, one_sided_p, paired_test


def test_wilson_interval_of_a_known_case() -> None:
    """Newcombe 1998, Table I: 81 of 263 gives 0.2553 to 0.3662."""
    interval = mean_interval([1.0] * 81 + [0.0] * 182)
    assert interval.low == pytest.approx(0.2553, abs=1e-4)
    assert interval.high == pytest.approx(0.3662, abs=1e-4)


def test_paired_interval_of_a_known_case() -> None:
    """Newcombe 1998 (paired), Table II, method 10: 36, 12, 2, 0 of 50 gives 0.0569 to 0.3404."""
    candidate = [1.0] * 36 + [1.0] * 12 + [0.0] * 2
    incumbent = [1.0] * 36 + [0.0] * 12 + [1.0] * 2
    test = paired_test(candidate, incumbent)
    assert test.difference == pytest.approx(0.20)
    assert test.ci95.low == pytest.approx(0.0569, abs=2e-4)
    assert test.ci95.high == pytest.approx(0.3404, abs=2e-4)
    assert test.test == "mcnemar_exact"
    assert test.p_value == pytest.approx(binomtest(12, 14, 0.5).pvalue)


def test_no_scores_mean_that_nothing_is_known() -> None:
    assert mean_interval([]) == Interval(0.0, 1.0)
    assert paired_test([], []).p_value == 1.0


def test_equal_graded_differences_do_not_pretend_to_certainty() -> None:
    test = paired_test([0.5] * 5, [0.25] * 5)
    assert test.ci95.low < 0 < test.ci95.high
    assert test.p_value == pytest.approx(2 / 2**5)


def test_graded_scores_use_a_permutation_test() -> None:
    rng = np.random.default_rng(0)
    old = rng.uniform(0, 0.8, 40)
    test = paired_test(list(old + rng.uniform(0, 0.2, 40)), list(old))
    assert test.test == "permutation"
    assert test.p_value < 0.001
    assert test.ci95.low <= test.difference <= test.ci95.high


def test_one_sided_p_is_half_of_two_sided_for_a_gain_and_one_for_a_loss() -> None:
    better, worse = [1.0] * 9 + [0.0], [0.0] * 9 + [1.0]
    assert one_sided_p(better, worse) == pytest.approx(mcnemar(9, 1) / 2)
    assert one_sided_p(worse, better) == 1.0


def test_scores_that_are_not_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="not pairs"):
        paired_test([1.0], [1.0, 0.0])


@given(st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=60))
def test_swapping_the_prompts_mirrors_the_test(pairs: list[tuple[float, float]]) -> None:
    new, old = [a for a, _ in pairs], [b for _, b in pairs]
    there, back = paired_test(new, old), paired_test(old, new)
    assert there.p_value == pytest.approx(back.p_value)
    assert there.difference == pytest.approx(-back.difference)
    assert there.ci95.low == pytest.approx(-back.ci95.high)
    assert there.ci95.low <= there.difference + 1e-9
    assert there.difference <= there.ci95.high + 1e-9


@given(st.lists(st.floats(-1, 1), max_size=30))
def test_evidence_does_not_depend_on_the_order_of_pairs(differences: list[float]) -> None:
    forward, backward = Evidence(), Evidence()
    for difference in differences:
        forward.add(difference)
    for difference in reversed(differences):
        backward.add(difference)
    assert forward.value == pytest.approx(backward.value, rel=1e-6, abs=1e-12)


def test_evidence_reaches_its_bound_rarely_without_a_difference() -> None:
    """Invariant 7: looking after every one of 200 pairs, wealth reaches 20 in at most 5 % of runs."""
    rng = np.random.default_rng(1)
    reached = 0
    for _ in range(1000):
        evidence, differences = Evidence(), rng.integers(0, 2, 200) - rng.integers(0, 2, 200)
        reached += any(_after(evidence, float(difference)) >= 20 for difference in differences)
    assert reached <= 50


def _after(evidence: Evidence, difference: float) -> float:
    evidence.add(difference)
    return evidence.value
