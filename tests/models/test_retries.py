from __future__ import annotations

import pytest
from chat_server import Answer, Serve
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import FAILURE_KINDS, BudgetSpent, ModelError, SystemicError
from promptlearn.models.openai import ChatModel
from promptlearn.models.retries import Attempt, RetryingModel, RetryPolicy
from promptlearn.models.scripted import Scripted, ScriptedModel
from promptlearn.records import Message

ASK = [Message("user", "hello")]
RETRYABLE = {"rate_limit", "server", "timeout", "connection", "malformed", "empty"}
EXACT = RetryPolicy(jitter=lambda low, high: high)


class Waits:
    """Stands in for sleeping, and remembers for how long."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.mark.parametrize("kind", FAILURE_KINDS)
def test_only_passing_failures_are_tried_again(kind: str) -> None:
    assert (RetryPolicy().delay(ModelError(kind, ""), 1) is not None) == (kind in RETRYABLE)
    assert RetryPolicy().delay(SystemicError(kind, ""), 1) is None


@given(
    attempt=st.integers(1, 20),
    wish=st.none() | st.floats(0, 1e6),
    kind=st.sampled_from(sorted(RETRYABLE)),
)
def test_waits_are_bounded(attempt: int, wish: float | None, kind: str) -> None:
    policy = RetryPolicy()
    delay = policy.delay(ModelError(kind, "", wish), attempt)
    if delay is None:
        assert attempt >= min(policy.attempts, 2)
    elif wish is None:
        assert 0 <= delay <= min(policy.longest, policy.first * 2 ** (attempt - 1))
    else:
        assert min(wish, 120) <= delay <= min(wish, 120) + policy.first


async def test_waits_double_until_the_last_attempt() -> None:
    waits = Waits()
    inner = ScriptedModel([ModelError("server", f"failure {i}") for i in range(9)])
    with pytest.raises(ModelError, match="failure 5"):
        await RetryingModel(inner, EXACT, sleep=waits).complete(ASK)
    assert waits.seconds == [0.5, 1, 2, 4, 8]
    assert len(inner.calls) == 6


async def test_every_attempt_is_announced_with_the_failure_before_it() -> None:
    seen: list[Attempt] = []

    async def note(attempt: Attempt) -> None:
        seen.append(attempt)

    busy = ModelError("rate_limit", "busy", 3.0)
    waits = Waits()
    model = RetryingModel(ScriptedModel([busy, "done"]), EXACT, note, waits)
    assert (await model.complete(ASK)).text == "done"
    assert seen == [Attempt(1), Attempt(2, busy)]
    assert waits.seconds == [3.5]


async def test_an_announcement_may_end_the_call() -> None:
    """Invariant 1: no attempt is made that the ledger refuses."""

    async def refuse(attempt: Attempt) -> None:
        if attempt.number == 2:
            raise BudgetSpent("no calls left")

    inner = ScriptedModel([ModelError("server", "boom")] * 5)
    with pytest.raises(BudgetSpent):
        await RetryingModel(inner, on_attempt=refuse, sleep=Waits()).complete(ASK)
    assert len(inner.calls) == 1


@pytest.mark.parametrize(("kind", "attempts"), [("empty", 2), ("malformed", 3), ("bad_request", 1)])
async def test_useless_replies_are_not_paid_for_six_times(kind: str, attempts: int) -> None:
    inner = ScriptedModel([ModelError(kind, "useless")] * 9)
    with pytest.raises(ModelError):
        await RetryingModel(inner, sleep=Waits()).complete(ASK)
    assert len(inner.calls) == attempts


async def test_an_endpoint_that_was_never_reached_is_systemic() -> None:
    unreachable: list[Scripted] = [ModelError("connection", "unreachable")] * 6
    with pytest.raises(SystemicError, match="unreachable"):
        await RetryingModel(ScriptedModel(unreachable), sleep=Waits()).complete(ASK)
    model = RetryingModel(ScriptedModel(["hello", *unreachable]), sleep=Waits())
    await model.complete(ASK)
    with pytest.raises(ModelError) as caught:
        await model.complete(ASK)
    assert not isinstance(caught.value, SystemicError)


async def test_over_a_real_socket(serve: Serve) -> None:
    script: list[Answer | str] = [
        Answer("", 503),
        Answer("", 429, {"Retry-After": "2"}),
        Answer("x" * 99, cut=9),
        Answer(delay=1),
        "at last",
    ]
    server = await serve(script)
    waits = Waits()
    model = RetryingModel(ChatModel("openai/m", server.url, timeout=0.3), EXACT, sleep=waits)
    reply = await model.complete(ASK)
    await model.close()
    assert reply.text == "at last"
    assert waits.seconds == [0.5, 2.5, 2, 4]
    assert (model.name, model.identity, model.price) == ("openai/m", f"{server.url}#m", None)
