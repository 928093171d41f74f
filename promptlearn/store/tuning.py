"""Training steps in the store: what each was worth, what was sampled, how validation went.

Knows the tables; not what a good step is. A step that is done again after a kill replaces itself (invariant 3).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.engine import Engine, Row

from promptlearn.store.codec import decode, encode
from promptlearn.store.dialect import upsert
from promptlearn.store.failures import boundary
from promptlearn.store.schema import tuning_samples, tuning_steps, tuning_validations
from promptlearn.store.tuning_rows import TuningSample, TuningStep, TuningValidation
from promptlearn.store.writer import Rows, Writer


class Tuning:
    """The training steps of a store."""

    def __init__(self, reads: Engine, writer: Writer, where: str, clean: Callable[[str], str]) -> None:
        """`clean` takes secrets out of error messages (invariant 10)."""
        self._reads = reads
        self._dialect = reads.dialect.name
        self._writer = writer
        self._where = where
        self._clean = clean

    async def add_step(self, run: str, step: TuningStep, samples: Sequence[TuningSample]) -> None:
        """Keep a step with its samples, all of it or nothing."""
        entries = [
            {"run": run, "step": one.step, "place": one.group, "n": one.index, "body": encode(self._cleaned(one))}
            for one in samples
        ]
        parts: list[Rows] = [
            (upsert(self._dialect, tuning_steps), [{"run": run, "step": step.step, "body": encode(step)}]),
            (upsert(self._dialect, tuning_samples), entries),
        ]
        await self._writer.write_together(*(part for part in parts if part[1]))

    async def add_validation(self, run: str, validation: TuningValidation) -> None:
        """Keep a reading of the validation split."""
        entry = {"run": run, "step": validation.step, "body": encode(validation)}
        await self._writer.write(upsert(self._dialect, tuning_validations), entry)

    def steps(self, run: str, after: int = 0) -> list[TuningStep]:
        """Steps above `after`, in order: ask again with the last to follow a run."""
        of = tuning_steps.c
        query = select(of.body).where(of.run == run, of.step > after).order_by(of.step)
        return [decode(TuningStep, row.body) for row in self._all(query)]

    def validations(self, run: str) -> list[TuningValidation]:
        """In order of their steps."""
        of = tuning_validations.c
        rows = self._all(select(of.body).where(of.run == run).order_by(of.step))
        return [decode(TuningValidation, row.body) for row in rows]

    def samples(self, run: str, step: int) -> list[TuningSample]:
        """Those of one step, group by group."""
        of = tuning_samples.c
        query = select(of.body).where(of.run == run, of.step == step).order_by(of.place, of.n)
        return [decode(TuningSample, row.body) for row in self._all(query)]

    def _cleaned(self, sample: TuningSample) -> TuningSample:
        if not sample.error:
            return sample
        return replace(sample, error=self._clean(sample.error), feedback=self._clean(sample.feedback))

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with boundary(self._where, "read"), self._reads.connect() as connection:
            return connection.execute(query).all()
