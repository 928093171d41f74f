"""Questions to the store: plain calls, rows out, no writer waited for.

Knows the tables and no judgement: what is good, best or proven is for `report` and the optimizer to say.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast

from sqlalchemy import ColumnElement, Select, Table, func, select
from sqlalchemy.engine import Engine, Row

from promptlearn.records import Candidate, Decision, Example, Prompt, Rollout, Split, Usage, Verdict
from promptlearn.store import schema
from promptlearn.store.codec import decode
from promptlearn.store.failures import boundary
from promptlearn.store.rows import (
    ALIGNS,
    EVALUATION,
    HUMAN,
    TUNING,
    UNFINISHED,
    CandidateRow,
    EventRow,
    ExampleRow,
    FailedRow,
    ReadingRow,
    RolloutRow,
    RunRow,
    RunState,
    ScoreRow,
)


class Reader:
    """Reads on connections that can not write."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where

    def runs(
        self,
        limit: int | None = None,
        *,
        begins: str = "",
        learns: bool = False,
        aligns: bool = True,
        tunes: bool = False,
        digest: str | None = None,
    ) -> list[RunRow]:
        """Runs, the newest first.

        At most `limit`; only those whose id begins so; with `learns` only those that learn a user's prompt, with
        `aligns=False` none that learns a judge's; with `tunes` only those that train weights; with `digest` only those
        of this configuration.
        """
        runs = schema.runs.c
        query = select(schema.runs).where(runs.id.startswith(begins, autoescape=True))
        if learns:
            for other in (EVALUATION, TUNING):
                query = query.where(~runs.config_digest.startswith(other, autoescape=True))
        if learns or not aligns:
            query = query.where(~runs.config.startswith(f'{{"{ALIGNS}"', autoescape=True))
        if tunes:
            query = query.where(runs.config_digest.startswith(TUNING, autoescape=True))
        if digest is not None:
            query = query.where(runs.config_digest == digest)
        return [_run(row) for row in self._all(query.order_by(runs.id.desc()).limit(limit))]

    def run(self, run: str) -> RunRow | None:
        rows = self._all(select(schema.runs).where(schema.runs.c.id == run))
        return _run(rows[0]) if rows else None

    def runs_in(self, *states: RunState) -> list[str]:
        """Ids of the runs in one of these states, the newest first."""
        runs = schema.runs.c
        return [row.id for row in self._all(select(runs.id).where(runs.state.in_(states)).order_by(runs.id.desc()))]

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

    def candidate(self, run: str, digest: str) -> Candidate | None:
        """One of them, with its provenance as this run has it."""
        table = schema.candidates.c
        rows = self._all(select(table.body).where(table.run == run, table.digest == digest))
        return decode(Candidate, rows[0].body) if rows else None

    def candidate_digests(self, run: str) -> dict[int, str]:
        """Number → digest, in order."""
        table = schema.candidates.c
        query = select(table.number, table.digest).where(table.run == run).order_by(table.number, table.digest)
        return {row.number: row.digest for row in self._all(query)}

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
        query = _narrow(select(table.c.split, table.c.body), table, run, prompt, split).order_by(table.c.id)
        return [RolloutRow(row.split, decode(Rollout, row.body)) for row in self._all(query)]

    def verdicts(self, run: str, prompt: str | None = None, split: Split | None = None) -> list[Verdict]:
        """By rollout and judge, of all prompts and splits or of one."""
        table = schema.verdicts
        query = _narrow(select(table.c.body), table, run, prompt, split).order_by(table.c.rollout, table.c.judge)
        return [decode(Verdict, row.body) for row in self._all(query)]

    def scores(self, run: str) -> list[ScoreRow]:
        """Each judge's mean for each prompt and split, and what judging cost. Reads an index alone, no body.

        People's labels are none of these: they are counted by `Views.labels`.
        """
        of = schema.verdicts.c
        key = (of.prompt, of.split, of.judge)
        counts = (func.avg(of.score).label("mean"), func.count(of.score).label("n"), func.count().label("verdicts"))
        query = select(*key, *counts, *_usage_sums(schema.verdicts)).where(of.run == run, ~of.judge.startswith(HUMAN))
        rows = self._all(query.group_by(*key).order_by(*key))
        return [
            ScoreRow(row.prompt, row.split, row.judge, row.mean, row.n, row.verdicts - row.n, _usage(row))
            for row in rows
        ]

    def failures(self, run: str) -> list[FailedRow]:
        """How many rollouts failed, for each prompt and split, and what they cost. Reads an index alone, no body."""
        of = schema.rollouts.c
        key = (of.prompt, of.split)
        counts = (func.count().label("rollouts"), func.sum(of.failed).label("failed"))
        query = select(*key, *counts, *_usage_sums(schema.rollouts)).where(of.run == run)
        rows = self._all(query.group_by(*key).order_by(*key))
        return [FailedRow(row.prompt, row.split, row.rollouts, int(row.failed), _usage(row)) for row in rows]

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


def _narrow(query: Select[Any], of: Table, run: str, prompt: str | None, split: Split | None) -> Select[Any]:
    query = query.where(of.c.run == run)
    if prompt is not None:
        query = query.where(of.c.prompt == prompt)
    return query if split is None else query.where(of.c.split == split)


def _usage_sums(of: Table) -> list[ColumnElement[Any]]:
    known = func.count(of.c.cost_usd).label("known_costs")
    return [known, func.count().label("costs"), *(func.sum(of.c[name]).label(name) for name in schema.USAGE)]


def _usage(row: Row[Any]) -> Usage:
    """One unknown price makes the whole sum unknown."""
    return Usage(
        int(row.calls),
        int(row.cached_calls),
        int(row.input_tokens),
        int(row.output_tokens),
        int(row.cached_tokens),
        float(row.cost_usd) if row.known_costs == row.costs else None,
    )


def _run(row: Row[Any]) -> RunRow:
    values = cast("dict[str, Any]", dict(row._mapping))
    for name in ("config", "result", "versions"):
        values[name] = None if values[name] is None else json.loads(values[name])
    return RunRow(**values)
