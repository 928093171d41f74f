"""Guards in the store: what each prompt learned from reviewers, so that later runs may not lose it.

Knows the table; not how a guard is checked. Keeping one again replaces what was measured, and makes it active again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.engine import Engine, Row

from promptlearn.errors import UsageError
from promptlearn.store.codec import decode, encode
from promptlearn.store.dialect import upsert
from promptlearn.store.failures import boundary
from promptlearn.store.feedback_rows import GuardRow
from promptlearn.store.schema import guards
from promptlearn.store.writer import Writer


class Guards:
    """The guards of a store."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._dialect = reads.dialect.name
        self._writer = writer
        self._where = where

    async def keep(self, rows: Sequence[GuardRow]) -> None:
        """Keep guards of prompts, active from now on."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        values = [
            {
                "scope": row.scope,
                "id": row.guard.id,
                "active": 1,
                "at": at,
                "body": encode(replace(row, active=True, at=at)),
            }
            for row in rows
        ]
        if values:
            await self._writer.write(upsert(self._dialect, guards), *values)

    async def drop(self, id: str, scope: str | None = None) -> int:
        """Let a guard go, in one scope or in all; returns in how many. Raises `UsageError` for an unknown one."""
        known = [row for row in self.items(scope) if row.guard.id == id]
        if not known:
            raise UsageError(f"no guard {id!r} is active; `promptlearn feedback guards` shows them")
        statement = update(guards).where(guards.c.id == id, guards.c.scope.in_([row.scope for row in known]))
        return await self._writer.run(lambda connection: connection.execute(statement.values(active=0)).rowcount)

    def items(self, scope: str | None = None) -> list[GuardRow]:
        """Active guards, the oldest first."""
        query = select(guards).where(guards.c.active == 1).order_by(guards.c.at, guards.c.scope, guards.c.id)
        if scope is not None:
            query = query.where(guards.c.scope == scope)
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return [_row(row) for row in connection.execute(query)]


def _row(row: Row[Any]) -> GuardRow:
    return replace(decode(GuardRow, row.body), active=bool(row.active), at=row.at)
