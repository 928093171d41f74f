"""Rows: a prompt on an example, judged. The same row is never run twice in one process.

Knows how a row comes about and when too many of them fail; knows nothing about candidates, races or splits' meaning.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from promptlearn.errors import Interrupted, TooManyErrors
from promptlearn.judging.panel import Panel
from promptlearn.programs.base import Program
from promptlearn.records import Example, Prompt, Rollout, Split, Verdict

ENOUGH_TO_TELL = 10
"""Rows before which no share of errors is read into anything."""

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt on one example, with everything that was said about it."""

    example: Example
    rollout: Rollout
    verdicts: tuple[Verdict, ...]
    score: float | None
    """None: not judged."""

    @property
    def trouble(self) -> str | None:
        """Why there is no score, or None where there is one."""
        if self.score is not None:
            return None
        failures = [self.rollout.error, *(verdict.error for verdict in self.verdicts)]
        return next((f"{failure.kind}: {failure.message}" for failure in failures if failure), "no judge gave a score")


@dataclass(frozen=True, slots=True)
class Want:
    """A row that is wanted."""

    prompt: Prompt
    example: Example
    split: Split


class Recorder(Protocol):
    """Where rows are kept for reports."""

    async def row(self, row: Row, split: Split) -> None: ...


class Evaluator:
    """Runs and judges rows, `width` at a time, and stops when more than `max_error_share` of them fail.

    `stopping` is looked at before each new row: when it is set, rows under way end and `Interrupted` is raised.
    """

    def __init__(
        self,
        program: Program,
        panel: Panel,
        *,
        width: int,
        max_error_share: float,
        recorder: Recorder,
        on_row: Callable[[Row], None] = lambda row: None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._program = program
        self._panel = panel
        self._width = width
        self._max_error_share = max_error_share
        self._recorder = recorder
        self._on_row = on_row
        self._stopping = stopping
        self._rows: dict[tuple[str, str], Row] = {}

    def known(self, prompt: Prompt, example: Example) -> Row | None:
        return self._rows.get((prompt.digest, example.id))

    def missing(self, wants: Sequence[Want]) -> int:
        """How many of these rows would have to be run."""
        return len({(want.prompt.digest, want.example.id) for want in wants} - self._rows.keys())

    def scores(self, prompt: Prompt, examples: Sequence[Example]) -> dict[str, float]:
        """Scores known so far: example id → score."""
        rows = (self.known(prompt, example) for example in examples)
        return {row.example.id: row.score for row in rows if row is not None and row.score is not None}

    async def rows(self, wants: Sequence[Want]) -> list[Row]:
        """The wanted rows, in that order.

        Raises TooManyErrors, BudgetSpent, SystemicError or Interrupted; rows under way are finished and kept first.
        """
        todo = {(want.prompt.digest, want.example.id): want for want in wants}
        todo = {key: want for key, want in todo.items() if key not in self._rows}
        troubles: list[str] = []

        async def run(item: tuple[tuple[str, str], Want]) -> None:
            key, want = item
            row = await self._run(want)
            self._rows[key] = row
            self._on_row(row)
            if row.trouble is not None:
                troubles.append(row.trouble)
                self._check(troubles, len(todo))

        await in_parallel(run, list(todo.items()), self._width, self._stopping)
        return [self._rows[want.prompt.digest, want.example.id] for want in wants]

    async def _run(self, want: Want) -> Row:
        rollout = await self._program.run(want.prompt, want.example)
        verdicts = () if rollout.error else await self._panel.judge(want.example, rollout)
        row = Row(want.example, rollout, verdicts, self._panel.score(verdicts) if verdicts else None)
        await self._recorder.row(row, want.split)
        return row

    def _check(self, troubles: Sequence[str], planned: int) -> None:
        """Too many errors for any order in which these rows could have come."""
        if len(troubles) > self._max_error_share * max(planned, ENOUGH_TO_TELL):
            words, count = Counter(trouble.split("; ")[0] for trouble in troubles).most_common(1)[0]
            raise TooManyErrors(
                f"{len(troubles)} of {planned} examples failed, more than search.max_error_share = "
                f"{self._max_error_share:g}; most often ({count}): {words}; "
                "mend that and run the same command again, what was paid for is kept"
            )


async def in_parallel(
    work: Callable[[T], Awaitable[R]], items: Sequence[T], width: int, stopping: Callable[[], bool] = lambda: False
) -> list[R]:
    """`work` on every item, at most `width` at a time; results in the order of the items.

    After the first error, or once `stopping` says so, no new item is begun, but those under way end first: what is
    paid for is not thrown away. Then the first error (in the order of the items) or Interrupted is raised.
    """
    results: dict[int, R] = {}
    errors: dict[int, Exception] = {}
    queue = iter(enumerate(items))

    async def worker() -> None:
        for index, item in queue:
            if errors or stopping():
                return
            try:
                results[index] = await work(item)
            except Exception as error:  # kept, and raised below once the others have ended
                errors[index] = error

    await asyncio.gather(*(worker() for _ in range(min(width, len(items)))))
    if errors:
        raise errors[min(errors)]
    if len(results) < len(items):
        raise Interrupted("stopped; everything that was paid for is kept, the same command goes on from here")
    return [results[index] for index in range(len(items))]
