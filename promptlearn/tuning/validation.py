"""Validation: what the policy of now is worth on rows that it does not learn from.

Reads rows of the validation split alone (invariant 5). Its answers are greedy, one per row, and judged as they end.
Knows no training.
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
    rewards = [reward for row in rows for reward in row.rewards]
    scores = [reward.value for reward in rewards if reward.value is not None]
    judges = dict.fromkeys(name for reward in rewards for name in reward.parts)
    parts = {name: _mean([reward.parts.get(name) for reward in rewards]) for name in judges}
    return TuningValidation(step, _mean(scores), len(scores), len(rewards) - len(scores), parts=parts)


def gold_warnings(base: TuningValidation, best: TuningValidation, gold: Sequence[str]) -> tuple[str, ...]:
    """Where the score has risen while a gold judge, which nothing was learned from, has fallen: the signature of a
    reward that is pleased and no longer earned (Gao et al. 2023, "Scaling Laws for Reward Model Overoptimization").
    """
    if base.score is None or best.score is None or best.score <= base.score:
        return ()
    parts = ((name, base.parts.get(name), best.parts.get(name)) for name in gold)
    return tuple(
        f"validation rose from {base.score:.3f} to {best.score:.3f} while the gold judge {name} fell from {before:.3f} "
        f"to {after:.3f}: read some answers before you trust the adapter"
        for name, before, after in parts
        if before is not None and after is not None and after < before
    )


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
