"""GitHub's webhook deliveries: whether one is genuine, and which pull requests it says to read again. Pure functions.

    if verify(secret, raw, request.headers.get(SIGNATURE)):
        for pull in wanted(request.headers[EVENT], json.loads(raw)): ...

A signature holds no time, so a delivery can be replayed; and deliveries come late, twice, out of order or never. So an
event is not believed to say what happened: it only says *read this pull request again*. Knows no server and no store.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from promptlearn.records import Json

SIGNATURE = "X-Hub-Signature-256"
EVENT = "X-GitHub-Event"
DELIVERY = "X-GitHub-Delivery"

EVENTS: Mapping[str, frozenset[str]] = {
    "pull_request": frozenset({"closed", "reopened", "synchronize"}),
    "pull_request_review": frozenset({"submitted", "edited", "dismissed"}),
    "pull_request_review_comment": frozenset({"created", "edited", "deleted"}),
    "pull_request_review_thread": frozenset({"resolved", "unresolved"}),
    "issue_comment": frozenset({"created", "edited", "deleted"}),
    "check_run": frozenset({"completed"}),
}
"""Events to subscribe to, and the actions among them that change what a pull request says."""

_REPO = re.compile(r"[\w-][\w.-]{0,99}/(?!\.{1,2}\Z)[\w.-]{1,100}", re.ASCII)
_LARGEST = 2**31 - 1


@dataclass(frozen=True, slots=True, order=True)
class PullRef:
    """A pull request to read."""

    repo: str
    """`owner/name`."""
    number: int

    def __str__(self) -> str:
        return f"{self.repo}#{self.number}"


def sign(secret: str, raw: bytes) -> str:
    """The signature header of a body: `sha256=` and HMAC-SHA256 over the raw bytes, in hexadecimal."""
    return "sha256=" + hmac.new(secret.encode(), raw, hashlib.sha256).hexdigest()


def verify(secret: str, raw: bytes, header: str | None) -> bool:
    """Whether `header` is the signature of these bytes; in constant time, and before anything is parsed.

    False without a header, and for an empty secret, with which anybody could sign.
    """
    if not secret or header is None:
        return False
    return hmac.compare_digest(sign(secret, raw).encode(), header.encode("utf-8", "surrogateescape"))


def wanted(event: str, payload: Json) -> tuple[PullRef, ...]:
    """The pull requests that a delivery says to read again; none for any other event, action or shape.

    Several only for a `check_run`, whose commit may be the head of more than one. Comments on issues that are no pull
    requests are left aside, and so are pull requests of other repositories (a fork's check run names its parent's).
    """
    if not isinstance(payload, dict) or payload.get("action") not in EVENTS.get(event, ()):
        return ()
    repo = _at(payload, "repository", "full_name")
    if not isinstance(repo, str) or not _REPO.fullmatch(repo):
        return ()
    return tuple(PullRef(repo, number) for number in _numbers(event, payload) if _is_number(number))


def _numbers(event: str, payload: Mapping[str, Any]) -> list[Any]:
    if event == "issue_comment":
        issue = payload.get("issue")
        return [issue.get("number")] if isinstance(issue, dict) and issue.get("pull_request") else []
    if event == "check_run":
        pulls = _at(payload, "check_run", "pull_requests")
        here = _at(payload, "repository", "id")
        listed = pulls if isinstance(pulls, list) else []
        own = [_at(pull, "number") for pull in listed if _at(pull, "base", "repo", "id") == here]
        return list(dict.fromkeys(number for number in own if _is_number(number)))
    return [_at(payload, "pull_request", "number")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= _LARGEST


def _at(value: Json, *path: str) -> Json:
    """The value under a path of keys; None where one is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value
