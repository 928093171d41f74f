"""Rows: a prompt on an example, judged. The same row is never run twice in one process.

Knows how a row comes about and when too many of them fail; knows nothing about candidates, races or splits' meaning.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from promptlearn.errors import Interrupted, TooManyErrors
from promptlearn.judging.panel import Panel
from promptlearn.programs.base import Program
from promptlearn.records import Example, Failure, Prompt, Rollout, Split, Usage, Verdict
from promptlearn.scheduler import NOW, Pool, Rank, Ticket

ENOUGH_TO_TELL = 10
"""Rows before which no share of errors is read into anything."""

Key: TypeAlias = tuple[str, str]
"""A row's address: digest of the prompt, id of the example."""


@dataclass(frozen=True, slots=True)
class Row:
    """One prompt on one example, with everything that was said about it."""

    example: Example
    rollout: Rollout
    verdicts: tuple[Verdict, ...]
    score: float | None
    """None: not judged."""

    @property
    def judging(self) -> Usage:
        """What its verdicts cost."""
        return sum((verdict.usage for verdict in self.verdicts), Usage())

    @property
    def trouble(self) -> str | None:
        """Why there is no score, or None where there is one."""
        if self.score is not None:
            return None
        if self.rollout.error is not None:
            return f"{self.rollout.error.kind}: {self.rollout.error.message}"
        broke = [(one.name, one.error) for one in self.verdicts if one.error is not None and not one.gold]
        return _complaint(*broke[0]) if broke else "no judge gave a score"


def _complaint(judge: str, error: Failure) -> str:
    """Which judge it was, and what is wrong: the kind `program` would not say whose."""
    kind = "" if error.kind == "program" else f"{error.kind}: "
    return f"judge {judge}: {kind}{error.message}"


@dataclass(frozen=True, slots=True)
class Want:
    """A row that is wanted."""

    prompt: Prompt
    example: Example
    split: Split

    @property
    def key(self) -> Key:
        return self.prompt.digest, self.example.id


class Recorder(Protocol):
    """Where rows are kept for reports."""

    async def row(self, row: Row, split: Split) -> None: ...


class Evaluator:
    """Runs and judges rows in the slots of a pool; stops when more than `max_error_share` of what is wanted fails."""

    def __init__(
        self,
        program: Program,
        panel: Panel,
        *,
        pool: Pool,
        max_error_share: float,
        recorder: Recorder,
        on_row: Callable[[Row], None] = lambda row: None,
    ) -> None:
        self._program = program
        self._panel = panel
        self._pool = pool
        self._max_error_share = max_error_share
        self._recorder = recorder
        self._on_row = on_row
        self._rows: dict[Key, Row] = {}
        self._tickets: dict[Key, Ticket[Row]] = {}
        self._lost: set[Key] = set()
        """Rows that ran ahead in vain, so far."""

    @property
    def width(self) -> int:
        """Rows that can be under way at a time."""
        return self._pool.width

    async def rows(self, wants: Sequence[Want], rank: Rank = NOW) -> list[Row]:
        """The wanted rows, in that order.

        Raises TooManyErrors, BudgetSpent, SystemicError or Interrupted: after the first of them no further row is
        begun, and rows under way are finished and kept, because they are paid for.
        """
        for key in self._lost.intersection(want.key for want in wants):
            self._lost.discard(key)
            self._pool.spare.regain()
        todo = {want.key: want for want in wants if want.key not in self._rows or want.key in self._tickets}
        tickets = {
            key: self.hold(want, rank._replace(row=rank.row + position))
            for position, (key, want) in enumerate(todo.items())
        }
        batch = _Batch(list(tickets.values()), self._max_error_share)
        try:
            error = await batch.ended()
        finally:
            for key, ticket in tickets.items():
                self.release(key, ticket)
        if error is not None:
            under_way = [ticket.future for ticket in tickets.values() if ticket.begun and not ticket.future.done()]
            await asyncio.gather(*under_way, return_exceptions=True)
            raise error
        return [self._rows[want.key] for want in wants]

    def knows(self, key: Key) -> bool:
        return key in self._rows

    def ahead(self, rank: Rank) -> Ahead:
        """For rows that will be wanted unless a decision makes them superfluous."""
        return Ahead(self, rank._replace(ahead=True))

    async def drain(self) -> None:
        """Begin no further row, and wait for those under way."""
        await self._pool.drain()

    def hold(self, want: Want, rank: Rank) -> Ticket[Row]:
        """The ticket of a row that somebody wants, until it is released."""
        ticket = self._tickets.get(want.key)
        if ticket is not None and not _failed(ticket):
            self._pool.hold(ticket, rank)
        else:
            ticket = self._tickets[want.key] = self._pool.submit(lambda: self._run(want), rank)
            ticket.future.add_done_callback(lambda _: self._forget(want.key, ticket))
        return ticket

    def release(self, key: Key, ticket: Ticket[Row]) -> None:
        if self._pool.release(ticket):
            self._lost.add(key)
        self._forget(key, ticket)

    def _forget(self, key: Key, ticket: Ticket[Row]) -> None:
        """A row that nobody holds is looked up by its ticket only while it is under way."""
        over = ticket.future.done() or not ticket.begun
        if not ticket.holders and over and self._tickets.get(key) is ticket:
            del self._tickets[key]

    async def _run(self, want: Want) -> Row:
        rollout = await self._program.run(want.prompt, want.example)
        verdicts = () if rollout.error else await self._panel.judge(want.example, rollout, want.split)
        row = Row(want.example, rollout, verdicts, self._panel.score(verdicts) if verdicts else None)
        await self._recorder.row(row, want.split)
        self._rows[want.key] = row
        self._on_row(row)
        return row


