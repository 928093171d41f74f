"""The one thread that writes, many writes to a transaction.

Knows transactions and nothing of what is written. Work waits in a queue; everything that waits is done in one
transaction, and each caller goes on when that is on the disk (invariant 2). So a write costs its share of one fsync,
and 500 tasks can write at once. A lone write is done at once; where the last group had company, the next one waits a
millisecond for its own: fewer and larger groups leave the event loop more of the processor.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import Executable

from promptlearn.errors import StoreError
from promptlearn.store.dialect import execute
from promptlearn.store.failures import name_failure

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]
Rows: TypeAlias = tuple[Executable, Sequence[Row]]
"""A statement, and the rows to execute it for."""
Outcome: TypeAlias = tuple["asyncio.Future[Any]", Any, Exception | None]
"""Whom to tell, what the work returned, or why it failed."""

LARGEST_GROUP = 1000
"""Writes to a transaction, at most: bounds how long other processes wait for the write lock."""
GATHERING = 0.001
"""Seconds that a group waits for company. Half a group commit on a fast disk; measured by `benchmarks/store.py`."""


@dataclass(frozen=True, slots=True)
class _Put:
    """Rows of one caller. Rows of all callers in a group that have the same statement are executed together."""

    parts: Sequence[Rows]
    future: asyncio.Future[None]


@dataclass(frozen=True, slots=True)
class _Work:
    do: Callable[[Connection], Any]
    future: asyncio.Future[Any]


_Job: TypeAlias = _Put | _Work


class Writer:
    """Writes on a thread of its own until it is closed: what was asked for later is not on the disk earlier."""

    def __init__(self, engine: Engine, where: str) -> None:
        self._engine = engine
        self._where = where
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = Lock()
        self._closed = False
        # A daemon, so that a program that forgets to close still ends; what was awaited is on the disk by then.
        self._thread = Thread(target=self._serve, name="promptlearn-store", daemon=True)
        self._thread.start()

    async def write(self, statement: Executable, *rows: Row) -> None:
        """Execute a statement once for each row, and return after the commit.

        Raises `StoreError` where the database refuses. A cancelled caller does not take its write back.
        """
        await self.write_together((statement, rows))

    async def write_together(self, *parts: Rows) -> None:
        """As `write`, for several statements: all their rows are kept, or none is.

        Within one transaction rows of different statements go in statement by statement, so that rows which refer to
        each other belong into two calls, one awaited after the other.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._put(_Put(parts, future))
        await future

    async def run(self, do: Callable[[Connection], T]) -> T:
        """Call `do` inside a transaction and return what it returned, after the commit.

        It sees every write that was asked for before, and is called again where a neighbour in its transaction failed.
        Raises as `write` does, and what `do` raises.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._put(_Work(do, future))
        return await future

    def close(self) -> None:
        """Write what waits, then end the thread. Closing twice is closing once."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _put(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise StoreError(f"the store at {self._where} is closed: open it again to write to it")
            self._jobs.put(job)

    def _serve(self) -> None:
        company = 0
        while jobs := self._take(GATHERING if company > 1 else 0):
            _tell(self._commit(jobs))
            company = len(jobs)

    def _take(self, gathering: float) -> list[_Job]:
        """Everything that waits, at least one job; nothing once the writer is closed and all is written."""
        job = self._jobs.get()
        jobs: list[_Job] = []
        if gathering and job is not None:
            time.sleep(gathering)
        while job is not None:
            jobs.append(job)
            if len(jobs) == LARGEST_GROUP:
                return jobs
            try:
                job = self._jobs.get_nowait()
            except Empty:
                return jobs
        if jobs:
            self._jobs.put(None)
        return jobs

    def _commit(self, jobs: Sequence[_Job]) -> list[Outcome]:
        """One transaction. One bad write must not fail its neighbours: a group that failed is done again one by one."""
        try:
            with self._engine.begin() as connection:
                results = _perform(connection, jobs)
        except Exception as error:
            if len(jobs) > 1:
                return [outcome for job in jobs for outcome in self._commit([job])]
            failure = name_failure(error, self._where, "written") if isinstance(error, SQLAlchemyError) else error
            return [(jobs[0].future, None, failure)]
        return [(job.future, result, None) for job, result in zip(jobs, results, strict=True)]


def _perform(connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
    """What each job returned, in order."""
    results: list[Any] = []
    waiting: defaultdict[Executable, list[Row]] = defaultdict(list)
    for job in jobs:
        if isinstance(job, _Put):
            for statement, rows in job.parts:
                waiting[statement] += rows
            results.append(None)
        else:
            _execute_all(connection, waiting)
            results.append(job.do(connection))
    _execute_all(connection, waiting)
    return results


def _execute_all(connection: Connection, waiting: defaultdict[Executable, list[Row]]) -> None:
    for statement, rows in waiting.items():
        execute(connection, statement, rows)
    waiting.clear()


def _tell(outcomes: Sequence[Outcome]) -> None:
    """Wake each event loop once for all of its callers: to wake it for each of them would cost more than the write."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Outcome]] = defaultdict(list)
    for outcome in outcomes:
        by_loop[outcome[0].get_loop()].append(outcome)
    for loop, theirs in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle, theirs)
        except RuntimeError:
            if not loop.is_closed():
                raise
            # A program that ended without waiting: the write is kept, and nobody is there to hear of it.


def _settle(outcomes: Sequence[Outcome]) -> None:
    for future, result, error in outcomes:
        if future.done():  # its caller was cancelled
            continue
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
