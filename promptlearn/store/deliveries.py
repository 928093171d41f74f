"""Webhooks that wait: each says that one pull request is to be read again, and is handled once.

Knows the table; no HTTP, no secret, no forge. What was queued is on the disk before the sender is answered, and waits
for the process that reads it over any number of restarts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import insert, select, update
from sqlalchemy.engine import Connection, Engine

from promptlearn.redaction import redact
from promptlearn.store.failures import boundary
from promptlearn.store.feedback_rows import Delivery, DeliveryState
from promptlearn.store.schema import deliveries
from promptlearn.store.writer import Writer

ATTEMPTS = 5
"""Readings of a delivery's pull request that may fail before it is given up."""


class Deliveries:
    """The queue of a store."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._writer = writer
        self._where = where

    async def enqueue(self, delivery: Delivery) -> bool:
        """Keep a delivery; False where one with its id was kept before."""
        row = asdict(replace(delivery, received_at=delivery.received_at or _now())) | {"done_at": None}
        return await self._writer.run(lambda connection: _enqueue(connection, row))

    def waiting(self, limit: int = 100) -> list[Delivery]:
        """What waits, the oldest first."""
        of = deliveries.c
        query = select(deliveries).where(of.state == "waiting").order_by(of.received_at, of.id).limit(limit)
        with boundary(self._where, "read"), self._reads.connect() as connection:
            rows = connection.execute(query).all()
        return [_delivery(row._mapping) for row in rows]

    async def finish(self, ids: Sequence[str]) -> None:
        """Their pull requests were read."""
        if ids:
            values = {"state": "done", "error": "", "done_at": _now()}
            statement = update(deliveries).where(deliveries.c.id.in_(ids)).values(**values)
            await self._writer.run(lambda connection: connection.execute(statement).rowcount)

    async def fail(self, ids: Sequence[str], message: str) -> None:
        """Reading failed: they wait for another attempt, or are given up after `ATTEMPTS`."""
        await self._writer.run(lambda connection: _fail(connection, ids, redact(message)))


def _enqueue(connection: Connection, row: dict[str, Any]) -> bool:
    if connection.execute(select(deliveries.c.id).where(deliveries.c.id == row["id"])).first():
        return False
    connection.execute(insert(deliveries), row)
    return True


def _fail(connection: Connection, ids: Sequence[str], message: str) -> None:
    of = deliveries.c
    more = {"attempts": of.attempts + 1, "error": message}
    connection.execute(update(deliveries).where(of.id.in_(ids)).values(**more))
    given_up = update(deliveries).where(of.id.in_(ids), of.attempts >= ATTEMPTS)
    connection.execute(given_up.values(state="failed", done_at=_now()))


def _delivery(row: Any) -> Delivery:
    values = {name: row[name] for name in Delivery.__dataclass_fields__}
    return Delivery(**values | {"state": cast("DeliveryState", row["state"])})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
