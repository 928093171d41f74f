"""How far each source of pull requests was read, so that the next pull asks only for what changed.

A source is a repository with the labels and paths that were asked for. Times are the forge's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.engine import Engine, Row

from promptlearn.comments import Progress, PullRequest
from promptlearn.records import Json, fingerprint
from promptlearn.store.codec import decode, encode
from promptlearn.store.dialect import upsert
from promptlearn.store.failures import boundary
from promptlearn.store.schema import etags, permissions, pull_reads, pull_sources, pulls
from promptlearn.store.writer import Writer

_CHUNK = 500


class Pulls:
    """Pull requests, and what was asked about them."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._dialect = reads.dialect.name
        self._writer = writer
        self._where = where

    @staticmethod
    def source(host: str, repo: str, scope: Json) -> str:
        """The name of a source; `scope` is whatever narrows the repository down."""
        return fingerprint([host, repo.lower(), scope])

    def progress(self, source: str) -> Progress:
        rows = self._all(select(pull_sources.c.progress).where(pull_sources.c.source == source))
        return decode(Progress, rows[0].progress) if rows else Progress()

    async def set_progress(self, source: str, host: str, repo: str, progress: Progress) -> None:
        row = {"source": source, "host": host, "repo": repo, "progress": encode(progress), "at": _now()}
        await self._writer.write(upsert(self._dialect, pull_sources), row)

    async def note_pulls(self, host: str, found: Sequence[PullRequest]) -> None:
        """Keep pull requests as they stand now."""
        rows = [
            {"host": host, "repo": one.repo, "number": one.number, "updated_at": one.updated_at, "body": encode(one)}
            for one in found
        ]
        if rows:
            await self._writer.write(upsert(self._dialect, pulls), *rows)

    async def note_reads(self, source: str, read: Mapping[int, str]) -> None:
        """These pull requests of the source were read to their ends: number → when, by the forge's clock."""
        rows = [{"source": source, "number": number, "read_at": at} for number, at in read.items()]
        if rows:
            await self._writer.write(upsert(self._dialect, pull_reads), *rows)

    def reads(self, source: str, numbers: Sequence[int]) -> dict[int, str]:
        """When each was read last; those that never were are left out."""
        of = pull_reads.c
        found: dict[int, str] = {}
        for start in range(0, len(numbers), _CHUNK):
            some = numbers[start : start + _CHUNK]
            rows = self._all(select(of.number, of.read_at).where(of.source == source, of.number.in_(some)))
            found |= {row.number: row.read_at for row in rows}
        return found

    def pull(self, host: str, repo: str, number: int) -> PullRequest | None:
        of = pulls.c
        rows = self._all(select(of.body).where(of.host == host, of.repo == repo, of.number == number))
        return decode(PullRequest, rows[0].body) if rows else None

    def etags(self, token: str, source: str) -> dict[str, str]:
        """URL → ETag, as this token was told for this source."""
        rows = self._all(select(etags.c.url, etags.c.etag).where(etags.c.token == token, etags.c.source == source))
        return {row.url: row.etag for row in rows}

    async def set_etags(self, token: str, source: str, tags: Mapping[str, str]) -> None:
        """Keep ETags for a token, which is named by a hash and never stored (invariant 10)."""
        rows = [
            {"token": token, "source": source, "url": url, "etag": etag, "at": _now()} for url, etag in tags.items()
        ]
        if rows:
            await self._writer.write(upsert(self._dialect, etags), *rows)

    def permission(self, host: str, repo: str, author: str, since: str) -> str | None:
        """What an author (by id) may do as far as it was asked since then; None where it was not."""
        of = permissions.c
        query = select(of.permission).where(of.host == host, of.repo == repo, of.author == author, of.asked_at >= since)
        rows = self._all(query)
        return str(rows[0].permission) if rows else None

    async def set_permission(self, host: str, repo: str, author: str, permission: str) -> None:
        row = {"host": host, "repo": repo, "author": author, "permission": permission, "asked_at": _now()}
        await self._writer.write(upsert(self._dialect, permissions), row)

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return connection.execute(query).all()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
