"""Validation: what the policy of now is worth on rows that it does not learn from.

Reads rows of the validation split alone (invariant 5). Its answers are drawn as the job's task model would answer, one
per row, and judged as they end. Knows no training.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from promptlearn.store.tuning_rows import TuningValidation
from promptlearn.tuning.stream import Ask, Group, Source, Stream


async def read_validation(source: Source, asks: Sequence[Ask], queue: int) -> list[Group]:
    """One answer per row, with its reward, in the rows' order. Raises what stops the run."""
    async with Stream(source, lambda _: asks, group=1, queue=queue) as stream:
        stream.allow(0)
        return await stream.judged(0)


def reading(step: int, rows: Sequence[Group]) -> TuningValidation:
    """The mean over rows that have a score; the others are counted."""
    scores = [reward.value for row in rows for reward in row.rewards if reward.value is not None]
    return TuningValidation(step, statistics.fmean(scores) if scores else None, len(scores), len(rows) - len(scores))
