"""Diary: what a training run writes down, and whom it tells: the store bound to a run, and the person who watches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from promptlearn.records import Json
from promptlearn.runlog import RunLog
from promptlearn.store.tuning_rows import TuningSample, TuningStep, TuningValidation
from promptlearn.tuning.lint import lint_base
from promptlearn.tuning.stream import Group


class StoreDiary:
    """The diary of one run, in its store."""

    def __init__(self, log: RunLog, warnings: Sequence[str]) -> None:
        self._log = log
        self.warnings = list(warnings)
        """What was said so far."""

    async def begin(
        self, *, resumed: bool, step: int, steps: int, rows: dict[str, int], judges: dict[str, Json]
    ) -> None:
        await self._log.event(
            "started",
            run=self._log.run,
            resumed=resumed,
            step=step,
            steps=steps,
            rows=rows,
            warnings=self.warnings,
            judges=judges,
        )

    async def base(self, groups: Sequence[Group]) -> None:
        await self.warn(lint_base(groups))

    async def warn(self, found: Sequence[str]) -> None:
        """Say what was not said before."""
        fresh = [text for text in found if text not in self.warnings]
        if fresh:
            self.warnings += fresh
            await self._log.event("warning", warnings=fresh)

    async def step(self, step: TuningStep, samples: Sequence[TuningSample]) -> None:
        await self._log.store.tuning.add_step(self._log.run, step, samples)
        self._log.show("step", **asdict(step))

    async def validation(self, validation: TuningValidation) -> None:
        await self._log.store.tuning.add_validation(self._log.run, validation)
        self._log.show("validation", **asdict(validation))

    async def end(self, stop_reason: str) -> None:
        self._log.show("finished", stop_reason=stop_reason)
