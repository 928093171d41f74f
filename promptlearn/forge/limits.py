"""Decides whether a question to GitHub is asked again, and when. Decides only: waiting and asking is `wire`'s.

GitHub has an hourly limit (`x-ratelimit-remaining` and `-reset`), secondary limits against bursts (403 or 429, with
`Retry-After` or only in words), and times at which its gateway gives up (502, 503, 504).
https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

PATIENCE = 900.0
"""Seconds that one question may wait for limits, unless somebody says otherwise."""
ATTEMPTS = 5
"""Questions for one answer while GitHub's servers fail."""
_SECONDARY = re.compile(r"secondary rate|abuse detection|submitted too quickly", re.IGNORECASE)
_MINUTE = 60.0
_LONGEST_BACKOFF = 30.0


@dataclass(frozen=True, slots=True)
class Pause:
    seconds: float
    why: str
    """For people: whose fault it is."""
    limit: bool
    """Whether it is a limit, which ends by waiting, or a failure, which may not."""


def pause_after(
    status: int, headers: Mapping[str, str], said: str, attempt: int, now: float, limited: bool = False
) -> Pause | None:
    """What to do about an answer: wait so long and ask again, or nothing (None).

    `headers` have lower-case names, `said` is the answer's own message, `attempt` counts from 1, `now` is the server's
    clock in seconds of Unix time; `limited` says that the answer names itself a limit (GraphQL does, with status 200).
    `status` 0 stands for no answer at all.
    """
    if status in (403, 429) or limited:
        return _pause_of_limit(status, headers, said, attempt, now, limited)
    if status in (0, 408, 500, 502, 503, 504) and attempt < ATTEMPTS:
        after = retry_after(headers, now)
        return Pause(min(_LONGEST_BACKOFF, 2.0 ** (attempt - 1)) if after is None else after, "a failure there", False)
    return None


def spent_until(headers: Mapping[str, str], needed: float = 1) -> float | None:
    """When the hour ends whose limit leaves less than `needed`; Unix time, or None where enough is left."""
    try:
        remaining, reset = float(headers["x-ratelimit-remaining"]), float(headers["x-ratelimit-reset"])
    except (KeyError, ValueError):
        return None
    return reset if remaining < needed else None


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds, from a number or a date (RFC 9110 §10.2.3), or None."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            moment = parsedate_to_datetime(text)
        except ValueError:
            return None
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() - now
    return max(0.0, seconds) if isfinite(seconds) else None


def clock(headers: Mapping[str, str]) -> float | None:
    """The server's time in seconds of Unix time, from `Date`."""
    try:
        return parsedate_to_datetime(headers["date"]).timestamp()
    except (KeyError, ValueError):
        return None


def moment(seconds: float) -> str:
    """Unix time as ISO 8601 in UTC, as GitHub writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _pause_of_limit(
    status: int, headers: Mapping[str, str], said: str, attempt: int, now: float, limited: bool
) -> Pause | None:
    after = retry_after(headers, now)
    if after is not None:
        return Pause(after, "a secondary limit", True)
    reset = spent_until(headers)
    if reset is not None and not _SECONDARY.search(said):
        return Pause(max(1.0, reset - now + 1), "the hourly limit", True)
    if status == 429 or limited or _SECONDARY.search(said):
        return Pause(_MINUTE * 2 ** (attempt - 1), "a secondary limit", True)
    return None