def _failed(ticket: Ticket[Row]) -> bool:
    future = ticket.future
    return future.done() and (future.cancelled() or future.exception() is not None)


class Ahead:
    """Rows that run ahead, for as long as nothing has made them superfluous."""

    def __init__(self, evaluator: Evaluator, rank: Rank) -> None:
        self._evaluator = evaluator
        self._rank = rank
        self._held: dict[Key, Ticket[Row]] = {}

    def want(self, wants: Sequence[Want]) -> None:
        """Want exactly these from now on; those that were wanted before and are not any more are given up."""
        keys = {want.key for want in wants}
        for key in self._held.keys() - keys:
            self._evaluator.release(key, self._held.pop(key))
        for position, want in enumerate(wants):
            if want.key not in self._held and not self._evaluator.knows(want.key):
                self._held[want.key] = self._evaluator.hold(want, self._rank._replace(row=position))


@dataclass(slots=True)
class _Batch:
    """Rows that are waited for together, until all are there or it is plain that this can not end well."""

    tickets: Sequence[Ticket[Row]]
    max_error_share: float
    _left: int = 0
    _troubles: list[str] = field(default_factory=list)
    _error: BaseException | None = None
    _done: asyncio.Event = field(default_factory=asyncio.Event)

    async def ended(self) -> BaseException | None:
        """What put an end to it, or None once all rows are there."""
        self._left = len(self.tickets)
        for ticket in self.tickets:
            ticket.future.add_done_callback(self._note)
        if self.tickets:
            await self._done.wait()
        return self._error

    def _note(self, future: asyncio.Future[Row]) -> None:
        self._left -= 1
        if self._done.is_set():
            return
        if future.cancelled():
            self._error = Interrupted("stopped; everything that was paid for is kept, and the same command goes on")
        elif (error := future.exception()) is not None:
            self._error = error
        elif (trouble := future.result().trouble) is not None:
            self._troubles.append(trouble)
            self._error = self._too_many()
        if self._error or not self._left:
            self._done.set()

    def _too_many(self) -> TooManyErrors | None:
        """Too many errors for any order in which these rows could have come."""
        planned, failed = len(self.tickets), len(self._troubles)
        if failed <= self.max_error_share * max(planned, ENOUGH_TO_TELL):
            return None
        words, count = Counter(trouble.split("; ")[0] for trouble in self._troubles).most_common(1)[0]
        return TooManyErrors(
            f"{failed} of {planned} examples failed, more than search.max_error_share = "
            f"{self.max_error_share:g}; most often ({count}): {words}; "
            "mend that and run the same command again, what was paid for is kept"
        )
