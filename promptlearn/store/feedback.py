"""Comments in the store: kept whole, found again by the forge's id, decided about by people.

Knows the tables and no forge. Storing a comment again changes nothing; storing one whose words were edited opens again
what was decided about it, because a decision is about a text (invariant 9). What it said before stays in its events.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Select, func, insert, select, tuple_, update
from sqlalchemy.engine import Connection, Engine, Row

from promptlearn.comments import Kept, Received
from promptlearn.errors import UsageError
from promptlearn.records import Json, fingerprint
from promptlearn.store.codec import decode, dumps, encode
from promptlearn.store.failures import boundary
from promptlearn.store.feedback_rows import (
    FeedbackDecision,
    FeedbackEvent,
    FeedbackRow,
    FeedbackState,
    feedback_ref,
    text_digest,
)
from promptlearn.store.schema import feedback, feedback_events
from promptlearn.store.writer import Writer

_CHUNK = 500
"""Rows that are asked for at once."""
_SHORTEST_REF = 4


@dataclass(frozen=True, slots=True)
class _Incoming:
    ref: str
    received: Received
    body: str
    digest: str


class Feedback:
    """The comments of a store."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._writer = writer
        self._where = where

    async def keep(self, host: str, comments: Sequence[Received]) -> Kept:
        """Store comments, all of them or none; returns what was new about them.

        `head`, and of a review `original_commit`, stay what they were when the comment came first: a forge moves a
        review to newer commits after a force-push.
        """
        incoming = {one.ref: one for one in (_incoming(host, received) for received in comments)}
        if not incoming:
            return Kept()
        return await self._writer.run(lambda connection: _keep(connection, host, list(incoming.values())))

    async def decide(
        self,
        ref: str,
        state: FeedbackState,
        by: str,
        text: str | None = None,
        note: str = "",
        seen: str | None = None,
    ) -> FeedbackRow:
        """Approve or dismiss a comment, or open it again (`pending`); `text` is the approver's own wording of it.

        `seen` is the sanitised text (`row.received.text`) that the person had before them, where that was some time
        ago. Raises `UsageError` for a ref that names no comment or more than one, and for one that says something else
        by now.
        """
        row = self.get(ref)
        if seen is not None and seen != row.received.text:
            raise _edited(row.ref)
        about = text_digest(row.received.text)
        decision = None if state == "pending" else FeedbackDecision(by, _now(), text, note, about)
        await self._writer.run(lambda connection: _decide(connection, row, state, decision))
        return replace(row, state=state, decision=decision)

    async def classify(self, ref: str, classification: Json) -> None:
        """Keep what was made of a comment; None forgets it. An edit of the comment's words forgets it too."""
        row = self.get(ref)
        value = None if classification is None else dumps(classification)
        statement = update(feedback).where(feedback.c.ref == row.ref).values(classification=value)
        await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    def get(self, ref: str) -> FeedbackRow:
        """The comment that a ref or its beginning names; raises `UsageError` where that is none or more than one."""
        found = self._select(select(feedback).where(feedback.c.ref.startswith(ref, autoescape=True)).limit(2))
        if len(ref) < _SHORTEST_REF or not found:
            raise UsageError(f"no comment {ref!r}; `promptlearn feedback list` shows them")
        if len(found) > 1:
            raise UsageError(f"{ref!r} names more than one comment; give more of its digits")
        return found[0]

    def items(
        self,
        host: str | None = None,
        repo: str | None = None,
        pull: int | None = None,
        state: FeedbackState | None = None,
        dropped: bool | None = None,
    ) -> Iterator[FeedbackRow]:
        """Comments, the oldest first, some hundred in memory at a time; `dropped` chooses those that are or are not."""
        of = feedback.c
        wanted = {of.host: host, of.repo: repo, of.pull: pull, of.state: state}
        query = select(feedback).where(*(column == value for column, value in wanted.items() if value is not None))
        if dropped is not None:
            query = query.where(of.dropped != "" if dropped else of.dropped == "")
        query = query.order_by(of.created_at, of.ref).limit(_CHUNK)
        page = self._select(query)
        while page:
            yield from page
            last = page[-1]
            after = tuple_(of.created_at, of.ref) > (last.received.comment.created_at, last.ref)
            page = self._select(query.where(after)) if len(page) == _CHUNK else []

    def events(self, ref: str) -> list[FeedbackEvent]:
        """What happened to a comment, in order."""
        of = feedback_events.c
        query = select(of.n, of.kind, of.body, of.at).where(of.ref == ref).order_by(of.n)
        with boundary(self._where, "read"), self._reads.connect() as connection:
            rows = connection.execute(query).all()
        return [FeedbackEvent(row.n, row.kind, json.loads(row.body), row.at) for row in rows]

    def count(self) -> int:
        """How many comments there are."""
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(feedback)).scalar_one())

    def _select(self, query: Select[Any]) -> list[FeedbackRow]:
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return [_row(row) for row in connection.execute(query)]


