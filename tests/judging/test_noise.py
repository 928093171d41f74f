"""Noise: the figures against data whose variances are known, and against the formulas' own corner cases."""

import math
from collections import Counter
from dataclasses import dataclass, field, replace
from itertools import combinations
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.judging import ExactMatch, Member, Panel
from promptlearn.judging.noise import Judged, measure_noise, moods, noise_of
from promptlearn.records import Example, Failure, Rollout, Verdict


def passed(scores: list[float]) -> list[tuple[float, bool]]:
    return [(score, score >= 0.5) for score in scores]


def test_the_variances_are_those_of_the_one_way_model() -> None:
    """Shrout and Fleiss's own example (1979, table 2), of which case 1 gives an intraclass correlation of 0.17."""
    ratings = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
    noise = noise_of([[(rating, True) for rating in row] for row in ratings])
    assert noise.judge_variance == pytest.approx(6.26, abs=0.01)
    assert noise.judge_share == pytest.approx(1 - 0.17, abs=0.005)


def test_known_variances_are_found_again() -> None:
    rng = Random(3)
    columns = []
    for _ in range(4000):
        level = rng.gauss(0, 0.3)
        columns.append([(level + rng.gauss(0, 0.2), True) for _ in range(3)])
    noise = noise_of(columns)
    found = noise.to_json()
    assert (found["judge_sd"], found["rollout_sd"]) == (pytest.approx(0.2, rel=0.03), pytest.approx(0.3, rel=0.03))


def test_the_floor_is_exceeded_by_the_judge_alone_in_one_case_of_twenty() -> None:
    """Two means over 40 rows of one and the same prompt, and a variance estimated from 12 rollouts judged 4 times."""
    rng, exceeded, trials = Random(5), 0, 1500
    for _ in range(trials):
        noise = noise_of([[(rng.gauss(0, 0.25), True) for _ in range(4)] for _ in range(12)])
        one, other = (sum(rng.gauss(0, 0.25) for _ in range(40)) / 40 for _ in range(2))
        floor = noise.floor(40)
        assert floor is not None
        exceeded += abs(one - other) > floor
    assert exceeded / trials == pytest.approx(0.05, abs=0.015)


def test_flips_are_counted_by_pairs() -> None:
    assert noise_of([passed([1, 1, 1, 0])]).flip_rate == 0.5
    assert noise_of([passed([1, 0]), passed([1, 1]), passed([0, 0]), passed([0, 1])]).flip_rate == 0.5
    assert noise_of([passed([1, 1]), passed([0, 0])]).flip_rate == 0.0


def test_rollouts_that_were_judged_once_tell_nothing() -> None:
    noise = noise_of([passed([1.0]), [], passed([0.5, 0.5])])
    assert (noise.rollouts, noise.judgements, noise.judge_variance, noise.judge_share) == (1, 2, 0.0, None)


def test_what_was_never_judged_twice_has_no_noise_of_0() -> None:
    """Invariant 4."""
    noise = noise_of([passed([1.0]), []])
    assert (noise.rollouts, noise.flip_rate, noise.judge_share, noise.floor(10)) == (0, None, None, None)
    assert noise.to_json()["judge_sd"] is None


@given(st.lists(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=5), min_size=1, max_size=8))
def test_a_steady_judge_has_no_floor_and_more_rows_lower_it(columns: list[list[float]]) -> None:
    noise = noise_of([passed(column) for column in columns])
    steady = all(len(set(column)) == 1 for column in columns)
    assert (noise.floor(10) == 0.0) == steady
    assert noise.floor(10) == pytest.approx(2 * (noise.floor(40) or 0.0))
    assert noise.judge_share is None or 0.0 <= noise.judge_share <= 1.0


@dataclass
class Moody:
    """Passes at every second time."""

    name: str = "moody"
    asked: list[int] = field(default_factory=list)

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        return await self.judge_again(example, rollout, 0)

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        self.asked.append(repeat)
        return Verdict(self.name, rollout.id, score=float(repeat % 2 == 0))


async def judged(panel: Panel) -> list[Judged]:
    rows = []
    for number in range(3):
        example, rollout = Example(str(number), {"n": number}, expected="yes"), Rollout("p", str(number), "yes")
        rows.append(Judged(example, rollout, await panel.judge(example, rollout)))
    return rows


async def test_the_score_s_noise_is_what_the_judges_that_waver_make_of_it() -> None:
    moody = Moody()
    panel = Panel([Member(ExactMatch(), weight=3), Member(moody)])
    noise = await measure_noise(panel, await judged(panel), 4)
    assert moody.asked == [0] * 3 + [1, 2, 3] * 3
    assert noise.judges["moody"].flip_rate == pytest.approx(4 / 6)
    assert noise.score.to_json()["judge_sd"] == pytest.approx(noise.judges["moody"].to_json()["judge_sd"] / 4)


