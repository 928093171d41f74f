"""Several judges, one score."""

import asyncio
import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import BudgetSpent, ConfigError, DataError, SystemicError
from promptlearn.judging import Contains, ExactMatch, LabelSet, Member, Panel
from promptlearn.records import Example, Failure, Rollout, Verdict
from promptlearn.store.codec import decode, encode

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


@dataclass
class Returns:
    """A judge that returns what it was given, whatever that is."""

    said: object
    name: str = "odd"

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        return self.said  # type: ignore[return-value]


NO_NUMBER = Verdict("v", "", score="0.7")  # type: ignore[arg-type]


@pytest.mark.parametrize("returned", [None, 0.5, {"score": 1}, NO_NUMBER])
async def test_what_is_no_verdict_is_one_failed_judgement(returned: object) -> None:
    """Invariant 4: one row's failure is a record."""
    panel = Panel([Member(Returns(returned))])
    (verdict,) = await panel.judge(EXAMPLE, ROLLOUT)
    assert (verdict.name, verdict.rollout, verdict.score) == ("odd", "p/e1", None)
    assert verdict.error is not None
    assert verdict.error.kind == "program"
    assert panel.score([verdict]) is None


async def test_a_score_beside_an_error_is_no_score() -> None:
    """Invariant 4: nor does a failure fire a veto."""
    failed = Verdict("v", "", score=0.0, passed=False, error=Failure("timeout", "no answer"))
    panel = Panel([Member(Fixed("a")), Member(Returns(failed), veto=True)])
    verdicts = await panel.judge(EXAMPLE, ROLLOUT)
    assert (verdicts[1].score, verdicts[1].passed, verdicts[1].error) == (None, None, failed.error)
    assert panel.score(verdicts) is None


async def test_what_a_verdict_says_in_other_types_can_be_kept() -> None:
    loose: dict[str, Any] = {"score": Fraction(1, 2), "label": 3, "explanation": None, "passed": 0}
    (verdict,) = await Panel([Member(Returns(Verdict("v", "", **loose)))]).judge(EXAMPLE, ROLLOUT)
    assert verdict == decode(Verdict, encode(verdict))
    assert (verdict.score, verdict.label, verdict.explanation, verdict.passed) == (0.5, "3", "", False)


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


def test_a_veto_holds_where_another_judge_failed() -> None:
    panel = Panel([Member(Fixed("main")), Member(Fixed("safe"), weight=0, veto=True)])
    fired = [said("main", None), said("safe", 0.0, False)]
    assert (panel.score(fired), panel.passed(fired)) == (0.0, False)
    quiet = [said("main", None), said("safe", 1.0, True)]
    assert (panel.score(quiet), panel.passed(quiet)) == (None, None)
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


# Judges that wait for others, judges that do not steer, and no partial credit


async def test_a_judge_that_waits_is_asked_about_what_passed_alone() -> None:
    """Cheap judges first; what they hold up is not judged, with the reason."""
    costly = Fixed("costly", score=0.4)
    panel = Panel([Member(costly, when="passed"), Member(LabelSet(("yes", "no")))])
    wrong = Rollout(prompt="p", example="e1", output="no")
    held, cheap = await panel.judge(EXAMPLE, wrong)
    assert (held.name, held.score, held.error, held.label) == ("costly", None, None, "skipped")
    assert held.explanation == "not judged: label_set did not pass, and costly is asked about what passes"
    assert costly.seen == []
    assert panel.score((held, cheap)) == 0.0
    asked = await panel.judge(EXAMPLE, ROLLOUT)
    assert [verdict.score for verdict in asked] == [0.4, 1.0]
    assert panel.score(asked) == 0.7


async def test_a_gate_that_could_not_judge_is_named_for_that() -> None:
    late = Fixed("late")
    panel = Panel([Member(Fixed("gate", error=RuntimeError("down"))), Member(late, when="passed")])
    gate, held = await panel.judge(EXAMPLE, ROLLOUT)
    assert gate.error is not None
    assert held.explanation == "not judged: gate could not judge, and late is asked about what passes"
    assert (late.seen, panel.score((gate, held))) == ([], None)


async def test_failing_a_gate_never_earns_more_than_passing_it() -> None:
    """A judgement that a failed gate held up counts 0 at its weight, and no veto, and the verdict has no score."""
    gate = Contains(needles=("a", "b", "c", "d"))
    late = Fixed("late", score=0.2, passed=False)
    panel = Panel([Member(gate), Member(late, weight=3, when="passed"), Member(Fixed("veto"), 0, True, when="passed")])
    passing = await panel.judge(EXAMPLE, Rollout("p", "e1", "a b c d"))
    failing = await panel.judge(EXAMPLE, Rollout("p", "e1", "a b c"))
    assert [verdict.score for verdict in failing] == [0.75, None, None]
    assert panel.score(passing) == pytest.approx(0.4)
    assert panel.score(failing) == 0.75 / 4
    assert not panel.vetoed(failing)


