"""Invariant 1: spent plus reserved never exceeds a cap, at any concurrency."""

import asyncio
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptlearn.errors import BudgetSpent
from promptlearn.ledger import Budget, Charge, Ledger
from promptlearn.records import ROLES, Role, Usage


async def spend(ledger: Ledger, role: Role, bound: Charge, usage: Usage, wait: float) -> bool:
    try:
        reservation = await ledger.reserve(role, bound)
    except BudgetSpent:
        return False
    await asyncio.sleep(wait)
    ledger.settle(reservation, usage)
    return True


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(100, 4000), st.floats(0.001, 0.05))
def test_no_cap_is_ever_exceeded(seed: int, calls: int, tokens: int, usd: float) -> None:
    """64 callers with random bounds and random real costs below them."""
    rng = random.Random(seed)
    ledger = Ledger(Budget(calls=calls, tokens=tokens, usd=usd, task_calls=max(1, calls // 2)))

    async def race() -> list[bool]:
        jobs = []
        for _ in range(64):
            bound = Charge(1, rng.randrange(1, 200), rng.random() / 1000)
            used = Usage(
                calls=1, input_tokens=rng.randrange(0, bound.tokens + 1), cost_usd=(bound.usd or 0) * rng.random()
            )
            jobs.append(spend(ledger, rng.choice(ROLES), bound, used, rng.random() / 500))
        return await asyncio.gather(*jobs)

    asyncio.run(race())
    total = [ledger.spent(role) for role in ROLES]
    assert sum(charge.calls for charge in total) <= calls
    assert sum(charge.tokens for charge in total) <= tokens
    assert sum(charge.usd or 0 for charge in total) <= usd + 1e-12
    assert ledger.spent("task").calls <= max(1, calls // 2)


async def test_a_reservation_waits_for_calls_in_flight_before_the_budget_is_spent() -> None:
    ledger = Ledger(Budget(tokens=100))
    first = await ledger.reserve("task", Charge(1, 90))
    second = asyncio.create_task(ledger.reserve("task", Charge(1, 50)))
    await asyncio.sleep(0)
    assert not second.done()
    ledger.settle(first, Usage(calls=1, input_tokens=20))
    assert (await second).charge.tokens == 50
    ledger.settle(await second, Usage(calls=1, input_tokens=70))
    with pytest.raises(BudgetSpent, match=r"budget\.tokens = 100"):
        await ledger.reserve("task", Charge(1, 20))


async def test_what_is_held_back_is_not_for_others_until_it_is_released() -> None:
    ledger = Ledger(Budget(task_calls=10))
    ledger.hold("task", Charge(8))
    assert ledger.affordable_calls("task") == 2
    for _ in range(2):
        ledger.settle(await ledger.reserve("task", Charge()), Usage(calls=1))
    with pytest.raises(BudgetSpent, match="kept for the test split"):
        await ledger.reserve("task", Charge())
    ledger.release()
    assert ledger.affordable_calls("task") == 8


async def test_journal_hits_count_towards_caps_and_not_as_paid() -> None:
    """A repeated run stops where the first one did, and reports that it paid nothing."""
    ledger = Ledger(Budget(calls=1))
    reservation = await ledger.reserve("meta", Charge())
    ledger.settle(reservation, Usage(calls=1, input_tokens=5, cost_usd=0.1), cached=True)
    assert ledger.usage("meta") == Usage(cached_calls=1)
    with pytest.raises(BudgetSpent):
        await ledger.reserve("meta", Charge())


async def test_minutes_count_from_earlier_attempts_on() -> None:
    now = [0.0]
    ledger = Ledger(Budget(minutes=2), clock=lambda: now[0], minutes_before=1.5)
    await ledger.reserve("task", Charge())
    now[0] = 31.0
    with pytest.raises(BudgetSpent, match=r"budget\.minutes = 2"):
        await ledger.reserve("task", Charge())


async def test_a_caller_that_is_cancelled_while_waiting_lets_the_next_one_through() -> None:
    ledger = Ledger(Budget(calls=1))
    first = await ledger.reserve("task", Charge())
    waiting = [asyncio.create_task(ledger.reserve("task", Charge())) for _ in range(2)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    ledger.cancel(first)
    assert (await waiting[1]).charge.calls == 1
