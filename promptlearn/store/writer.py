"""The one thread that writes, many writes to a transaction.

Knows transactions and nothing of what is written. Work waits in a queue; everything that waits is done in one
transaction, and each caller goes on when that is on the disk (invariant 2). So a write costs its share of one fsync,
and 500 tasks can write at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import chain, groupby
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Any, TypeAlias, TypeVar

from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.sql import Executable

from promptlearn.errors import StoreError
from promptlearn.store.failures import name_failure

T = TypeVar("T")
Row: TypeAlias = Mapping[str, Any]

LARGEST_GROUP = 1000
"""Writes to a transaction, at most: bounds how long other processes wait for the write lock."""


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows for one statement; neighbours with the same statement are executed together."""

    statement: Executable
    rows: Sequence[Row]
    future: Future[None]


@dataclass(frozen=True, slots=True)
class _Work:
    do: Callable[[Connection], Any]
    future: Future[Any]


_Job: TypeAlias = _Rows | _Work


class Writer:
    """Writes in the order of the calls, on a thread of its own, until it is closed."""

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
        future: Future[None] = Future()
        self._put(_Rows(statement, rows, future))
        await asyncio.shield(asyncio.wrap_future(future))

    async def run(self, do: Callable[[Connection], T]) -> T:
        """Call `do` inside a transaction and return what it returned, after the commit.

        It is called again where a neighbour in its transaction failed. Raises as `write` does, and what `do` raises.
        """
        future: Future[T] = Future()
        self._put(_Work(do, future))
        return await asyncio.shield(asyncio.wrap_future(future))

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
        while jobs := self._take():
            self._commit(jobs)

    def _take(self) -> list[_Job]:
        """Everything that waits, at least one job; nothing once the writer is closed and all is written."""
        job = self._jobs.get()
        jobs: list[_Job] = []
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

    def _commit(self, jobs: list[_Job]) -> None:
        try:
            with self._engine.begin() as connection:
                results = _perform(connection, jobs)
        except Exception as error:
            self._refuse(jobs, error)
        else:
            for job, result in zip(jobs, results, strict=True):
                job.future.set_result(result)

    def _refuse(self, jobs: list[_Job], error: Exception) -> None:
        """One bad write must not fail its neighbours: a group that failed is done again one by one."""
        if len(jobs) > 1:
            for job in jobs:
                self._commit([job])
            return
        if isinstance(error, SQLAlchemyError):
            error = name_failure(error, self._where, "written")
        jobs[0].future.set_exception(error)


def _perform(connection: Connection, jobs: Sequence[_Job]) -> list[Any]:
    """What each job returned, in order."""
    results: list[Any] = []
    for statement, group in groupby(jobs, key=lambda job: job.statement if isinstance(job, _Rows) else None):
        if statement is None:
            results += [job.do(connection) for job in group if isinstance(job, _Work)]
        else:
            neighbours = [job for job in group if isinstance(job, _Rows)]
            connection.execute(statement, list(chain.from_iterable(job.rows for job in neighbours)))
            results += [None] * len(neighbours)
    return results
