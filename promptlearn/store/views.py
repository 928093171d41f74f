"""Questions that reports ask about many rows: counted and paged by the database, so that 100,000 rows stay fluid.

Knows the tables and their indices; not what a version is called or which prompt is good.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Select, and_, case, exists, func, or_, select
from sqlalchemy.engine import Engine, Row
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from promptlearn.records import Example, Json, Rollout, Split, Verdict
from promptlearn.store import schema
from promptlearn.store.codec import decode
from promptlearn.store.failures import boundary
from promptlearn.store.request_rows import CHANGES, AgreementRow, CellRow, Change, DisputeRow, JudgeRow, TotalRow
from promptlearn.store.rows import EventRow, ExampleRow, RolloutRow

APART = 0.5
"""Scores that differ by this much or more contradict each other."""
_Columns: TypeAlias = "ReadOnlyColumnCollection[str, Any]"
_IN = 400
"""Values in one `IN`, at most."""


class Views:
    """Reads on connections that can not write."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where

    def changes(self, run: str, old: str, new: str, split: Split | None = None) -> dict[Change, int]:
        """How many examples did better, worse, … with prompt `new` than with prompt `old`."""
        rows = _change_rows(run, old, new, split).subquery()
        found = self._all(select(rows.c.change, func.count().label("n")).group_by(rows.c.change))
        counts = {row.change: int(row.n) for row in found}
        return {change: counts.get(change, 0) for change in CHANGES}

    def changed(
        self,
        run: str,
        old: str,
        new: str,
        split: Split | None = None,
        change: Change | None = None,
        contains: str = "",
        offset: int = 0,
        limit: int = 50,
    ) -> list[tuple[str, Change]]:
        """A page of example ids in order, with what became of each; `contains` looks into inputs and expectations."""
        query = _change_rows(run, old, new, split, contains)
        if change is not None:
            rows = query.subquery()
            query = select(rows.c.id, rows.c.change).where(rows.c.change == change).order_by(rows.c.id)
        return [(row.id, row.change) for row in self._all(query.offset(offset).limit(limit))]

    def examples(self, run: str, ids: Sequence[str]) -> dict[str, ExampleRow]:
        """Kept examples by id."""
        of = schema.examples.c
        found: dict[str, ExampleRow] = {}
        for start in range(0, len(ids), _IN):
            query = select(of.id, of.split, of.body).where(of.run == run, of.id.in_(ids[start : start + _IN]))
            found |= {row.id: ExampleRow(row.split, decode(Example, row.body)) for row in self._all(query)}
        return found

    def plain_examples(self, run: str, split: Split) -> dict[str, dict[str, Json]]:
        """Example id → its record as JSON, of one split: a third of what decoding records takes."""
        of = schema.examples.c
        rows = self._all(select(of.id, of.body).where(of.run == run, of.split == split))
        return {row.id: json.loads(row.body) for row in rows}

    def cells(self, run: str, prompts: Sequence[str], examples: Sequence[str]) -> list[CellRow]:
        """What these prompts scored on these examples; nothing for what was not run."""
        of = schema.rollouts.c
        ids = [f"{prompt}/{example}" for prompt in prompts for example in examples]
        found: list[CellRow] = []
        for start in range(0, len(ids), _IN):
            query = select(of.prompt, of.example, of.score, of.failed)
            rows = self._all(query.where(of.run == run, of.id.in_(ids[start : start + _IN])))
            found += [CellRow(row.prompt, row.example, row.score, bool(row.failed)) for row in rows]
        return found

    def scores(self, run: str, prompt: str, split: Split | None = None) -> dict[str, float | None]:
        """Example id → score of one prompt; reads an index alone. A failed row has None."""
        of = schema.rollouts.c
        query = select(of.example, of.score).where(of.run == run, of.prompt == prompt)
        rows = self._all(query if split is None else query.where(of.split == split))
        return {row.example: row.score for row in rows}

    def totals(self, run: str) -> list[TotalRow]:
        """Each prompt on each split, in sums. Reads an index alone."""
        of = schema.rollouts.c
        key = (of.prompt, of.split)
        sums = (
            func.count().label("rollouts"),
            func.sum(of.failed).label("failed"),
            func.count(of.score).label("scored"),
            func.sum(of.score).label("total"),
            func.sum(of.score * of.score).label("squares"),
        )
        rows = self._all(select(*key, *sums).where(of.run == run).group_by(*key).order_by(*key))
        return [
            TotalRow(
                row.prompt, row.split, row.rollouts, int(row.failed), row.scored, row.total or 0.0, row.squares or 0.0
            )
            for row in rows
        ]

    def rollout(self, run: str, prompt: str, example: str) -> RolloutRow | None:
        of = schema.rollouts.c
        rows = self._all(select(of.split, of.body).where(of.run == run, of.id == f"{prompt}/{example}"))
        return RolloutRow(rows[0].split, decode(Rollout, rows[0].body)) if rows else None

    def rollouts(
        self, run: str, prompt: str, split: Split | None, *, failing: bool = False, after: str = "", limit: int = 50
    ) -> list[RolloutRow]:
        """Rollouts of a prompt by example, those after an example's id; `failing`: only such as score below 1."""
        of = schema.rollouts.c
        query = select(of.split, of.body).where(of.run == run, of.prompt == prompt)
        if split is not None:
            query = query.where(of.split == split)
        if failing:
            query = query.where(of.score < 1)
        if after:
            query = query.where(of.example > after)
        return [
            RolloutRow(row.split, decode(Rollout, row.body))
            for row in self._all(query.order_by(of.example).limit(limit))
        ]

    def verdicts(self, run: str, rollouts: Sequence[str]) -> dict[str, list[Verdict]]:
        """Rollout id → what was said about it, people's labels with it, by judge."""
        of = schema.verdicts.c
        found: dict[str, list[Verdict]] = {rollout: [] for rollout in rollouts}
        for start in range(0, len(rollouts), _IN):
            query = select(of.rollout, of.body).where(of.run == run, of.rollout.in_(rollouts[start : start + _IN]))
            for row in self._all(query.order_by(of.rollout, of.judge)):
                found[row.rollout].append(decode(Verdict, row.body))
        return found

    def judges(self, run: str) -> list[JudgeRow]:
        """Each judge on each prompt and split, people (`human:…`) among them. Reads an index alone."""
        of = schema.verdicts.c
        key = (of.judge, of.prompt, of.split)
        passed, skipped = (func.sum(case((of.standing == one, 1), else_=0)).label(one) for one in ("passed", "skipped"))
        counts = (func.count().label("verdicts"), func.count(of.score).label("scored"), passed, skipped)
        query = select(*key, *counts, func.avg(of.score).label("mean")).where(of.run == run)
        return [
            JudgeRow(
                row.judge, row.prompt, row.split, row.verdicts, row.scored, int(row.passed), int(row.skipped), row.mean
            )
            for row in self._all(query.group_by(*key).order_by(*key))
        ]

    def judge_errors(self, run: str, prompt: str, judge: str, limit: int = 20) -> list[Verdict]:
        """What one judge could not judge, with its words."""
        of = schema.verdicts.c
        found = (of.run == run, of.prompt == prompt, of.judge == judge, of.standing == "not_judged")
        query = select(of.body).where(*found)
        return [decode(Verdict, row.body) for row in self._all(query.order_by(of.rollout).limit(limit))]

    def disputes(
        self, run: str, prompt: str, people: bool = False, offset: int = 0, limit: int = 50
    ) -> list[DisputeRow]:
        """Pairs of verdicts on one rollout of a prompt that are `APART`, by example.

        `people`: only pairs of a judge (first) and a person (second); otherwise only pairs of judges.
        """
        first, second = schema.verdicts.alias("a"), schema.verdicts.alias("b")
        a, b = first.c, second.c
        order = _answers(a, b) if people else and_(b.about.is_(None), b.judge > a.judge)
        query = (
            select(a.body.label("first"), b.body.label("second"))
            .select_from(first.join(second, and_(b.run == a.run, b.rollout == a.rollout)))
            .where(a.run == run, a.prompt == prompt, b.prompt == prompt, a.about.is_(None), order)
            .where(func.abs(a.score - b.score) >= APART)
            .order_by(a.rollout, a.judge, b.judge)
        )
        found = []
        for row in self._all(query.offset(offset).limit(limit)):
            verdict = decode(Verdict, row.first)
            found.append(DisputeRow(verdict.rollout.partition("/")[2], verdict, decode(Verdict, row.second)))
        return found

    def agreement(self, run: str) -> list[AgreementRow]:
        """How often each judge says what people say who answered its question.

        A label of the answer as a whole is held against the judge of that answer where there is only one.
        """
        judged, labelled = schema.verdicts.alias("a"), schema.verdicts.alias("b")
        a, b = judged.c, labelled.c
        close = func.sum(case((func.abs(a.score - b.score) < APART, 1), else_=0)).label("agreed")
        query = (
            select(a.judge, func.count().label("pairs"), close)
            .select_from(labelled.join(judged, and_(a.run == b.run, a.rollout == b.rollout)))
            .where(b.run == run, _answers(a, b), a.about.is_(None))
            .where(a.score.is_not(None), b.score.is_not(None))
        )
        rows = self._all(query.group_by(a.judge).order_by(a.judge))
        return [AgreementRow(row.judge, int(row.pairs), int(row.agreed)) for row in rows]

    def rows(self, run: str) -> dict[str, int]:
        """Split → rollouts so far. Reads an index alone."""
        of = schema.rollouts.c
        query = select(of.split, func.count().label("n")).where(of.run == run).group_by(of.split)
        return {row.split: int(row.n) for row in self._all(query)}

    def events(
        self, run: str, after: int = 0, limit: int | None = None, kinds: Sequence[str] = (), newest: bool = False
    ) -> list[EventRow]:
        """Events above `after` in order, some of them where `limit` says so: the first, or with `newest` the last."""
        of = schema.events.c
        query = select(of.id, of.kind, of.body, of.at).where(of.run == run, of.id > after)
        if kinds:
            query = query.where(of.kind.in_(kinds))
        rows = self._all(query.order_by(of.id.desc() if newest else of.id).limit(limit))
        found = [EventRow(row.id, row.kind, json.loads(row.body), row.at) for row in rows]
        return found[::-1] if newest else found

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with boundary(self._where, "read"), self._engine.connect() as connection:
            return connection.execute(query).all()


