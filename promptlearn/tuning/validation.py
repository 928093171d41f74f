"""Validation: what the policy of now is worth on rows that it does not learn from.

Reads rows of the validation split alone (invariant 5). Its answers are greedy, one per row, and judged as they end.
Knows no training.
"""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from promptlearn.errors import TooManyErrors
from promptlearn.store.tuning_rows import TuningSpending, TuningValidation
from promptlearn.tuning.checkpoint import Checkpoints
from promptlearn.tuning.progress import Progress
from promptlearn.tuning.stream import Ask, Group, Source, Stream


async def read_validation(source: Source, asks: Sequence[Ask], queue: int) -> list[Group]:
    """One answer per row, with its reward, in the rows' order. Raises what stops the run."""
    async with Stream(source, lambda _: asks, group=1, queue=queue) as stream:
        stream.allow(0)
        return await stream.judged(0)


@dataclass(frozen=True, slots=True)
class Readings:
    """Reads validation as a run goes on, and keeps the adapter of the best reading."""

    source: Source
    asks: Sequence[Ask]
    queue: int
    progress: Progress
    checkpoints: Checkpoints
    note: Callable[[TuningValidation], Awaitable[None]]
    """Told of each."""
    spending: Callable[[], TuningSpending]
    """Of the run, up to now."""

    async def read(self, save: Callable[[Path], object], version: int | None = None) -> None:
        """Read with the policy of now; `save` writes its adapter, and is called where it is the best so far. A policy
        of the `version` that was read last has the same greedy answers, and is not asked again.
        """
        progress = self.progress
        if version is not None and progress.read_version == version:
            same = replace(progress.readings[-1], step=progress.step, spending=self.spending())
            await self.note(progress.add(same))
            return
        await self._read(save)
        progress.read_version = version

    async def _read(self, save: Callable[[Path], object]) -> None:
        rows = await read_validation(self.source, self.asks, self.queue)
        now = reading(self.progress.step, rows)
        if now.score is None:
            why = Counter(reward.error for row in rows for reward in row.rewards).most_common(1)[0][0]
            raise TooManyErrors(
                f"none of {len(rows)} validation rows could be judged: {why}; mend that and run it again"
            )
        found = self.progress.add(replace(now, spending=self.spending()))
        if found.best:
            await asyncio.to_thread(save, self.checkpoints.best(found.step))
        await self.note(found)


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
