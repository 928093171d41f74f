"""The journal: every reply that was paid for, found again by what was asked.

Speaks JSON; knows no model. What a request holds is the caller's to say: all that makes two calls the same, that is
model identity, messages, sampling, schema and repeat. JSON, never pickle: a journal may come from somewhere else.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy import bindparam, select
from sqlalchemy.engine import Engine

from promptlearn.records import Json, fingerprint
from promptlearn.store.codec import dumps
from promptlearn.store.dialect import insert_new
from promptlearn.store.failures import boundary
from promptlearn.store.schema import calls
from promptlearn.store.writer import Writer

_FIND = select(calls.c.reply).where(calls.c.key == bindparam("key"))


def call_key(request: Json) -> str:
    """The address of a call: SHA-256 (64 hex digits) of the request as canonical JSON."""
    return fingerprint(request, 64)


class Journal:
    """A content-addressed table of replies. The first reply under a key stays; a later one changes nothing."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._writer = writer
        self._where = where

    async def record(self, key: str, model: str, request: Json, reply: Json) -> None:
        """Keep a reply; returns when it is on the disk (invariant 2).

        `reply` is an object with a `text`. Raises `ValueError` where that is empty, because an empty reply or an error
        is not an answer (invariant 4), and `StoreError` where the store can not be written.
        """
        if not isinstance(reply, dict) or not str(reply.get("text") or "").strip():
            raise ValueError("a reply without text is not kept in the journal")
        row = {
            "key": key,
            "model": model,
            "request": dumps(request),
            "reply": dumps(reply),
            "created_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        await self._writer.write(insert_new(self._reads.dialect.name, calls), row)

    def find(self, key: str) -> Json | None:
        """The reply under this key, or None. Waits for no writer."""
        with boundary(self._where, "read"), self._reads.connect() as connection:
            text = connection.execute(_FIND, {"key": key}).scalar_one_or_none()
        return None if text is None else json.loads(text)

    def __contains__(self, key: str) -> bool:
        return self.find(key) is not None
