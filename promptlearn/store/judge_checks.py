"""How judges stood their examinations, and what people say about outputs: two tables that only grow or are settled.

Knows tables; not how a judge is examined.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import select
from sqlalchemy.engine import Engine

from promptlearn.store.codec import decode, encode
from promptlearn.store.dialect import upsert
from promptlearn.store.failures import boundary
from promptlearn.store.ids import new_id
from promptlearn.store.judge_rows import CheckKind, HumanLabel, JudgeCheck
from promptlearn.store.schema import judge_checks, judge_labels
from promptlearn.store.writer import Writer


class JudgeChecks:
    """Examinations of judges, and people's labels."""

    def __init__(self, reads: Engine, writer: Writer, where: str) -> None:
        self._reads = reads
        self._dialect = reads.dialect.name
        self._writer = writer
        self._where = where

    async def keep(self, check: JudgeCheck) -> JudgeCheck:
        """Keep an examination; returns it with its id and time."""
        kept = replace(check, id=new_id(), at=_now())
        row = {"id": kept.id, "kind": kept.kind, "judge": kept.judge, "at": kept.at, "body": encode(kept)}
        await self._writer.write(upsert(self._dialect, judge_checks), row)
        return kept

    def items(self, kind: CheckKind | None = None, judge: str | None = None) -> list[JudgeCheck]:
        """Examinations, the newest first."""
        query = select(judge_checks.c.body).order_by(judge_checks.c.at.desc(), judge_checks.c.id.desc())
        if kind is not None:
            query = query.where(judge_checks.c.kind == kind)
        if judge is not None:
            query = query.where(judge_checks.c.judge == judge)
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return [decode(JudgeCheck, row.body) for row in connection.execute(query)]

    async def label(self, labels: Sequence[HumanLabel]) -> None:
        """Keep what people say; a later word about the same output and judge replaces an earlier one."""
        stamped = [replace(label, at=label.at or _now()) for label in labels]
        rows = [{"item": label.item, "judge": label.judge, "at": label.at, "body": encode(label)} for label in stamped]
        if rows:
            await self._writer.write(upsert(self._dialect, judge_labels), *rows)

    def labels(self, judge: str | None = None, whole: bool = False) -> list[HumanLabel]:
        """What people said, the oldest first; with `judge` to its question, `whole` also of answers as a whole."""
        query = select(judge_labels.c.body).order_by(judge_labels.c.at, judge_labels.c.item)
        if judge is not None:
            query = query.where(judge_labels.c.judge.in_([judge, ""] if whole else [judge]))
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return [decode(HumanLabel, row.body) for row in connection.execute(query)]


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
