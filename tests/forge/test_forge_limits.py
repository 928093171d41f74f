"""Whether a question to GitHub is asked again, and when."""

from email.utils import formatdate

import pytest

from promptlearn.forge.limits import Pause, clock, moment, pause_after, retry_after, spent_until

NOW = 1_780_000_000.0
SPENT = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW) + 600)}
SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."


def seconds(pause: Pause | None) -> float | None:
    return None if pause is None else pause.seconds


@pytest.mark.parametrize(
    ("status", "headers", "said", "expected"),
    [
        (403, {"retry-after": "7"}, SECONDARY, 7),
        (429, {"retry-after": "7"}, "", 7),
        (403, {**SPENT, "retry-after": "7"}, "", 7),
        (403, SPENT, "API rate limit exceeded", 601),
        (429, SPENT, "", 601),
        (403, SPENT, SECONDARY, 60),
        (403, {}, SECONDARY, 60),
        (429, {}, "", 60),
        (403, {}, "Resource not accessible by integration", None),
        (403, {"x-ratelimit-remaining": "12", "x-ratelimit-reset": "1"}, "Must have push access", None),
        (200, SPENT, "", None),
        (404, {}, "", None),
        (502, {}, "", 1),
        (503, {"retry-after": "9"}, "", 9),
        (0, {}, "", 1),
    ],
)
def test_each_refusal_has_its_pause(status: int, headers: dict[str, str], said: str, expected: float | None) -> None:
    assert seconds(pause_after(status, headers, said, 1, NOW)) == expected


def test_waiting_grows_and_failures_are_given_up() -> None:
    assert [seconds(pause_after(403, {}, SECONDARY, attempt, NOW)) for attempt in (1, 2, 3)] == [60, 120, 240]
    assert [seconds(pause_after(502, {}, "", attempt, NOW)) for attempt in range(1, 6)] == [1, 2, 4, 8, None]


def test_graphql_names_its_limit_with_status_200() -> None:
    pause = pause_after(200, SPENT, "API rate limit exceeded", 1, NOW, limited=True)
    assert pause is not None
    assert (pause.seconds, pause.limit) == (601, True)


def test_retry_after_may_be_a_date() -> None:
    assert retry_after({"retry-after": formatdate(NOW + 30, usegmt=True)}, NOW) == 30
    assert retry_after({"retry-after": "soon"}, NOW) is None
    assert retry_after({"retry-after": "inf"}, NOW) is None


def test_the_hour_is_spent_when_less_is_left_than_needed() -> None:
    left = {"x-ratelimit-remaining": "50", "x-ratelimit-reset": "123"}
    assert spent_until(left) is None
    assert spent_until(left, needed=51) == 123
    assert spent_until({}) is None


def test_the_server_s_clock_is_read_and_written_as_github_does() -> None:
    assert clock({"date": "Mon, 01 Jun 2026 12:00:00 GMT"}) == 1780315200
    assert moment(1780315200) == "2026-06-01T12:00:00Z"
    assert clock({}) is None