@dataclass
class Graded(Moody):
    """Gives 0.5 and 0.8 by turns, and passes from `pass_at` on."""

    pass_at: float = 0.75

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        score = 0.5 if repeat % 2 else 0.8
        return Verdict(self.name, rollout.id, score=score, passed=score >= self.pass_at)


@pytest.mark.parametrize(("pass_at", "flips"), [(0.75, 4 / 6), (0.5, 0.0)])
async def test_a_score_flips_where_a_judge_s_word_for_passed_does(pass_at: float, flips: float) -> None:
    panel = Panel([Member(Graded(pass_at=pass_at)), Member(ExactMatch())])
    noise = await measure_noise(panel, await judged(panel), 4)
    assert noise.score.flip_rate == noise.judges["moody"].flip_rate == pytest.approx(flips)
    assert noise.score.judge_variance


@dataclass
class OfOutput(Moody):
    """Reads the output alone, so that equal outputs are one question to it."""

    def question(self, example: Example, rollout: Rollout) -> str:
        return rollout.output


async def test_answers_that_share_a_verdict_share_its_noise() -> None:
    """Two outputs on ten rows are two judgements, not ten."""
    panel = Panel([Member(judge := OfOutput())])
    outputs = ["shipping"] * 8 + ["billing"] * 2
    rows = [
        Judged(example, rollout, await panel.judge(example, rollout))
        for number, output in enumerate(outputs)
        for example, rollout in [(Example(str(number), {"n": number}), Rollout("p", str(number), output))]
    ]
    judge.asked.clear()
    noise = (await measure_noise(panel, rows, 4)).score
    assert judge.asked == [1, 2, 3] * 2
    assert (noise.rollouts, noise.judgements, noise.asked) == (2, 8, 1.0)
    assert noise.shared == pytest.approx((8 * 7 + 2 * 1) / (10 * 9))
    by_row = replace(noise, shared=0.0)
    assert noise.mean_floor(1) == by_row.mean_floor(1)
    assert (noise.mean_floor(10) or 0) == pytest.approx((by_row.mean_floor(10) or 0) * math.sqrt(1 + 9 * noise.shared))


@given(st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=3), max_size=12))
def test_rows_share_a_mood_where_a_chain_of_questions_joins_them(asked: list[frozenset[str]]) -> None:
    found = moods(asked)
    assert [one is None for one in found] == [not questions for questions in asked]
    reached = [{place} for place in range(len(asked))]
    for _ in asked:
        for place, own in enumerate(reached):
            questions = set().union(*(asked[other] for other in own))
            own |= {other for other, theirs in enumerate(asked) if asked[place] and questions & theirs}
    for one, other in combinations([place for place, questions in enumerate(asked) if questions], 2):
        assert (found[one] == found[other]) == (other in reached[one])


def test_the_floor_holds_where_rows_share_a_verdict() -> None:
    """Exceeded by the judge alone in one case of twenty, also with three outputs on forty rows of each prompt."""
    rng, exceeded, trials = Random(6), 0, 1500
    before, after = Counter(a=20, b=15, c=5), Counter(a=4, b=6, d=30)
    for _ in range(trials):
        noise = noise_of([[(rng.gauss(0, 0.25), True) for _ in range(4)] for _ in range(12)])
        mood = {name: rng.gauss(0, 0.25) for name in "abcd"}
        weights = {name: (after[name] - before[name]) / 40 for name in mood}
        floor = noise.floor_of(weights.values())
        assert floor is not None
        exceeded += abs(sum(weights[name] * mood[name] for name in mood)) > floor
    assert exceeded / trials == pytest.approx(0.05, abs=0.015)


@dataclass
class Failing(Moody):
    """As Moody, on every second row; on the others it comes to no verdict."""

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        if int(example.id) % 2:
            return Verdict(self.name, rollout.id, error=Failure("unparseable", "a reply of words alone"))
        return await super().judge_again(example, rollout, repeat)


async def test_what_a_judge_failed_on_is_counted_and_does_not_lower_the_floor() -> None:
    """Invariant 4: such rows are in no mean, so that a mean over n rows is one over n judgements."""
    steady, failing = Panel([Member(Moody())]), Panel([Member(Failing())])
    noise = await measure_noise(failing, await judged(failing), 4)
    whole = await measure_noise(steady, (await judged(steady))[:2], 4)
    for one in (noise.score, noise.judges["moody"]):
        assert (one.rollouts, one.judgements, one.asked, one.not_judged) == (2, 8, 1.0, 1)
        assert one.floor(40) == pytest.approx(whole.score.floor(40))
    assert noise.trouble == "a reply of words alone"
    assert whole.score.not_judged == 0


async def test_judges_that_can_only_say_the_same_are_not_asked_again() -> None:
    panel = Panel([Member(ExactMatch())])
    assert (await measure_noise(panel, await judged(panel), 4)).judges == {}
