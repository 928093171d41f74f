"""A function of the user's: everything it may return, and everything that it may do wrong."""

from fractions import Fraction
from typing import Any

import pytest

from promptlearn.errors import BudgetSpent, ModelError, SystemicError
from promptlearn.judging import Callable
from promptlearn.records import Example, Rollout, Verdict

EXAMPLE = Example(id="e1", inputs={"q": "?"}, expected="yes")
ROLLOUT = Rollout(prompt="p", example="e1", output="no")


async def judged(result: Any) -> Verdict:
    def check(example: Example, rollout: Rollout) -> Any:
        assert (example, rollout) == (EXAMPLE, ROLLOUT)
        if isinstance(result, Exception):
            raise result
        return result

    return await Callable(check).judge(EXAMPLE, ROLLOUT)


@pytest.mark.parametrize(
    ("result", "score", "passed"),
    [(True, 1.0, True), (False, 0.0, False), (0.75, 0.75, True), (0, 0.0, False), (Fraction(1, 4), 0.25, False)],
)
async def test_bare_scores(result: Any, score: float, passed: bool) -> None:
    verdict = await judged(result)
    assert (verdict.score, verdict.passed, verdict.error) == (score, passed, None)
    assert verdict.explanation == f"check returned {result!r}"


async def test_score_with_words() -> None:
    verdict = await judged((0.2, "no greeting"))
    assert (verdict.score, verdict.explanation) == (0.2, "no greeting")
    verdict = await judged(
        {"value": 0.2, "reason": "no greeting", "label": "rude", "suggestion": "Greet first.", "passed": True}
    )
    assert (verdict.score, verdict.explanation, verdict.label) == (0.2, "no greeting", "rude")
    assert (verdict.suggestion, verdict.passed) == ("Greet first.", True)


async def test_a_verdict_is_taken_over() -> None:
    verdict = await judged(Verdict(name="x", rollout="y", score=0.5, explanation="half"))
    assert (verdict.name, verdict.rollout, verdict.score, verdict.explanation) == ("check", "p/e1", 0.5, "half")


@pytest.mark.parametrize(
    "result",
    [None, "yes", 3, -0.1, float("nan"), float("inf"), {}, {"scor": 1}, (1, 2, 3), [1], Verdict("x", "y", score=7.0)],
)
async def test_anything_else_is_a_failure_and_no_score(result: Any) -> None:
    """Invariant 4."""
    verdict = await judged(result)
    assert verdict.score is None
    assert verdict.error is not None
    assert verdict.error.kind == "program"
    assert "\n" not in verdict.error.message


async def test_an_exception_is_a_failure_and_no_score() -> None:
    """Invariant 4."""
    verdict = await judged(KeyError("price"))
    assert verdict.score is None
    assert verdict.error is not None
    assert (verdict.error.kind, verdict.error.message) == ("program", "KeyError: 'price'")
    verdict = await judged(ValueError("two\nlines" + "!" * 1000))
    assert verdict.error is not None
    assert verdict.error.message.startswith("ValueError: two lines!!!")
    assert verdict.error.message.endswith("characters left out]")
    verdict = await judged(ModelError("timeout", "no answer in 60 s"))
    assert verdict.error is not None
    assert verdict.error.kind == "timeout"


@pytest.mark.parametrize("error", [SystemicError("auth", "wrong key"), BudgetSpent("usd")])
async def test_what_concerns_the_whole_run_is_raised(error: Exception) -> None:
    with pytest.raises(type(error)):
        await judged(error)


async def test_async_functions_and_names() -> None:
    async def later(example: Example, rollout: Rollout) -> float:
        return 1.0

    assert (await Callable(later, name="mine").judge(EXAMPLE, ROLLOUT)).score == 1.0
    assert Callable(later, name="mine").name == "mine"
    assert Callable(later).name == "later"
