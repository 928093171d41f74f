"""Several judges, one score."""

import asyncio
import math
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import BudgetSpent, ConfigError, DataError, SystemicError
from promptlearn.judging import ExactMatch, LabelSet, Member, Panel
from promptlearn.records import Example, Failure, Rollout, Verdict

EXAMPLE = Example(id="e1", inputs={"q": "?"}, expected="yes")
ROLLOUT = Rollout(prompt="p", example="e1", output="yes")


@dataclass
class Fixed:
    """A judge that always says the same, or raises."""

    name: str
    score: float | None = 1.0
    passed: bool | None = None
    error: Exception | None = None
    pause: float = 0.0
    seen: list[str] = field(default_factory=list)

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        await asyncio.sleep(self.pause)
        self.seen.append(rollout.id)
        if self.error:
            raise self.error
        return Verdict(name="by another name", rollout="", score=self.score, passed=self.passed, explanation="fixed")


def said(name: str, score: float | None, passed: bool | None = None) -> Verdict:
    return Verdict(name=name, rollout="p/e1", score=score, passed=passed)


async def test_verdicts_come_in_the_members_order_under_their_names() -> None:
    panel = Panel([Member(Fixed("b")), Member(Fixed("a", score=0.5))])
    verdicts = await panel.judge(EXAMPLE, ROLLOUT)
    assert [(v.name, v.rollout, v.score) for v in verdicts] == [("b", "p/e1", 1.0), ("a", "p/e1", 0.5)]
    assert panel.score(verdicts) == 0.75


async def test_a_failed_rollout_is_not_judged() -> None:
    """Invariant 4."""
    judge = Fixed("a")
    failed = Rollout(prompt="p", example="e1", error=Failure("timeout", "no answer"))
    assert await Panel([Member(judge)]).judge(EXAMPLE, failed) == ()
    assert judge.seen == []
    assert Panel([Member(judge)]).score(()) is None


async def test_a_judge_that_raises_has_not_judged() -> None:
    """Invariant 4: one row's failure is a record."""
    panel = Panel([Member(Fixed("a")), Member(Fixed("broken", error=ZeroDivisionError("division by zero")))])
    verdicts = await panel.judge(EXAMPLE, ROLLOUT)
    assert verdicts[1].error == Failure("program", "ZeroDivisionError: division by zero")
    assert panel.score(verdicts) is None


@pytest.mark.parametrize("score", [1.5, -0.5, math.nan, math.inf])
async def test_a_score_off_the_scale_is_no_score(score: float) -> None:
    (verdict,) = await Panel([Member(Fixed("a", score=score))]).judge(EXAMPLE, ROLLOUT)
    assert verdict.score is None
    assert verdict.error is not None


@pytest.mark.parametrize("error", [SystemicError("auth", "wrong key"), DataError("no expected")])
async def test_what_concerns_the_whole_run_is_raised_as_it_is(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        await Panel([Member(Fixed("a")), Member(Fixed("b", error=error))]).judge(EXAMPLE, ROLLOUT)


async def test_an_error_of_the_run_lets_the_other_judges_finish() -> None:
    """What is paid for is not thrown away."""
    slow = Fixed("slow", pause=0.01)
    panel = Panel([Member(Fixed("b", error=BudgetSpent("usd"))), Member(slow)])
    with pytest.raises(BudgetSpent):
        await panel.judge(EXAMPLE, ROLLOUT)
    assert slow.seen == ["p/e1"]


def test_weights_veto_and_optional_members() -> None:
    panel = Panel(
        [
            Member(Fixed("main"), weight=3),
            Member(Fixed("style"), optional=True),
            Member(Fixed("safe"), weight=0, veto=True),
        ]
    )
    assert panel.score([said("main", 1.0), said("style", 0.0), said("safe", 1.0, True)]) == 0.75
    assert panel.score([said("main", 1.0), said("style", None), said("safe", 1.0, True)]) == 1.0
    assert panel.score([said("main", 1.0), said("style", 1.0), said("safe", 0.9, False)]) == 0.0
    assert panel.score([said("main", 1.0), said("style", 1.0), said("safe", 0.0)]) == 0.0
    assert panel.score([said("main", 1.0), said("style", 1.0), said("safe", None)]) is None
    assert panel.score([said("main", 1.0), said("style", 1.0)]) is None
    assert panel.score([said("main", None), said("style", 1.0), said("safe", 1.0)]) is None
    assert panel.score([said("main", 1.0), said("style", 1.0), said("safe", 1.0), said("a person", 0.0)]) == 1.0


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 100)), min_size=1, max_size=6))
def test_the_score_is_a_mean_and_knows_no_order(rows: list[tuple[float, float]]) -> None:
    panel = Panel([Member(Fixed(f"j{i}"), weight=weight) for i, (_, weight) in enumerate(rows)])
    verdicts = [said(f"j{i}", score) for i, (score, _) in enumerate(rows)]
    score = panel.score(verdicts)
    assert score is not None
    assert min(s for s, _ in rows) - 1e-12 <= score <= max(s for s, _ in rows) + 1e-12
    assert panel.score(verdicts[::-1]) == score


@pytest.mark.parametrize(
    "members",
    [
        [],
        [Member(Fixed("a")), Member(Fixed("a"))],
        [Member(Fixed("a"), weight=-1)],
        [Member(Fixed("a"), weight=math.nan)],
        [Member(Fixed("a"), weight=0, veto=True)],
    ],
)
def test_panels_without_a_mean_are_refused(members: list[Member]) -> None:
    with pytest.raises(ConfigError):
        Panel(members)


def test_the_panel_checks_the_examples_with_every_judge_that_can() -> None:
    panel = Panel([Member(Fixed("a")), Member(ExactMatch()), Member(LabelSet(("yes", "no")))])
    panel.check([EXAMPLE])
    with pytest.raises(DataError, match="judge label_set"):
        panel.check([EXAMPLE, Example(id="e2", inputs={"q": "?"}, expected="maybe")])
