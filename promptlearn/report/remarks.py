"""What people said on pull requests: who, how far they are trusted, what was decided, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import Effect
from promptlearn.store.feedback_rows import FeedbackEvent, FeedbackState

if TYPE_CHECKING:
    from promptlearn.feedback.survey import Entry
    from promptlearn.store import Store

PAGE = 50
RUNS = 20
"""Newest runs whose best prompts are looked through for what became of a remark."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One learned rule that a remark led to."""

    run: str
    rule: str
    effect: Effect | None


@dataclass(frozen=True, slots=True)
class Remark:
    """One comment as a person decides about it. Its texts come from outside: data, never markup (invariant 9)."""

    ref: str
    """What `promptlearn feedback` calls it."""
    author: str
    association: str
    """What the forge calls the author: `OWNER`, `MEMBER`, …"""
    trusted: bool
    """Whether the author's words may be learned from, once approved."""
    distrust: str
    """Why not; empty for the trusted."""
    text: str
    """Sanitised, or as the approver worded it."""
    digest: str
    """Of the sanitised text and the rule: give it back with a decision (`--seen`), which fails where either changed."""
    kind: str
    """What was made of it: `rule`, `praise`, `question`, …"""
    reason: str
    """Why it was taken for that."""
    rule: str
    """The instruction that approving it lets prompts learn; empty where it instructs nobody."""
    support: int
    """Authors or pull requests that say the same, whichever is more."""
    suspicions: tuple[str, ...]
    """Why it is not approved as it is, without a person's own wording."""
    repo: str
    pull: int
    path: str | None
    url: str
    created_at: str
    state: FeedbackState
    usable: bool
    """Approved in these very words, and trusted: the only remarks that reach a prompt."""
    decided_by: str
    decided_at: str
    note: str
    became: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True)
class Remarks:
    """A page of remarks, the newest first; `counts` are of all of them, by state."""

    items: tuple[Remark, ...]
    counts: Mapping[FeedbackState, int]
    total: int
    """That the filter lets through."""
    offset: int


def remarks(
    store: Store,
    state: FeedbackState | None = None,
    repo: str | None = None,
    offset: int = 0,
    limit: int = PAGE,
    paths: Sequence[str] = (),
) -> Remarks:
    """A page of comments with what is known about each; `paths` say which files are prompts, empty: any."""
    from promptlearn.comments import SUSPICIOUS
    from promptlearn.feedback.survey import survey

    entries = survey(store.feedback.items(repo=repo), paths, SUSPICIOUS)
    counts: dict[FeedbackState, int] = {"pending": 0, "approved": 0, "dismissed": 0}
    for entry in entries:
        counts[entry.row.state] += 1
    chosen = [entry for entry in reversed(entries) if state in (None, entry.row.state)]
    page = chosen[offset : offset + limit]
    learned = _learned(store) if page else []
    return Remarks(tuple(_remark(entry, learned) for entry in page), counts, len(chosen), offset)


def remark_history(store: Store, ref: str) -> list[FeedbackEvent]:
    """What happened to a comment: edits and decisions, in order."""
    return store.feedback.events(ref)


def _remark(entry: Entry, learned: Sequence[tuple[frozenset[str], Outcome]]) -> Remark:
    row = entry.row
    comment, decision = row.received.comment, row.decision
    names = {row.ref, comment.url} - {""}
    return Remark(
        ref=row.ref,
        author=comment.author.login or "deleted account",
        association=comment.association,
        trusted=not row.received.dropped,
        distrust=row.received.dropped,
        text=row.text,
        digest=entry.digest,
        kind=entry.kind,
        reason=entry.found.reason,
        rule=entry.rule,
        support=entry.support.count if entry.support else 0,
        suspicions=entry.suspicions,
        repo=comment.repo,
        pull=comment.pull,
        path=comment.path,
        url=comment.url,
        created_at=comment.created_at,
        state=row.state,
        usable=row.usable,
        decided_by=decision.by if decision else "",
        decided_at=decision.at if decision else "",
        note=decision.note if decision else "",
        became=tuple(outcome for sources, outcome in learned if not names.isdisjoint(sources)),
    )


def _learned(store: Store) -> list[tuple[frozenset[str], Outcome]]:
    """The rules of the newest runs' best prompts, with their sources."""
    from promptlearn.report.names import baseline_of, best_of

    found = []
    for row in store.reader.runs(RUNS, learns=True):
        digests = store.reader.candidate_digests(row.id)
        best = best_of(row, store.reader.decisions(row.id), baseline_of(row, digests))
        candidate = store.reader.candidate(row.id, best) if best else None
        for rule in candidate.prompt.rules if candidate else ():
            found.append((frozenset(rule.sources), Outcome(row.id, rule.text, rule.effect)))
    return found