def test_only_a_judge_that_waits_can_be_held_up() -> None:
    """Invariant 4."""
    panel = Panel([Member(Fixed("main")), Member(Fixed("own"))])
    assert panel.score([said("main", 1.0), Verdict("own", "p/e1", label="skipped")]) is None


@pytest.mark.parametrize(
    ("verdicts", "passed"),
    [
        ([said("main", 0.8, True), said("late", 0.5)], True),
        ([said("main", 1.0, False), said("late", 1.0)], False),
        ([said("main", 0.2, False), Verdict("late", "p/e1", label="skipped")], False),
        ([said("main", 1.0, True), said("late", None)], None),
    ],
)
def test_a_row_passes_where_every_judge_that_counts_passes_it(verdicts: list[Verdict], passed: bool | None) -> None:
    panel = Panel([Member(Fixed("main")), Member(Fixed("late"), when="passed"), Member(Fixed("comment"), weight=0)])
    assert panel.passed([*verdicts, said("comment", 0.0)]) is passed


async def test_a_judge_waits_in_vain_where_one_before_it_could_not_judge() -> None:
    costly = Fixed("costly")
    panel = Panel([Member(Fixed("broken", error=ValueError("no"))), Member(costly, when="passed")])
    verdicts = await panel.judge(EXAMPLE, ROLLOUT)
    assert costly.seen == []
    assert panel.score(verdicts) is None


async def test_a_veto_that_holds_up_everybody_else_is_a_zero() -> None:
    members = [
        Member(Fixed("guard", score=0.0, passed=False), weight=0, veto=True),
        Member(Fixed("main"), when="passed"),
    ]
    panel = Panel(members)
    assert panel.score(await panel.judge(EXAMPLE, ROLLOUT)) == 0.0


async def test_an_optional_judge_that_failed_holds_nothing_up() -> None:
    """Invariant 4."""
    costly = Fixed("costly")
    broken = Member(Fixed("broken", error=ValueError("no")), optional=True)
    panel = Panel([Member(Fixed("main")), broken, Member(costly, when="passed")])
    assert panel.score(await panel.judge(EXAMPLE, ROLLOUT)) == 1.0
    assert costly.seen == ["p/e1"]


async def test_a_judge_that_only_comments_holds_nothing_up() -> None:
    costly = Fixed("costly")
    members = [Member(Fixed("main")), Member(Fixed("comment", score=0.0), weight=0), Member(costly, when="passed")]
    await Panel(members).judge(EXAMPLE, ROLLOUT)
    assert costly.seen == ["p/e1"]


async def test_a_gold_judge_judges_held_out_rows_and_does_not_steer() -> None:
    gold = Fixed("gold", score=0.0)
    panel = Panel([Member(Fixed("main")), Member(gold, gold=True)])
    assert [verdict.name for verdict in await panel.judge(EXAMPLE, ROLLOUT, "train")] == ["main"]
    verdicts = await panel.judge(EXAMPLE, ROLLOUT, "validation")
    assert [(verdict.name, verdict.gold) for verdict in verdicts] == [("main", False), ("gold", True)]
    assert panel.score(verdicts) == 1.0
    assert panel.score([said("main", 1.0)]) == 1.0


def test_without_partial_credit_every_judge_that_counts_has_to_pass() -> None:
    members = [
        Member(Fixed("main")),
        Member(Fixed("form"), weight=0.1),
        Member(Fixed("comment"), weight=0),
        Member(Fixed("late"), when="passed"),
    ]
    panel = Panel(members, all_pass=True)

    def score(main: Verdict, form: Verdict) -> float | None:
        return panel.score([main, form, said("comment", 0.0, False), said("late", 1.0, True)])

    assert score(said("main", 0.8, True), said("form", 1.0, True)) == 1.0
    assert score(said("main", 1.0, True), said("form", 0.9, False)) == 0.0
    assert score(said("main", 1.0, True), said("form", None)) is None


@dataclass
class Moody(Fixed):
    """Says something else each time."""

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        return Verdict(name=self.name, rollout=rollout.id, score=repeat / 4, explanation=f"time {repeat}")


async def test_asking_again_asks_those_alone_who_may_say_something_else() -> None:
    sure = Fixed("sure")
    panel = Panel([Member(sure), Member(Moody("moody")), Member(Fixed("gold"), gold=True)])
    assert panel.stochastic
    assert not Panel([Member(sure), Member(Moody("moody"), gold=True)]).stochastic
    first = await panel.judge(EXAMPLE, ROLLOUT)
    again = await panel.judge_again(EXAMPLE, ROLLOUT, first, 3)
    assert [(verdict.name, verdict.score) for verdict in again] == [("sure", 1.0), ("moody", 0.75)]
    assert sure.seen == ["p/e1"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ([Member(Fixed("a"), when="passed")], "every judge waits"),
        ([Member(Fixed("a"), weight=0), Member(Fixed("b"), when="passed")], "every judge waits"),
        ([Member(Fixed("a"), gold=True)], "no judge has a weight"),
    ],
)
def test_panels_that_could_not_score_anything_are_refused(members: list[Member], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Panel(members)
