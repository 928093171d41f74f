"""What people ask of runs, and how runs are getting on: one table each, written by two processes that never meet.

Knows the tables; not what a request means. A request is appended by a person's command or page, and closed once, by
the run that obeyed or refused it. A pulse is what a run says of itself about once a second; the last one counts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, cast

from sqlalchemy import Select, insert, select, update
from sqlalchemy.engine import Engine, Row

from promptlearn.records import Json
from promptlearn.redaction import redact
from promptlearn.store.codec import dumps
from promptlearn.store.dialect import upsert
from promptlearn.store.failures import boundary
from promptlearn.store.ids import new_id
from promptlearn.store.request_rows import PulseRow, RequestRow, RequestState
from promptlearn.store.schema import pulses, requests
from promptlearn.store.writer import Writer


class Requests:
    """The requests of a store."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._dialect = reads.dialect.name
        self._writer = writer
        self._where = where

    async def add(
        self, run: str, kind: str, who: str, body: Json = None, state: RequestState = "waiting", note: str = ""
    ) -> RequestRow:
        """Append a request; `state` other than `waiting` is for one that was obeyed already."""
        at = _now()
        done_at = None if state == "waiting" else at
        row = RequestRow(new_id(), run, kind, who, at, body, state, redact(note), done_at)
        values = {
            "id": row.id,
            "run": run,
            "kind": kind,
            "who": who,
            "at": at,
            "body": dumps(body),
            "state": state,
            "note": row.note,
            "done_at": done_at,
        }
        await self._writer.write(insert(requests), values)
        return row

    async def close(self, id: str, state: RequestState, note: str = "") -> bool:
        """Say what became of a request that waits; False where somebody else did so before."""
        of = requests.c
        waiting = update(requests).where(of.id == id, of.state == "waiting")
        statement = waiting.values(state=state, note=redact(note), done_at=_now())
        return bool(await self._writer.run(lambda connection: connection.execute(statement).rowcount))

    def waiting(self, run: str) -> list[RequestRow]:
        """What a run has not looked at yet, the oldest first. Reads an index; asked about once a second."""
        of = requests.c
        return self._rows(select(requests).where(of.run == run, of.state == "waiting").order_by(of.id))

    def items(self, run: str | None = None, kind: str | None = None, limit: int | None = None) -> list[RequestRow]:
        """The newest first, of one run or of all."""
        query = select(requests)
        if run is not None:
            query = query.where(requests.c.run == run)
        if kind is not None:
            query = query.where(requests.c.kind == kind)
        return self._rows(query.order_by(requests.c.id.desc()).limit(limit))

    async def beat(self, run: str, body: Mapping[str, Json]) -> None:
        """Keep how a run is getting on, in place of what it said before."""
        await self._writer.write(upsert(self._dialect, pulses), {"run": run, "at": _now(), "body": dumps(dict(body))})

    def pulse(self, run: str) -> PulseRow | None:
        """What a run said of itself last; None for one that never did."""
        found = self._all(select(pulses.c.at, pulses.c.body).where(pulses.c.run == run))
        return PulseRow(found[0].at, json.loads(found[0].body)) if found else None

    def _rows(self, query: Select[Any]) -> list[RequestRow]:
        return [_row(row) for row in self._all(query)]

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return connection.execute(query).all()


def _row(row: Row[Any]) -> RequestRow:
    state = cast("RequestState", row.state)
    return RequestRow(row.id, row.run, row.kind, row.who, row.at, json.loads(row.body), state, row.note, row.done_at)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
