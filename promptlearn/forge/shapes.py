"""GitHub's GraphQL objects as our records. Plain functions; which fields there are stands in `queries`.

Texts lose what looks like a secret here, before anything else sees them (invariant 10).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from promptlearn.comments import Annotation, Author, Check, Comment, PullRequest, PullState, Thread
from promptlearn.forge.suggestions import read_suggestions
from promptlearn.records import Json

Clean = Callable[[str], str]
"""Takes secrets out of a text."""

_STATES: Mapping[str, PullState] = {"OPEN": "open", "CLOSED": "closed", "MERGED": "merged"}
_WELL = ("", "SUCCESS", "NEUTRAL", "SKIPPED", "STALE", "EXPECTED", "PENDING")
"""Conclusions of checks and states of statuses that say nothing about what is wrong."""


def author(node: Json) -> Author:
    """None stands for an account that was deleted (`ghost`), a mannequin for one that was never there."""
    if not node or node.get("__typename") == "Mannequin":
        return Author(kind="deleted")
    login = str(node["login"])
    bot = node.get("__typename") == "Bot" or login.endswith("[bot]")
    return Author(login.removesuffix("[bot]"), str(node.get("id") or ""), "bot" if bot else "user")


def pull_request(node: Json, repo: str) -> PullRequest:
    return PullRequest(
        repo=repo,
        number=int(node["number"]),
        id=node["id"],
        url=node["url"],
        title=node["title"],
        author=author(node["author"]),
        state=_STATES[node["state"]],
        head=node["headRefOid"],
        updated_at=node["updatedAt"],
        created_at=node["createdAt"],
        draft=node["isDraft"],
        fork=node["isCrossRepository"],
        head_ref=node["headRefName"],
        base_ref=node["baseRefName"],
        labels=tuple(label["name"] for label in (node["labels"] or {}).get("nodes") or () if label),
    )


def thread(node: Json) -> Thread:
    return Thread(node["id"], node["isResolved"], node["isOutdated"], (node["resolvedBy"] or {}).get("login", ""))


def inline(node: Json, pull: PullRequest, of: Thread, side: str, clean: Clean) -> Comment | None:
    """A comment on a line or file; None for one that its author has not sent yet."""
    if node["state"] == "PENDING":
        return None
    body, hunk = clean(node["body"]), clean(node["diffHunk"])
    review = node["pullRequestReview"] or {}
    whole_file = node["subjectType"] == "FILE"
    first, last = node["originalStartLine"], node["originalLine"]
    return Comment(
        **_common(node, pull, body),
        kind="inline",
        created_at=node["createdAt"],
        path=node["path"],
        side="FILE" if whole_file else side,
        line=node["line"],
        start_line=node["startLine"],
        original_line=last,
        original_start_line=first,
        hunk=hunk,
        commit=_oid(node["commit"]),
        original_commit=_oid(node["originalCommit"]),
        review=review.get("id"),
        verdict=review.get("state") or "",
        thread=of,
        reply_to=(node["replyTo"] or {}).get("id"),
        suggestions=() if whole_file else read_suggestions(body, hunk, first, last),
    )


def review(node: Json, pull: PullRequest, clean: Clean) -> Comment:
    """A review's own words. GitHub has no original commit of it; the store keeps the first one that it saw."""
    return Comment(
        **_common(node, pull, clean(node["body"])),
        kind="review",
        created_at=node["submittedAt"] or node["createdAt"],
        commit=_oid(node["commit"]),
        review=node["id"],
        verdict=node["state"],
    )


def conversation(node: Json, pull: PullRequest, clean: Clean) -> Comment:
    return Comment(**_common(node, pull, clean(node["body"])), kind="conversation", created_at=node["createdAt"])


def annotation(node: Json, clean: Clean) -> Annotation:
    line = ((node["location"] or {}).get("start") or {}).get("line")
    level, title = str(node["annotationLevel"] or "").lower(), clean(node["title"] or "")
    return Annotation(node["path"], clean(node["message"]), line, level, title)


def check(node: Json) -> Check:
    """How a check run or a commit status ended."""
    if node["__typename"] == "StatusContext":
        return Check(node["context"], node["state"].lower(), node["targetUrl"] or "")
    return Check(node["name"], (node["conclusion"] or "").lower(), node["url"] or "")


def words_of_check(node: Json, pull: PullRequest, annotations: Sequence[Annotation], clean: Clean) -> Comment | None:
    """What a check says about what is wrong; None where it says nothing."""
    status = node["__typename"] == "StatusContext"
    conclusion = str((node["state"] if status else node["conclusion"]) or "")
    if conclusion in _WELL and not annotations:
        return None
    if status:
        poster, words = node["creator"] or {}, [node["context"], node["description"]]
        login, at, url = poster.get("login", ""), node["createdAt"], node["targetUrl"]
    else:
        poster, words = (node["checkSuite"] or {}).get("app") or {}, [node["name"], node["title"], node["summary"]]
        login, at, url = poster.get("slug", ""), node["completedAt"] or node["startedAt"], node["url"]
    at = at or pull.updated_at
    return Comment(
        id=node["id"],
        kind="check",
        repo=pull.repo,
        pull=pull.number,
        url=url or pull.url,
        body=clean("\n\n".join(text for text in words if text)),
        author=Author(login, poster.get("id", ""), "bot"),
        association="",
        created_at=at,
        updated_at=at,
        fork=pull.fork,
        verdict=conclusion.lower(),
        original_commit=pull.head,
        annotations=tuple(annotations),
    )


def _common(node: Json, pull: PullRequest, body: str) -> dict[str, Json]:
    return {
        "id": node["id"],
        "repo": pull.repo,
        "pull": pull.number,
        "url": node["url"],
        "body": body,
        "author": author(node["author"]),
        "association": node["authorAssociation"],
        "updated_at": node["updatedAt"],
        "edited_at": node["lastEditedAt"],
        "fork": pull.fork,
        "minimized": (node["minimizedReason"] or "unknown").lower() if node["isMinimized"] else "",
        "reactions": reactions(node["reactionGroups"]),
    }


def reactions(groups: Json) -> dict[str, int]:
    """Those that somebody gave."""
    counted = {group["content"]: int(group["reactors"]["totalCount"]) for group in groups or ()}
    return {content: count for content, count in counted.items() if count}


def _oid(commit: Json) -> str | None:
    return commit["oid"] if commit else None
