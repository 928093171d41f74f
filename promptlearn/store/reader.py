"""Questions to the store: plain calls, rows out, no writer waited for.

Knows the tables and no judgement: what is good, best or proven is for `report` and the optimizer to say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import Select, func, select
from sqlalchemy.engine import Engine, Row

from promptlearn.records import Candidate, Decision, Example, Prompt, Rollout, Split, Verdict
from promptlearn.store import schema
from promptlearn.store.codec import decode
from promptlearn.store.failures import boundary
from promptlearn.store.rows import (
    UNFINISHED,
    CandidateRow,
    EventRow,
    ExampleRow,
    FailedRow,
    ReadingRow,
    RolloutRow,
    RunRow,
    ScoreRow,
)


class Reader:
    """Reads on connections that can not write."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where

    def runs(self) -> list[RunRow]:
        """Every run, the newest first."""
        return [_run(row) for row in self._all(select(schema.runs).order_by(schema.runs.c.id.desc()))]

    def run(self, run: str) -> RunRow | None:
        rows = self._all(select(schema.runs).where(schema.runs.c.id == run))
        return _run(rows[0]) if rows else None

    def unfinished_run(self, config_digest: str) -> str | None:
        """The newest run of this configuration that can go on."""
        runs = schema.runs.c
        query = select(runs.id).where(runs.config_digest == config_digest, runs.state.in_(UNFINISHED))
        rows = self._all(query.order_by(runs.id.desc()).limit(1))
        return str(rows[0].id) if rows else None

    def prompt(self, digest: str) -> Prompt | None:
        rows = self._all(select(schema.prompts.c.body).where(schema.prompts.c.digest == digest))
        return decode(Prompt, rows[0].body) if rows else None

    def candidates(self, run: str) -> list[CandidateRow]:
        """In order of their numbers."""
        table = schema.candidates
        rows = self._all(select(table).where(table.c.run == run).order_by(table.c.number, table.c.digest))
        return [CandidateRow(row.number, decode(Candidate, row.body)) for row in rows]

    def decisions(self, run: str) -> list[Decision]:
        """In the order in which they were taken."""
        table = schema.decisions
        rows = self._all(select(table.c.body).where(table.c.run == run).order_by(table.c.number))
        return [decode(Decision, row.body) for row in rows]

    def examples(self, run: str, split: Split | None = None) -> list[ExampleRow]:
        """By id."""
        table = schema.examples
        query = select(table).where(table.c.run == run).order_by(table.c.id)
        rows = self._all(query if split is None else query.where(table.c.split == split))
        return [ExampleRow(row.split, decode(Example, row.body)) for row in rows]

    def rollouts(self, run: str, prompt: str | None = None, split: Split | None = None) -> list[RolloutRow]:
        """By id, of all prompts and splits or of one."""
        table = schema.rollouts
        query = _narrow(select(table.c.split, table.c.body), run, prompt, split).order_by(table.c.id)
        return [RolloutRow(row.split, decode(Rollout, row.body)) for row in self._all(query)]

    def verdicts(self, run: str, prompt: str | None = None, split: Split | None = None) -> list[Verdict]:
        """By rollout and judge, of all prompts and splits or of one."""
        table = schema.verdicts
        query = _narrow(select(table.c.body).join_from(table, schema.rollouts, _RATED), run, prompt, split)
        rows = self._all(query.order_by(table.c.rollout, table.c.judge))
        return [decode(Verdict, row.body) for row in rows]

    def scores(self, run: str) -> list[ScoreRow]:
        """Each judge's mean for each prompt and split."""
        of, table = schema.rollouts.c, schema.verdicts.c
        key = (of.prompt, of.split, table.judge)
        counts = (
            func.avg(table.score).label("mean"),
            func.count(table.score).label("n"),
            (func.count() - func.count(table.score)).label("unscored"),
        )
        query = select(*key, *counts).join_from(schema.verdicts, schema.rollouts, _RATED).where(of.run == run)
        return [ScoreRow(**row._mapping) for row in self._all(query.group_by(*key).order_by(*key))]

    def failures(self, run: str) -> list[FailedRow]:
        """How many rollouts failed, for each prompt and split."""
        of = schema.rollouts.c
        counts = (func.count().label("rollouts"), func.sum(of.failed).label("failed"))
        query = select(of.prompt, of.split, *counts).where(of.run == run)
        rows = self._all(query.group_by(of.prompt, of.split).order_by(of.prompt, of.split))
        return [FailedRow(**row._mapping) for row in rows]

    def events(self, run: str, after: int = 0) -> list[EventRow]:
        """Events with an id above `after`, in order: ask again with the last id to follow a run."""
        table = schema.events.c
        query = select(table.id, table.kind, table.body, table.at).where(table.run == run, table.id > after)
        rows = self._all(query.order_by(table.id))
        return [EventRow(row.id, row.kind, json.loads(row.body), row.at) for row in rows]

    def test_reads(self, run: str) -> list[ReadingRow]:
        """When the test split was read, and for what."""
        table = schema.test_reads.c
        query = select(table.n, table.reading, table.at).where(table.run == run).order_by(table.n)
        return [ReadingRow(**row._mapping) for row in self._all(query)]

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with boundary(self._where, "read"), self._engine.connect() as connection:
            return connection.execute(query).all()


_RATED = (schema.verdicts.c.run == schema.rollouts.c.run) & (schema.verdicts.c.rollout == schema.rollouts.c.id)


def _narrow(query: Select[Any], run: str, prompt: str | None, split: Split | None) -> Select[Any]:
    of = schema.rollouts.c
    query = query.where(of.run == run)
    if prompt is not None:
        query = query.where(of.prompt == prompt)
    return query if split is None else query.where(of.split == split)


def _run(row: Row[Any]) -> RunRow:
    values = cast("dict[str, Any]", dict(row._mapping))
    for name in ("config", "result", "versions"):
        values[name] = None if values[name] is None else json.loads(values[name])
    return RunRow(**values)
