"""The race decides on complete blocks, in one order, and accepts what is no better at most as often as it says."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from promptlearn.records import Decision
from promptlearn.selection.race import BLOCK, Race

Table = Mapping[str, Sequence[float | None]]


def run(table: Table, alpha: float = 0.05, extra: int = 0) -> tuple[list[Decision], int]:
    """Race the table against `inc`, the last rows as extra time; decisions, and rows spent on candidates."""
    rows = [f"e{index:03}" for index in range(len(table["inc"]))]
    end = len(rows) - extra
    race = Race("inc", {name: 10 for name in table if name != "inc"}, rows[:end], alpha, rows[end:])
    spent = 0
    while not race.finished:
        wanted = race.wanted()
        spent += len(wanted) * len(race.alive)
        names = ["inc", *race.alive] if race.runs_incumbent else race.alive
        race.observe({name: [table[name][rows.index(row)] for row in wanted] for name in names})
    return race.decisions(), spent


def noise(rng: np.random.Generator, rows: int, rate: float) -> list[float]:
    return [float(value) for value in rng.random(rows) < rate]


@pytest.mark.parametrize(("candidates", "rows", "rate"), [(1, 60, 0.6), (4, 60, 0.6), (1, 120, 0.3), (4, 40, 0.8)])
def test_equal_candidates_are_accepted_in_at_most_5_percent_of_1000_runs(
    candidates: int, rows: int, rate: float
) -> None:
    """Invariant 7: several looks and several candidates do not raise the rate of false acceptance."""
    rng = np.random.default_rng(candidates * rows)
    accepted = 0
    for _ in range(1000):
        table = {name: noise(rng, rows, rate) for name in ["inc", *(f"c{i}" for i in range(candidates))]}
        accepted += any(decision.outcome == "accepted" for decision in run(table)[0])
    assert accepted <= 50


def test_equal_candidates_with_graded_scores_are_accepted_rarely() -> None:
    rng = np.random.default_rng(7)
    accepted = 0
    for _ in range(100):
        table = {name: list(rng.beta(2, 2, 24)) for name in ("inc", "c0")}
        accepted += any(decision.outcome == "accepted" for decision in run(table)[0])
    assert accepted <= 5


@pytest.mark.parametrize(("candidates", "rate"), [(1, 0.5), (2, 0.8)])
@pytest.mark.parametrize("extra", [40, 120])
def test_extra_time_does_not_raise_the_rate_of_false_acceptance(candidates: int, rate: float, extra: int) -> None:
    """Invariant 7."""
    rng = np.random.default_rng(11)
    accepted = 0
    for _ in range(300):
        table = {name: noise(rng, 40 + extra, rate) for name in ["inc", *(f"c{i}" for i in range(candidates))]}
        accepted += any(decision.outcome == "accepted" for decision in run(table, extra=extra)[0])
    assert accepted <= 15


def test_extra_time_tells_a_small_gain_from_the_luck_of_the_incumbent() -> None:
    """The incumbent was chosen for what it scored on the regular rows; on the fresh ones it is what it is."""
    rng, proven = np.random.default_rng(5), {0: 0, 100: 0}
    for _ in range(40):
        lucky = [*noise(rng, 100, 0.84), *noise(rng, 100, 0.76)]
        table = {"inc": lucky, "better": noise(rng, 200, 0.93)}
        for extra in proven:
            seen = {name: scores[: 100 + extra] for name, scores in table.items()}
            proven[extra] += run(seen, extra=extra)[0][0].outcome == "accepted"
    assert proven[100] > 1.5 * proven[0]


def test_nobody_is_given_up_whom_extra_time_may_still_prove() -> None:
    """Two pairs won and one lost of each sixteen: too close to tell on 100 rows, and not on 400."""
    won, lost = {0, 8}, {1}
    inc, own = [0.5] * 400, [0.5 + 0.5 * (row % 16 in won) - 0.5 * (row % 16 in lost) for row in range(400)]
    [short] = run({"inc": inc[:100], "a": own[:100]})[0]
    [long] = run({"inc": inc, "a": own}, extra=300)[0]
    assert (short.outcome, short.pairs) == ("undecided", 72)
    assert (long.outcome, long.pairs) == ("accepted", 400)


def test_a_plain_winner_and_a_plain_loser_need_no_extra_time() -> None:
    for table in ({"inc": [0.0] * 80, "one": [1.0] * 80}, {"inc": [0.5] * 80, "one": [0.5] * 80}):
        _, spent = run(table, extra=40)
        assert spent <= 40


def test_a_much_better_candidate_is_accepted_early() -> None:
    table: Table = {"inc": [0.0] * 100, "good": [1.0] * 100}
    decisions, spent = run(table)
    assert [decision.outcome for decision in decisions] == ["accepted"]
    assert spent == BLOCK


def test_the_best_of_several_better_candidates_wins() -> None:
    rng = np.random.default_rng(3)
    wins = 0
    for _ in range(60):
        table = {"inc": [0.0] * 60} | {f"c{i}": noise(rng, 60, rate) for i, rate in enumerate((0.5, 0.6, 0.9))}
        wins += next(d.candidate for d in run(table)[0] if d.outcome == "accepted") == "c2"
    assert wins >= 54


def test_only_one_candidate_is_accepted_and_the_others_say_why() -> None:
    table: Table = {"inc": [0.0] * 40, "a": [1.0] * 40, "b": [1.0] * 40}
    decisions, _ = run(table)
    assert sorted(decision.outcome for decision in decisions) == ["accepted", "rejected"]
    assert all(decision.reason for decision in decisions)


def test_the_incumbent_rests_once_every_candidate_alive_is_proven_better() -> None:
    """Rows go where they still decide something: which of the candidates is best."""
    rows = [f"e{index:03}" for index in range(80)]
    race = Race("inc", {"a": 1, "b": 1}, rows, 0.05)
    asked = []
    while not race.finished:
        wanted = race.wanted()
        asked.append(race.runs_incumbent)
        columns: dict[str, list[float | None]] = {name: [1.0] * len(wanted) for name in race.alive}
        race.observe(columns | ({"inc": [0.0] * len(wanted)} if race.runs_incumbent else {}))
    assert asked == [True, True, False, False, False]


def test_what_is_plainly_behind_a_proven_candidate_runs_no_further() -> None:
    table: Table = {"inc": [0.0] * 90, "a": [1.0] * 90, "b": [float(i % 3 == 0) for i in range(90)]}
    (first, second), spent = run(table)
    assert first.outcome == "accepted"
    assert second.outcome == "undecided"
    assert second.reason.startswith("behind a, which is better than the incumbent")
    assert spent <= 4 * BLOCK


def test_a_worse_candidate_is_dropped_before_the_rows_end() -> None:
    rng = np.random.default_rng(4)
    table = {"inc": [1.0] * 100, "bad": noise(rng, 100, 0.3)}
    decisions, spent = run(table)
    assert decisions[0].outcome == "rejected"
    assert spent <= 2 * BLOCK


def test_rows_without_a_score_are_in_no_pair() -> None:
    """Invariant 4: what was not judged stays out of every mean."""
    table: Table = {"inc": [None if i % 2 else 0.0 for i in range(40)], "c0": [1.0] * 40}
    decisions, _ = run(table)
    assert decisions[0].outcome == "accepted"
    assert decisions[0].difference == 1.0
    assert decisions[0].pairs < 40


def test_a_candidate_that_fails_where_the_incumbent_does_not_is_out() -> None:
    """Invariant 4: a failure is not a score, and not a way to win either."""
    table: Table = {"inc": [0.0] * 40, "c0": [None if i % 2 else 1.0 for i in range(40)]}
    decision = run(table)[0][0]
    assert decision.outcome == "rejected"
    assert "failed on" in decision.reason


def test_a_small_gain_on_few_rows_stays_undecided_or_rejected() -> None:
    table: Table = {"inc": [1.0] * 30 + [0.0] * 10, "c0": [1.0] * 32 + [0.0] * 8}
    assert run(table)[0][0].outcome != "accepted"


def test_the_last_look_uses_an_exact_test() -> None:
    """Seven wins of seven in 40 rows: not enough for early evidence of 40, enough for p = 1/128 at the end."""
    table: Table = {"inc": [float(row not in range(3, 40, 6)) for row in range(40)], "c0": [1.0] * 40}
    decision = run(table)[0][0]
    assert decision.outcome == "accepted"
    assert decision.pairs == 40
