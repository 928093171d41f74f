"""`feedback add` and `import`: what comes from a person or a file instead of a forge."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptlearn.cli.feedback_decide import NoteOption, decide, named, person, report, run
from promptlearn.cli.feedback_entries import survey_store
from promptlearn.cli.options import JsonOption, StoreOption, named_store

if TYPE_CHECKING:
    from promptlearn.store import Store
    from promptlearn.store.feedback_rows import FeedbackRow

HAND = "local"
"""The host of what came from no forge."""
_PULL = re.compile(r"https?://(?P<host>[^/]+)/(?P<repo>[\w./-]+?)/pull/(?P<number>\d+)")


def register(app: typer.Typer) -> None:
    app.command()(add)
    app.command("import")(import_file)


def add(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The rule.")],
    repo: Annotated[str, typer.Option("--repo", metavar="OWNER/REPO", help="Count in this repository alone.")] = "",
    path: Annotated[str | None, typer.Option("--path", metavar="FILE", help="The prompt that it is about.")] = None,
    note_text: NoteOption = "",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a rule of your own; saying it is approving it.

    For example: promptlearn feedback add "Never promise a refund date."
    """
    from promptlearn.comments import Author, Comment, Received
    from promptlearn.forge.sanitize import sanitize
    from promptlearn.records import fingerprint
    from promptlearn.store import open_store
    from promptlearn.store.feedback_rows import feedback_ref

    by, clean = person(), sanitize(text)
    _refuse_what_is_taken_out(clean.findings)
    words = _own_words(clean.text)
    now = _now()
    comment = Comment(
        id=f"note-{fingerprint([words, repo.lower(), path])}",
        kind="note",
        repo=repo,
        pull=0,
        url="",
        body=text,
        author=Author(by),
        association="OWNER",
        created_at=now,
        updated_at=now,
        path=path,
    )
    ref = feedback_ref(HAND, comment.id)
    with open_store(named_store(store)) as opened:
        known = any(row.ref == ref for row in opened.feedback.items(host=HAND))
        if not known:
            run(lambda: opened.feedback.keep(HAND, [Received(comment, clean.text, permission="admin")]))
        entry = named(opened, survey_store(opened, None), ref)
        decided = decide(opened, [entry], "approved", by, note_text, words)
        report([entry], decided, "approve", as_json)


def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="A JSON list of comments, as `reviews` takes it.")],
    pending: Annotated[bool, typer.Option("--pending", help="Approve nothing, whatever the file says.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take comments from a file: approved ones of trusted authors stay approved, all others wait for you.

    Given again it adds what is new and leaves alone what you decided.
    """
    from promptlearn.cli.console import print_json, say
    from promptlearn.reviews import load_reviews
    from promptlearn.store import open_store

    reviews = load_reviews(file)
    by = f"{person()}, from {file.name}"
    with open_store(named_store(store)) as opened:
        kept, decided = run(lambda: _take_in(opened, reviews, by, pending))
    if as_json:
        print_json({"new": kept.new, "edited": kept.edited, "unchanged": kept.unchanged, "decided": decided})
        return
    say(f"{len(reviews)} comments read: {kept.new} new, {kept.edited} edited, {kept.unchanged} as before")
    say(f"{decided} decided as the file says; next: promptlearn feedback list")


async def _take_in(store: Store, reviews: Sequence[Any], by: str, pending: bool) -> tuple[Any, int]:
    from promptlearn.comments import Kept
    from promptlearn.feedback.screen import addresses_machine, objections

    kept, decided = Kept(), 0
    for review in reviews:
        host, received = _received(review)
        kept += await store.feedback.keep(host, [received])
        row = _row(store, host, received.comment.id)
        rule = _sanitized(review.suggestion or review.body)
        fit = review.state == "dismissed" or not (received.dropped or objections(rule) or addresses_machine(rule))
        if row.state == "pending" and review.state != "pending" and fit and not pending:
            await store.feedback.decide(row.ref, review.state, by, rule if review.state == "approved" else None)
            decided += 1
    return kept, decided


def _received(review: Any) -> tuple[str, Any]:
    """A review of a file as a comment of the forge that its URL names."""
    from promptlearn.comments import Author, Comment, Received, Removal
    from promptlearn.forge.sanitize import sanitize

    place = _PULL.match(review.url or "")
    body = review.body if review.suggestion is None else f"{review.body}\n\n```suggestion\n{review.suggestion}\n```"
    clean = sanitize(body)
    comment = Comment(
        id=review.id,
        kind="inline" if review.path else "conversation",
        repo=place["repo"] if place else "",
        pull=int(place["number"]) if place else 0,
        url=review.url or "",
        body=body,
        author=Author(review.author),
        association="MEMBER" if review.trusted else "NONE",
        created_at=review.created_at or "",
        updated_at=review.created_at or "",
        path=review.path,
    )
    removals = tuple(Removal(finding.kind, finding.detail) for finding in clean.findings)
    dropped = "" if review.trusted else "permission"
    return (place["host"] if place else HAND), Received(comment, clean.text, removals, "", dropped)


def _sanitized(text: str) -> str:
    from promptlearn.forge.sanitize import sanitize

    return " ".join(sanitize(text).text.split())


def _row(store: Store, host: str, id: str) -> FeedbackRow:
    from promptlearn.store.feedback_rows import feedback_ref

    return store.feedback.get(feedback_ref(host, id))


def _refuse_what_is_taken_out(findings: Sequence[Any]) -> None:
    """A person's own words are not changed behind their back."""
    from promptlearn.errors import UsageError

    if findings:
        held = "; ".join(f"{finding.kind.replace('_', ' ')}: {finding.detail}" for finding in findings)
        raise UsageError(f"a rule holds plain words only, and this one has more ({held}); say it without")


def _own_words(text: str) -> str:
    from promptlearn.errors import UsageError
    from promptlearn.feedback.screen import objections

    words = " ".join(text.split())
    if found := objections(words):
        raise UsageError(f"“{words[:80]}” can not be a rule: {'; '.join(found)}")
    return words


def _now() -> str:
    from datetime import UTC, datetime

    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
