"""The pool: who gets a slot first, and what may run ahead."""

import asyncio
from collections.abc import Callable, Coroutine

import pytest

from promptlearn.errors import Interrupted
from promptlearn.scheduler import NOW, Pool, Rank, Slots, Spare

AHEAD = Rank(ahead=True)


class Work:
    """Jobs that end when they are told to."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._gates: dict[str, asyncio.Event] = {}

    def job(self, name: str) -> Callable[[], Coroutine[None, None, str]]:
        async def run() -> str:
            self.begun.append(name)
            await self._gates.setdefault(name, asyncio.Event()).wait()
            return name

        return run

    def end(self, *names: str) -> None:
        for name in names:
            self._gates.setdefault(name, asyncio.Event()).set()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_most_urgent_goes_first_whatever_the_order_of_asking() -> None:
    pool, work = Pool(Slots(1)), Work()
    tickets = [pool.submit(work.job(str(row)), Rank(round=1, row=row)) for row in (3, 1, 2)]
    tickets.append(pool.submit(work.job("older round"), Rank(round=0, row=9)))
    work.end("1", "2", "3", "older round")
    await asyncio.gather(*(ticket.future for ticket in tickets))
    assert work.begun == ["older round", "1", "2", "3"]


async def test_never_more_than_its_width_and_never_an_empty_place() -> None:
    pool, work = Pool(Slots(3)), Work()
    tickets = [pool.submit(work.job(str(number))) for number in range(10)]
    await settle()
    for number in range(7):
        assert len(work.begun) == number + 3
        work.end(str(number))
        await settle()
    work.end("7", "8", "9")
    assert [await ticket.future for ticket in tickets] == [str(number) for number in range(10)]


async def test_nothing_runs_ahead_while_nothing_is_paid_for() -> None:
    """A repeated run finds its certain rows in the journal, and must not pay for others."""
    pool, work = Pool(Slots(4)), Work()
    ticket = pool.submit(work.job("ahead"), AHEAD)
    await settle()
    assert work.begun == []
    async with pool.slots:
        await settle()
        assert work.begun == ["ahead"]
    work.end("ahead")
    assert await ticket.future == "ahead"


async def test_what_runs_ahead_in_vain_is_bounded() -> None:
    pool, work = Pool(Slots(8), Spare(4)), Work()
    async with pool.slots:
        tickets = [pool.submit(work.job(str(row)), Rank(ahead=True, row=row)) for row in range(5)]
        await settle()
        assert work.begun == ["0", "1"]
        assert pool.release(tickets[0])  # its candidate was dropped
        pool.promote(tickets[1], NOW)  # this one turned out to be needed
        await settle()
        assert work.begun == ["0", "1", "2"]
        assert (pool.spare.lost, pool.spare.at_stake) == (1, 1)
        assert not pool.release(tickets[4])
        await settle()
        assert tickets[4].future.cancelled()
    work.end("0", "1", "2")
    await pool.drain()


async def test_work_that_two_want_runs_once_and_only_the_last_can_give_it_up() -> None:
    pool, work = Pool(Slots(1)), Work()
    blocker = pool.submit(work.job("blocker"))
    shared = pool.submit(work.job("shared"), AHEAD)
    pool.hold(shared, NOW)
    pool.release(shared)
    work.end("blocker", "shared")
    assert await shared.future == "shared"
    assert await blocker.future == "blocker"
    assert work.begun == ["blocker", "shared"]


async def test_an_error_reaches_those_who_wait_and_the_pool_goes_on() -> None:
    async def fail() -> None:
        raise ValueError("no")

    pool, work = Pool(Slots(1)), Work()
    failing, next_one = pool.submit(fail), pool.submit(work.job("next"))
    work.end("next")
    with pytest.raises(ValueError, match="no"):
        await failing.future
    assert await next_one.future == "next"


async def test_a_stopped_pool_begins_nothing_and_finishes_what_it_began() -> None:
    stopped = False
    pool, work = Pool(Slots(1), stopping=lambda: stopped), Work()
    first, second = pool.submit(work.job("first")), pool.submit(work.job("second"))
    await settle()
    stopped = True
    work.end("first", "second")
    assert await first.future == "first"
    with pytest.raises(Interrupted):
        await second.future
    assert work.begun == ["first"]
