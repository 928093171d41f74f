from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import FAILURE_KINDS, ModelError, SystemicError
from promptlearn.models.retries import RetryPolicy, outlived

RETRYABLE = {"rate_limit", "server", "timeout", "connection", "malformed", "empty"}
EXACT = RetryPolicy(jitter=lambda low, high: high)


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
        assert wish <= delay <= wish + policy.first


def waits(kind: str) -> list[float]:
    """Seconds between attempts until the policy gives up."""
    found: list[float] = []
    while (delay := EXACT.delay(ModelError(kind, ""), len(found) + 1)) is not None:
        found.append(delay)
    return found


def test_waits_double_until_the_last_attempt() -> None:
    assert waits("server") == [0.5, 1, 2, 4, 8]


@pytest.mark.parametrize(("kind", "attempts"), [("empty", 2), ("malformed", 3), ("bad_request", 1)])
def test_useless_replies_are_not_paid_for_six_times(kind: str, attempts: int) -> None:
    assert len(waits(kind)) + 1 == attempts


def test_retry_after_is_obeyed_on_top_of_jitter() -> None:
    assert EXACT.delay(ModelError("rate_limit", "busy", 3.0), 1) == 3.5


def test_a_wait_has_no_end_of_attempts() -> None:
    assert EXACT.wait(ModelError("rate_limit", ""), 5000) == EXACT.longest


def test_an_endpoint_that_was_never_reached_is_systemic() -> None:
    refused = ModelError("connection", "refused")
    assert isinstance(outlived(refused, reached=False), SystemicError)
    assert outlived(refused, reached=True) is refused
