"""Agreement: Cohen's own figures, corner cases, and an interval that keeps what it promises."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.judging.agreement import Agreement, agreement_of


def of_table(table: list[list[int]]) -> Agreement:
    labels = [str(number) for number in range(len(table))]
    pairs = [
        (labels[row], labels[column])
        for row, counts in enumerate(table)
        for column, count in enumerate(counts)
        for _ in range(count)
    ]
    return agreement_of(pairs, labels)


def test_cohen_s_example() -> None:
    """Cohen 1960: 200 cases in three categories, p_o = 0.70, p_e = 0.41, kappa = 0.492."""
    agreement = of_table([[88, 14, 18], [10, 40, 10], [2, 6, 12]])
    assert agreement.n == 200
    assert agreement.observed == pytest.approx(0.70)
    assert agreement.chance == pytest.approx(0.41)
    assert agreement.kappa == pytest.approx(0.492, abs=0.001)
    assert agreement.ci95.low < 0.492 < agreement.ci95.high


def test_full_agreement_has_an_interval_with_a_width() -> None:
    agreement = of_table([[10, 0], [0, 10]])
    assert agreement.kappa == 1.0
    assert 0.6 < agreement.ci95.low < 0.8
    assert agreement.ci95.high == pytest.approx(1.0)


def test_one_label_alone_tells_nothing() -> None:
    assert of_table([[20, 0], [0, 0]]).kappa is None
    assert of_table([[0, 0], [0, 0]]).n == 0


def test_opposites_are_below_chance() -> None:
    assert of_table([[0, 10], [10, 0]]).kappa == pytest.approx(-1.0)


@given(st.lists(st.lists(st.integers(0, 9), min_size=3, max_size=3), min_size=3, max_size=3))
def test_kappa_knows_no_order_of_labels_and_no_sides(table: list[list[int]]) -> None:
    agreement = of_table(table)
    turned = of_table([[table[column][row] for column in (2, 0, 1)] for row in (2, 0, 1)])
    assert agreement.kappa == pytest.approx(turned.kappa)
    assert sum(sum(row.values()) for row in agreement.table.values()) == agreement.n
    if agreement.kappa is not None:
        assert -1.0 <= agreement.ci95.low <= agreement.kappa + 1e-9
        assert agreement.kappa <= agreement.ci95.high + 1e-9 <= 1.0 + 1e-6


def test_the_interval_covers_what_it_promises() -> None:
    """People label half as pass; the judge is right in 90 % of cases, so kappa is 0.8."""
    rng, covered, trials = Random(1), 0, 400
    for _ in range(trials):
        people = [rng.random() < 0.5 for _ in range(60)]
        pairs = [(str(human), str(human if rng.random() < 0.9 else not human)) for human in people]
        interval = agreement_of(pairs, ("True", "False")).ci95
        covered += interval.low <= 0.8 <= interval.high
    assert covered / trials == pytest.approx(0.95, abs=0.03)