def _incoming(host: str, received: Received) -> _Incoming:
    comment = received.comment
    if comment.kind == "review":  # what was reviewed stands in a column of its own
        comment = replace(comment, original_commit=None)
    body = encode(replace(received, comment=comment, head=""))
    return _Incoming(feedback_ref(host, received.comment.id), received, body, fingerprint(body))


def _keep(connection: Connection, host: str, incoming: Sequence[_Incoming]) -> Kept:
    known = _known(connection, [one.ref for one in incoming])
    now = _now()
    new = [one for one in incoming if one.ref not in known]
    if new:
        connection.execute(insert(feedback), [_columns(host, one, now) for one in new])
    edited = changed = 0
    for one in incoming:
        old = known.get(one.ref)
        if old is None or old.digest == one.digest:
            continue
        was = decode(Received, old.body)
        if (was.comment.body, was.text) == (one.received.comment.body, one.received.text):
            changed += 1
            _update(connection, one, now, {})
        else:
            edited += 1
            _update(connection, one, now, {"state": "pending", "decision": None, "classification": None})
            said = {"body": was.comment.body, "text": was.text, "state": old.state, "decision": old.decision}
            _append(connection, one.ref, "edited", said, now)
    return Kept(len(new), edited, changed, len(incoming) - len(new) - edited - changed)


def _known(connection: Connection, refs: Sequence[str]) -> dict[str, Row[Any]]:
    of = feedback.c
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(refs), _CHUNK):
        query = select(of.ref, of.digest, of.body, of.state, of.decision)
        rows = connection.execute(query.where(of.ref.in_(refs[start : start + _CHUNK]))).all()
        found |= {row.ref: row for row in rows}
    return found


def _columns(host: str, one: _Incoming, now: str) -> dict[str, Any]:
    comment = one.received.comment
    first = comment.commit if comment.kind == "review" else comment.original_commit
    return {
        **_changing(one, now),
        "ref": one.ref,
        "host": host,
        "id": comment.id,
        "kind": comment.kind,
        "state": "pending",
        "created_at": comment.created_at,
        "received_at": now,
        "head": one.received.head,
        "original_commit": comment.original_commit or first,
        "decision": None,
        "classification": None,
    }


def _changing(one: _Incoming, now: str) -> dict[str, Any]:
    comment = one.received.comment
    return {
        "repo": comment.repo,
        "pull": comment.pull,
        "author": comment.author.login,
        "dropped": one.received.dropped,
        "changed_at": now,
        "digest": one.digest,
        "body": one.body,
    }


def _update(connection: Connection, one: _Incoming, now: str, more: dict[str, Any]) -> None:
    connection.execute(update(feedback).where(feedback.c.ref == one.ref).values(**_changing(one, now), **more))


def _decide(connection: Connection, row: FeedbackRow, state: FeedbackState, decision: FeedbackDecision | None) -> None:
    text = None if decision is None else encode(decision)
    body = connection.execute(select(feedback.c.body).where(feedback.c.ref == row.ref)).scalar_one()
    if decode(Received, body).text != row.received.text:
        raise _edited(row.ref)
    connection.execute(update(feedback).where(feedback.c.ref == row.ref).values(state=state, decision=text))
    said = {"state": row.state, "by": decision.by if decision else "", "text": decision.text if decision else None}
    _append(connection, row.ref, state, said, _now())


def _edited(ref: str) -> UsageError:
    return UsageError(f"comment {ref} was edited meanwhile; look at it again and decide then")


def _append(connection: Connection, ref: str, kind: str, body: Json, at: str) -> None:
    last = connection.execute(select(func.max(feedback_events.c.n)).where(feedback_events.c.ref == ref)).scalar()
    values = {"ref": ref, "n": int(last or 0) + 1, "kind": kind, "body": dumps(body), "at": at}
    connection.execute(insert(feedback_events), values)


def _row(row: Row[Any]) -> FeedbackRow:
    received = decode(Received, row.body)
    comment = replace(received.comment, original_commit=row.original_commit)
    return FeedbackRow(
        ref=row.ref,
        host=row.host,
        received=replace(received, comment=comment, head=row.head),
        state=cast("FeedbackState", row.state),
        received_at=row.received_at,
        changed_at=row.changed_at,
        decision=None if row.decision is None else decode(FeedbackDecision, row.decision),
        classification=None if row.classification is None else json.loads(row.classification),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
