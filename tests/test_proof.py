"""Invariants 4, 5 and 7: what may be said after the test split was read."""

from dataclasses import dataclass, replace

from promptlearn.evaluation import Evaluator, Row
from promptlearn.judging import ExactMatch, Member, Panel
from promptlearn.proof import Proof, above_noise, prove
from promptlearn.records import Example, Failure, Prompt, Rollout, Split, Verdict
from promptlearn.scheduler import Pool, Slots

ROWS = tuple(Example(str(number), {"n": number}, expected="yes") for number in range(100))
BASELINE, CHALLENGER = Prompt.of("old"), Prompt.of("new")


@dataclass
class Scripted:
    """A program that answers by row number: right on the rows of `right`, failed from `failed` on."""

    right: dict[str, range]
    failed: dict[str, int]
    name = "scripted"

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        number = int(example.id)
        if number >= self.failed.get(prompt.text, 100):
            return Rollout(prompt.digest, example.id, error=Failure("timeout", "no answer"))
        return Rollout(prompt.digest, example.id, output="yes" if number in self.right[prompt.text] else "no")


class Unrecorded:
    async def row(self, row: Row, split: Split) -> None:
        assert split == "test"


async def proof(right: dict[str, range], failed: dict[str, int] | None = None) -> Proof:
    program = Scripted(right, failed or {})
    panel = Panel([Member(ExactMatch())])
    evaluator = Evaluator(program, panel, pool=Pool(Slots(8)), max_error_share=1.0, recorder=Unrecorded())
    return await prove(BASELINE, CHALLENGER, ROWS, evaluator)


async def test_a_clear_gain_is_improved_and_a_clear_loss_regressed() -> None:
    assert (await proof({"old": range(40), "new": range(80)})).conclusion == "improved"
    assert (await proof({"old": range(80), "new": range(40)})).conclusion == "regressed"


async def test_a_gain_within_noise_is_not_proven() -> None:
    result = await proof({"old": range(60), "new": range(63)})
    assert result.conclusion == "not_proven"
    assert result.delta.score > 0


async def test_a_prompt_does_not_win_by_failing_where_it_is_hard() -> None:
    """Right on all 62 rows that it answers, over a baseline that is right on 70 of all 100."""
    result = await proof({"old": range(30, 100), "new": range(100)}, failed={"new": 62})
    assert result.challenger.score == 1.0
    assert result.challenger.errors == 38
    assert result.conclusion == "not_proven"


async def test_failures_are_in_no_mean() -> None:
    result = await proof({"old": range(50), "new": range(100)}, failed={"old": 90})
    assert (result.baseline.n, result.baseline.errors) == (90, 10)
    assert result.delta.n == 90
    assert result.conclusion == "improved"


@dataclass
class Moody:
    """Sees right and wrong the first time, and may say anything later."""

    steady: bool
    asked: int = 0
    name = "moody"

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        return Verdict(self.name, rollout.id, score=float(rollout.output == "yes"))

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        self.asked += 1
        return await self.judge(example, rollout) if self.steady else Verdict(self.name, rollout.id, score=repeat % 2)


async def with_judge(judge: Moody) -> tuple[Proof, Panel]:
    """Right on 8 rows more of 100: by itself a proven improvement."""
    panel = Panel([Member(judge)])
    program = Scripted({"old": range(40), "new": range(48)}, {})
    evaluator = Evaluator(program, panel, pool=Pool(Slots(8)), max_error_share=1.0, recorder=Unrecorded())
    return await prove(BASELINE, CHALLENGER, ROWS, evaluator), panel


async def test_a_difference_below_the_judges_noise_is_no_improvement() -> None:
    """Invariant 7: refused, with the figures and a way out."""
    judge = Moody(steady=False)
    result, panel = await with_judge(judge)
    assert result.conclusion == "improved"
    refused, noise = await above_noise(result, panel, 8, 3)
    assert refused.conclusion == "not_proven"
    assert judge.asked == 8 * 2
    assert noise is not None
    assert noise["refused"]
    assert noise["floor"] > result.delta.score
    assert "+0.080 over 100 rows is below the noise floor" in noise["message"]


class Coin(Moody):
    """Knows the output alone, and tosses a coin for it: heads for the new prompt's, this time."""

    def question(self, example: Example, rollout: Rollout) -> str:
        return rollout.output

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        return Verdict(self.name, rollout.id, score=float(rollout.output == "yes"))


async def test_one_lucky_verdict_on_many_equal_answers_is_no_improvement() -> None:
    """Invariant 7: the journal gave it to every row, so that a test by rows is as sure as can be."""
    panel = Panel([Member(Coin(steady=False))])
    evaluator = Evaluator(
        Scripted({"old": range(0), "new": range(100)}, {}),
        panel,
        pool=Pool(Slots(8)),
        max_error_share=1.0,
        recorder=Unrecorded(),
    )
    result = await prove(BASELINE, CHALLENGER, ROWS, evaluator)
    assert result.conclusion == "improved"
    assert result.delta.p_value < 1e-20
    refused, noise = await above_noise(result, panel, 8, 3)
    assert refused.conclusion == "not_proven"
    assert noise is not None
    assert (noise["rollouts"], noise["judgements"]) == (2, 6)


async def test_answers_that_no_wavering_judge_saw_have_no_noise() -> None:
    """Judged by code alone, because none of them got as far as the language model."""
    gate, late = Member(ExactMatch()), Member(Moody(steady=False), when="passed")
    panel = Panel([gate, late])
    rows = {"old": range(0), "new": range(0)}
    evaluator = Evaluator(Scripted(rows, {}), panel, pool=Pool(Slots(8)), max_error_share=1.0, recorder=Unrecorded())
    result = replace(await prove(BASELINE, CHALLENGER, ROWS, evaluator), conclusion="improved")
    assert await above_noise(result, panel, 8, 3) == (result, None)


class OnceOnly(Moody):
    """Can not judge anything a second time."""

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        return Verdict(self.name, rollout.id, error=Failure("rate_limit", "slow down"))


async def test_noise_that_could_not_be_measured_is_none_of_0() -> None:
    """Invariants 4 and 7."""
    result, panel = await with_judge(OnceOnly(steady=True))
    refused, noise = await above_noise(result, panel, 8, 3)
    assert refused.conclusion == "not_proven"
    assert noise is not None
    assert (noise["rollouts"], noise["flip_rate"], noise["floor"], noise["refused"]) == (0, None, None, True)
    assert "no answer could be judged twice; most often: slow down" in noise["message"]


async def test_a_steady_judge_refuses_nothing() -> None:
    """Invariant 7."""
    result, panel = await with_judge(Moody(steady=True))
    kept, noise = await above_noise(result, panel, 8, 3)
    assert kept == result
    assert noise is not None
    assert (noise["floor"], noise["refused"]) == (0.0, False)


async def test_no_judgement_is_paid_for_where_it_could_change_nothing() -> None:
    """Deterministic judges, and differences that are not proven anyway, cost nothing more."""
    by_code = await proof({"old": range(40), "new": range(80)})
    assert await above_noise(by_code, Panel([Member(ExactMatch())]), 8, 3) == (by_code, None)
    judge = Moody(steady=False)
    panel = Panel([Member(judge)])
    worse = await proof({"old": range(80), "new": range(40)})
    assert await above_noise(worse, panel, 8, 3) == (worse, None)
    assert await above_noise(by_code, panel, 0, 3) == (by_code, None)
    assert judge.asked == 0
