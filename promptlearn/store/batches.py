"""Batches at a provider: which calls each holds, so that a call is not paid for twice (invariant 3).

Knows the tables; what the ids mean and when a batch is written down is `promptlearn.models.batch`'s to say. Nothing of
what was asked or answered stands here, only the calls' keys. A call is held by one batch: the last that was intended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import bindparam, delete, select, true, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql import Executable

from promptlearn.store.dialect import execute, upsert
from promptlearn.store.failures import boundary
from promptlearn.store.schema import batch_calls, batches
from promptlearn.store.writer import Writer

_CHUNK = 500
"""Keys in one question; databases bound the number of parameters."""


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One batch as it stands in the store."""

    own: str
    """Our id; the provider has it in the batch's metadata."""
    endpoint: str
    """Identity of the model that was asked."""
    state: str
    """`intended`, `uploaded`, what the provider said last, or `lost`."""
    size: int
    """Calls that it was sent with."""
    file: str | None
    batch: str | None
    """The provider's ids."""
    created_at: str
    touched_at: str
    """When it was first and last written down."""

    @property
    def created(self) -> float:
        """Seconds since 1970; so is the next."""
        return datetime.fromisoformat(self.created_at).timestamp()

    @property
    def touched(self) -> float:
        return datetime.fromisoformat(self.touched_at).timestamp()


class Batches:
    """The log of `promptlearn.models.batch.BatchModel`."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._dialect = reads.dialect.name
        self._writer = writer
        self._where = where

    async def intend(self, own: str, endpoint: str, keys: Sequence[str]) -> None:
        """A batch that holds these calls is about to be sent; it takes them from any batch that held them before."""
        row = {"own": own, "endpoint": endpoint, "state": "intended", "size": len(keys), "file": None, "batch": None}
        row |= dict.fromkeys(("created_at", "touched_at"), _now())
        held = [{"key": key, "own": own} for key in keys]
        insert = upsert(self._dialect, batch_calls)

        def write(connection: Connection) -> None:
            connection.execute(batches.insert(), row)
            execute(connection, insert, held)

        await self._writer.run(write)

    async def note(self, own: str, state: str, *, file: str | None = None, batch: str | None = None) -> None:
        """What has become of a batch; a None changes nothing."""
        values = {"state": state, "touched_at": _now()}
        values |= {name: value for name, value in (("file", file), ("batch", batch)) if value is not None}
        await self._do(update(batches).where(batches.c.own == own).values(**values))

    async def release(self, own: str, keys: Sequence[str]) -> None:
        """These calls were not answered by this batch."""
        if keys:
            held = batch_calls.c
            statement = delete(batch_calls).where(held.key == bindparam("k"), held.own == bindparam("o"))
            await self._do(statement, [{"k": key, "o": own} for key in keys])

    def holders(self, keys: Sequence[str]) -> dict[str, BatchRow]:
        """Which batch holds which of these calls; those that none holds are left out."""
        query = select(batch_calls.c.key, *batches.c).join(batches, batches.c.own == batch_calls.c.own)
        found: dict[str, BatchRow] = {}
        with boundary(self._where, "read"), self._reads.connect() as connection:
            for start in range(0, len(keys), _CHUNK):
                some = batch_calls.c.key.in_(keys[start : start + _CHUNK])
                found |= {row.key: BatchRow(*row[1:]) for row in connection.execute(query.where(some))}
        return found

    def rows(self) -> list[BatchRow]:
        """Every batch, the newest first."""
        with boundary(self._where, "read"), self._reads.connect() as connection:
            rows = connection.execute(select(batches).order_by(batches.c.created_at.desc(), batches.c.own)).all()
        return [BatchRow(*row) for row in rows]

    async def prune(self, before: datetime | None = None) -> int:
        """Forget batches that were last written down before a moment (all of them without one); returns how many.

        What a forgotten batch holds is asked for, and paid for, anew where the journal does not have it.
        """
        old = true() if before is None else batches.c.touched_at < _iso(before)

        def forget(connection: Connection) -> int:
            of_old = batch_calls.c.own.in_(select(batches.c.own).where(old))
            connection.execute(delete(batch_calls).where(of_old))
            return connection.execute(delete(batches).where(old)).rowcount

        return await self._writer.run(forget)

    async def _do(self, statement: Executable, rows: Sequence[dict[str, str]] | None = None) -> None:
        def write(connection: Connection) -> None:
            connection.execute(statement, rows)

        await self._writer.run(write)


def _now() -> str:
    return _iso(datetime.now(UTC))


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
