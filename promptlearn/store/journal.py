"""The journal: every reply that was paid for, found again by what was asked.

Speaks JSON; knows no model. What a request holds is the caller's to say: all that makes two calls the same, that is
model identity, messages, sampling, schema and repeat. JSON, never pickle: a journal may come from somewhere else.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime

from sqlalchemy.engine import Engine

from promptlearn.records import Json, fingerprint
from promptlearn.store.codec import dumps
from promptlearn.store.dialect import Lookup, insert_new
from promptlearn.store.failures import boundary
from promptlearn.store.schema import calls
from promptlearn.store.writer import Writer


def call_key(request: Json) -> str:
    """The address of a call: SHA-256 (64 hex digits) of the request as canonical JSON."""
    return fingerprint(request, 64)


class Journal:
    """A content-addressed table of replies. The first reply under a key stays; a later one changes nothing."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._replies = Lookup(reads, calls.c.reply, calls.c.key)
        self._insert = insert_new(reads.dialect.name, calls)
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
        await self._writer.write(self._insert, row)

    def find(self, key: str) -> Json | None:
        """The reply under this key, or None. Waits for no writer."""
        with boundary(self._where, "read"):
            text = self._replies.find(key)
        return None if text is None else json.loads(text)

    def close(self) -> None:
        """Give the connection back."""
        self._replies.close()

    def __contains__(self, key: str) -> bool:
        return self.find(key) is not None
