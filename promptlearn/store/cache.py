"""The journal as something that takes space: what it holds for each model, and how it is made smaller.

Knows the journal's table alone. Runs, rollouts, verdicts and decisions are not touched; what a removed reply said stays
in them. Which replies a run that goes on would ask for again can not be known, so the choice is by age, model and size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, case, delete, func, select, true
from sqlalchemy.engine import Connection, Engine, Row

from promptlearn.errors import StoreError
from promptlearn.store.dialect import compact, json_number, octets, stored_bytes
from promptlearn.store.failures import boundary
from promptlearn.store.rows import Removed, ReplyRow
from promptlearn.store.schema import calls


@dataclass(frozen=True, slots=True)
class Choice:
    """Which replies: those that every part names; without any part all of them."""

    before: str | None = None
    """Kept before this time (ISO 8601, UTC)."""
    models: tuple[str, ...] = ()
    """Of one of these models."""
    max_bytes: int | None = None
    """Those that do not fit in here once the newest (of these models) have been put in."""


class Cache:
    def __init__(self, writes: Engine, reads: Engine, where: str) -> None:
        self._writes = writes
        self._reads = reads
        self._where = where

    def models(self) -> list[ReplyRow]:
        """What is kept for each model, by name."""
        query = select(calls.c.model, *self._sums()).group_by(calls.c.model).order_by(calls.c.model)
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return [_reply_row(row.model, row) for row in connection.execute(query)]

    def size(self) -> int:
        """Bytes that the store takes on the disk, all tables together."""
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return stored_bytes(connection)

    def count(self, choice: Choice) -> ReplyRow:
        """What `remove` would take away."""
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return self._chosen(connection, choice)

    def remove(self, choice: Choice) -> Removed:
        """Take replies away for good, and give their space back to the disk.

        Where the file can not be made smaller (that needs as much free space as is left in it), the replies are gone
        all the same, and replies to come use their space. No run may be at work meanwhile.
        """
        before = self.size()
        with boundary(self._where, "written"), self._writes.begin() as connection:
            chosen = self._chosen(connection, choice)
            connection.execute(delete(calls).where(self._are(choice)))
        try:
            with boundary(self._where, "written"):
                compact(self._writes)
        except StoreError as error:
            return Removed(chosen, 0, str(error))
        return Removed(chosen, max(0, before - self.size()))

    def _chosen(self, connection: Connection, choice: Choice) -> ReplyRow:
        query = select(*self._sums()).where(self._are(choice))
        return _reply_row("", connection.execute(query).one())

    def _are(self, choice: Choice) -> ColumnElement[bool]:
        of_models = calls.c.model.in_(choice.models) if choice.models else true()
        chosen = of_models if choice.before is None else of_models & (calls.c.created_at < choice.before)
        if choice.max_bytes is None:
            return chosen
        return chosen & calls.c.key.in_(self._beyond(choice.max_bytes, of_models))

    def _beyond(self, max_bytes: int, of_models: ColumnElement[bool]) -> Select[tuple[str]]:
        """The keys that are left over when the newest are kept up to a size."""
        newest_first = (calls.c.created_at.desc(), calls.c.key)
        filled = func.sum(self._size()).over(order_by=newest_first, rows=(None, 0)).label("filled")
        ranked = select(calls.c.key, filled).where(of_models).subquery()
        return select(ranked.c.key).where(ranked.c.filled > max_bytes)

    def _size(self) -> ColumnElement[int]:
        """Bytes of a question and its answer."""
        dialect = self._reads.dialect.name
        return octets(dialect, calls.c.request) + octets(dialect, calls.c.reply)

    def _sums(self) -> list[ColumnElement[Any]]:
        dialect = self._reads.dialect.name
        cost = json_number(dialect, calls.c.reply, "usage", "cost_usd")
        read, written = (json_number(dialect, calls.c.reply, "usage", f"{way}_tokens") for way in ("input", "output"))
        return [
            func.count().label("replies"),
            func.coalesce(func.sum(self._size()), 0).label("bytes"),
            func.min(calls.c.created_at).label("oldest"),
            func.max(calls.c.created_at).label("newest"),
            func.coalesce(func.sum(read), 0).label("input_tokens"),
            func.coalesce(func.sum(written), 0).label("output_tokens"),
            case((func.count(cost) == func.count(), func.coalesce(func.sum(cost), 0.0))).label("cost_usd"),
        ]


def _reply_row(model: str, row: Row[Any]) -> ReplyRow:
    found = row._mapping
    cost = found["cost_usd"]
    return ReplyRow(
        model=model,
        replies=int(found["replies"]),
        bytes=int(found["bytes"]),
        oldest=found["oldest"],
        newest=found["newest"],
        input_tokens=int(found["input_tokens"]),
        output_tokens=int(found["output_tokens"]),
        cost_usd=None if cost is None else float(cost),
    )
