"""Comments as the command line shows and chooses them: one entry each, its JSON, and who stands behind it.

Knows entries and filters; no command and nothing of what is decided.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from promptlearn.feedback.survey import Entry
    from promptlearn.store import Store

STATES = ("pending", "approved", "dismissed")


def survey_store(store: Store, paths: Sequence[str] | None, **of: Any) -> list[Entry]:
    """Every comment of a store, with all that is known about it."""
    from promptlearn.comments import SUSPICIOUS
    from promptlearn.config.reviews import stated_reviews
    from promptlearn.feedback.survey import survey

    wanted = paths or stated_reviews(Path()).get("paths") or ()
    return survey(store.feedback.items(**of), tuple(wanted), SUSPICIOUS)


def choose(
    entries: Sequence[Entry],
    kinds: Sequence[str] | None,
    min_support: int = 1,
    repo: str | None = None,
    author: str | None = None,
) -> list[Entry]:
    """What all filters let through, with most support first, then the oldest."""
    chosen = [
        entry
        for entry in entries
        if (not kinds or entry.kind in kinds)
        and (min_support == 1 or (entry.support is not None and entry.support.count >= min_support))
        and (repo is None or entry.row.received.comment.repo.casefold() == repo.casefold())
        and (author is None or entry.row.received.comment.author.login.casefold() == author.casefold())
    ]
    return sorted(chosen, key=_weight)


def check_kinds(kinds: Sequence[str] | None) -> None:
    from promptlearn.errors import UsageError
    from promptlearn.feedback.classify import KINDS

    for kind in kinds or ():
        if kind not in KINDS:
            raise UsageError(f"{kind!r} is no class; possible: {', '.join(KINDS)}")


def check_state(state: str | None) -> None:
    from promptlearn.errors import UsageError

    if state is not None and state not in STATES:
        raise UsageError(f"{state!r} is no state; possible: {', '.join(STATES)}")


def short(ref: str) -> str:
    return ref[:8]


def why_not_used(entry: Entry) -> str:
    """Why a comment counts for nothing, for people; empty where it may count."""
    from promptlearn.forge.trust import REASONS

    dropped = entry.row.received.dropped
    return REASONS.get(dropped, dropped)


def document(entry: Entry) -> dict[str, Any]:
    """An entry as JSON. Its keys are a promise: more may come, these stay."""
    row, comment, support = entry.row, entry.row.received.comment, entry.support
    return {
        "ref": entry.ref,
        "state": row.state,
        "class": entry.kind,
        "reason": entry.found.reason,
        "classified_by": entry.found.by,
        "rule": entry.rule,
        "text": row.received.text,
        "digest": entry.digest,
        "removed": [{"kind": removal.kind, "detail": removal.detail} for removal in row.received.removals],
        "author": comment.author.login,
        "association": comment.association,
        "permission": row.received.permission,
        "trusted": not row.received.dropped,
        "not_used": why_not_used(entry),
        "support": None
        if support is None
        else {"authors": support.authors, "pull_requests": support.pulls, "reactions": support.reactions},
        "same": list(entry.same),
        "speaker": entry.speaker,
        "contradicts": list(entry.against),
        "objections": list(entry.objections),
        "suspicions": list(entry.suspicions),
        "repo": comment.repo,
        "pull_request": comment.pull or None,
        "path": comment.path,
        "url": comment.url or None,
        "created_at": comment.created_at,
        "decision": None
        if row.decision is None
        else {"by": row.decision.by, "at": row.decision.at, "note": row.decision.note},
    }


def trust(entry: Entry) -> str:
    """What the author may do, as far as it is known; empty for those who are not trusted."""
    received = entry.row.received
    return "" if received.dropped else received.permission or received.comment.association.lower()


def standing(entry: Entry) -> str:
    """Who stands behind a statement, in a few characters: `2 authors, 3 PRs, +1`."""
    if entry.support is None:
        return "–"
    authors, pulls, given = entry.support.authors, entry.support.pulls, entry.support.reactions
    parts = [f"{authors} {'author' if authors == 1 else 'authors'}"]
    parts += [f"{pulls} {'PR' if pulls == 1 else 'PRs'}"] if pulls else []
    return ", ".join([*parts, *([f"{given:+d}"] if given else [])])


def remarks(entry: Entry) -> str:
    """What a person should know before they decide."""
    notes = [f"not used: {why_not_used(entry)}" if why_not_used(entry) else ""]
    notes += [f"same as {short(entry.speaker)}" if entry.speaker != entry.ref else ""]
    notes += [f"against {', '.join(map(short, entry.against))}" if entry.against else "", *entry.suspicions]
    notes += [f"no rule: {'; '.join(entry.objections)}" if entry.rule and entry.objections else ""]
    return "; ".join(filter(None, notes))


def _weight(entry: Entry) -> tuple[int, int, int]:
    """Stable, so that what is equal stays in the order in which it was said."""
    support = entry.support
    rank = 0 if support is not None else 1 if not entry.row.received.dropped else 2
    return (rank, -support.count, -support.reactions) if support else (rank, 0, 0)