def _answers(judged: _Columns, labelled: _Columns) -> ColumnElement[bool]:
    """Whether a person's label answers the question that a judge answered: the judge's own, or the only one."""
    others = schema.verdicts.alias("other").c
    other = exists().where(
        others.run == judged.run,
        others.rollout == judged.rollout,
        others.about.is_(None),
        others.judge != judged.judge,
    )
    return and_(labelled.about.is_not(None), or_(labelled.about == judged.judge, and_(labelled.about == "", ~other)))


def _change_rows(run: str, old: str, new: str, split: Split | None, contains: str = "") -> Select[Any]:
    """Id and change of every kept example, by id."""
    kept, before, after = schema.examples, schema.rollouts.alias("a"), schema.rollouts.alias("b")
    e, a, b = kept.c, before.c, after.c
    joined = kept.outerjoin(
        before, and_(a.run == e.run, a.prompt == old, a.split == e.split, a.example == e.id)
    ).outerjoin(after, and_(b.run == e.run, b.prompt == new, b.split == e.split, b.example == e.id))
    query = select(e.id, _change(a.score, b.score, a.example, b.example)).select_from(joined).where(e.run == run)
    if split is not None:
        query = query.where(e.split == split)
    if contains:
        query = query.where(e.body.contains(contains, autoescape=True))
    return query.order_by(e.id)


def _change(
    old: ColumnElement[Any], new: ColumnElement[Any], ran_old: ColumnElement[Any], ran_new: ColumnElement[Any]
) -> ColumnElement[str]:
    return case(
        (new > old, "improved"),
        (new < old, "regressed"),
        (new == old, "unchanged"),
        (ran_old.is_(None) | ran_new.is_(None), "not_run"),
        else_="not_judged",
    ).label("change")
