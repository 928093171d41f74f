"""The pool: a fixed number of slots that are always given to the most urgent work.

Knows urgency and nothing of what is done. Work that is certain to be needed goes first, older rounds before younger
ones; slots that would stand empty are lent to work that runs ahead of a decision (a row that is superfluous if its
candidate is dropped before). How much may be lost that way is bounded by `Spare`, so that no budget is eaten by it.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable, Coroutine
from contextvars import Context, copy_context
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from typing import Any, Generic, Literal, NamedTuple, TypeVar

from promptlearn.errors import Interrupted

T = TypeVar("T")

HEADROOM = 16
"""One place in so many is not lent to work that runs ahead, so that a slow call can be asked a second time."""


class Rank(NamedTuple):
    """How urgent work is; the smallest goes first."""

    ahead: bool = False
    """Whether it runs ahead of a decision that may make it superfluous."""
    round: int = 0
    row: int = 0


NOW = Rank()


@dataclass(slots=True)
class Spare:
    """How many rows may be lost: half of them to running ahead, half to second copies; None is any number."""

    rows: int | None = None
    lost: int = 0
    at_stake: int = 0
    """Begun ahead of their decision, which is not made yet."""
    copies: int = 0

    @property
    def free(self) -> bool:
        """Whether another row may run ahead."""
        return self.rows is None or self.lost + self.at_stake < self.rows - self.rows // 2

    def regain(self) -> None:
        """Something that was lost turned out to be needed after all."""
        self.lost -= 1

    def copy(self) -> bool:
        """Take one for the second copy of a slow call; False where none is left."""
        if self.rows is not None and self.copies >= self.rows // 2:
            return False
        self.copies += 1
        return True


@dataclass(eq=False, slots=True)
class Ticket(Generic[T]):
    """Work in the pool. `future` has its result; whoever wants it holds the ticket."""

    work: Callable[[], Coroutine[Any, Any, T]]
    rank: Rank
    future: asyncio.Future[T]
    context: Context = field(default_factory=copy_context)
    holders: int = 1
    begun: bool = False


class Slots(asyncio.Semaphore):
    """One slot per paid call, over all roles; several pools (of several runs) may share them."""

    def __init__(self, width: int) -> None:
        super().__init__(width)
        self.width = width
        self.taken = 0
        self._listeners: list[Callable[[], None]] = []

    @property
    def some_free(self) -> bool:
        """Whether calls are being paid for now, and there is room for more."""
        return 0 < self.taken < self.width

    def listen(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever a slot is taken or given back."""
        self._listeners.append(listener)

    def unlisten(self, listener: Callable[[], None]) -> None:
        if listener in self._listeners:
            self._listeners.remove(listener)

    async def acquire(self) -> Literal[True]:
        await super().acquire()
        self.taken += 1
        self._tell()
        return True

    def release(self) -> None:
        self.taken -= 1
        super().release()
        self._tell()

    def _tell(self) -> None:
        for listener in self._listeners:
            listener()


class Pool:
    """Runs work in as many places as there are slots; `stopping` is looked at before each piece of work is begun.

    Nothing runs ahead while no call is being paid for: a run that is repeated or resumed gets its certain work from the
    journal at once, and must not pay for work that it will turn out not to need.
    """

    def __init__(self, slots: Slots, spare: Spare | None = None, stopping: Callable[[], bool] = lambda: False) -> None:
        self.width = slots.width
        self._places_ahead = slots.width - max(1, slots.width // HEADROOM)
        self.slots = slots
        """For the paid calls that the work makes."""
        self.spare = spare or Spare()
        self._stopping = stopping
        self._closed = False
        self._queue: list[tuple[Rank, int, Ticket[Any]]] = []
        self._numbers = count()
        self._running: set[asyncio.Task[Any]] = set()
        self._wake: asyncio.Handle | None = None
        slots.listen(self._slots_changed)

    def submit(self, work: Callable[[], Coroutine[Any, Any, T]], rank: Rank = NOW) -> Ticket[T]:
        """Queue work. Its ticket fails with `Interrupted` where the run is stopped before it is begun."""
        ticket = Ticket(work, rank, asyncio.get_running_loop().create_future())
        self._push(ticket)
        return ticket

    def hold(self, ticket: Ticket[Any], rank: Rank) -> None:
        """Want what another wants too; the more urgent rank counts."""
        ticket.holders += 1
        self.promote(ticket, rank)

    def promote(self, ticket: Ticket[Any], rank: Rank) -> None:
        if rank >= ticket.rank:
            return
        if ticket.begun:
            if ticket.rank.ahead and not rank.ahead:
                self.spare.at_stake -= 1
            ticket.rank = rank
        else:
            ticket.rank = rank
            self._push(ticket)
        self._soon()

    def release(self, ticket: Ticket[Any]) -> bool:
        """Want it no longer; whether it was lost. Nobody's work is not begun, but work that is under way ends."""
        ticket.holders -= 1
        lost = False
        if not ticket.holders and not ticket.begun:
            ticket.future.cancel()
        elif not ticket.holders and ticket.rank.ahead:
            ticket.rank, lost = ticket.rank._replace(ahead=False), True
            self.spare.at_stake -= 1
            self.spare.lost += 1
        self._soon()
        return lost

    async def drain(self) -> None:
        """Begin nothing any more, and wait for what is under way; give that up too where the caller is cancelled."""
        self._closed = True
        self._fill()
        caller = asyncio.current_task()
        if caller is not None and caller.cancelling():
            for task in self._running:
                task.cancel()
        while self._running:
            await asyncio.wait(self._running)
        self.slots.unlisten(self._slots_changed)

    def _push(self, ticket: Ticket[Any]) -> None:
        heapq.heappush(self._queue, (ticket.rank, next(self._numbers), ticket))
        self._soon()

    def _slots_changed(self) -> None:
        if self._queue:
            self._soon()

    def _soon(self) -> None:
        """Look at the queue once everybody who speaks now has spoken, so that order of speaking is no urgency."""
        if self._wake is None:
            self._wake = asyncio.get_running_loop().call_soon(self._fill)

    def _fill(self) -> None:
        self._wake = None
        while (self._closed or len(self._running) < self.width) and (ticket := self._next()) is not None:
            ticket.begun = True
            task = asyncio.get_running_loop().create_task(ticket.work(), context=ticket.context)
            self._running.add(task)
            task.add_done_callback(partial(self._end, ticket))

    def _next(self) -> Ticket[Any] | None:
        """The most urgent work; None where there is none, or only such as may not run ahead now."""
        while self._queue:
            rank, _, ticket = self._queue[0]
            if ticket.begun or ticket.future.done() or rank != ticket.rank:
                heapq.heappop(self._queue)  # begun, given up, or queued again with another rank
            elif self._closed or self._stopping():
                heapq.heappop(self._queue)
                ticket.future.set_exception(
                    Interrupted("stopped; everything that was paid for is kept, and the same command goes on")
                )
                ticket.future.exception()  # nobody need be waiting for it
            elif rank.ahead and (
                len(self._running) >= self._places_ahead or not self.slots.some_free or not self.spare.free
            ):
                return None
            else:
                heapq.heappop(self._queue)
                self.spare.at_stake += rank.ahead
                return ticket
        return None

    def _end(self, ticket: Ticket[Any], task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled():
            ticket.future.cancel()
        elif ticket.future.cancelled():
            task.exception()  # it failed after everybody had gone
        elif (error := task.exception()) is not None:
            ticket.future.set_exception(error)
            ticket.future.exception()
        else:
            ticket.future.set_result(task.result())
        self._fill()
