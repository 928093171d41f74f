"""Invariant 1: spent plus reserved never exceeds a cap, at any concurrency."""

import asyncio
import random
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from promptlearn.errors import BudgetSpent
from promptlearn.ledger import Account, Budget, Charge, Ledger, Reservation, RoleCap
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
    for _ in range(2):
        ledger.settle(await ledger.reserve("task", Charge()), Usage(calls=1))
    with pytest.raises(BudgetSpent, match="kept for the test split"):
        await ledger.reserve("task", Charge())
    ledger.release()
    for _ in range(8):
        ledger.settle(await ledger.reserve("task", Charge()), Usage(calls=1))
    with pytest.raises(BudgetSpent, match=r"budget\.task_calls = 10"):
        await ledger.reserve("task", Charge())


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
    second = await asyncio.wait_for(waiting[1], 1)
    ledger.cancel(second)
    assert (await asyncio.wait_for(ledger.reserve("task", Charge()), 1)).charge.calls == 1


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        (Budget(roles={"judge": RoleCap(usd=0.02)}), r"budget\.roles\.judge\.usd = 0\.02"),
        (Budget(roles={"judge": RoleCap(tokens=20)}), r"budget\.roles\.judge\.tokens = 20"),
        (Budget(judge_calls=2), r"budget\.judge_calls = 2"),
    ],
)
async def test_a_role_has_caps_of_its_own(budget: Budget, key: str) -> None:
    ledger, call = Ledger(budget), Charge(1, 10, 0.01)
    for _ in range(2):
        ledger.settle(await ledger.reserve("judge", call), Usage(1, 0, 10, 0, 0, 0.01))
    with pytest.raises(BudgetSpent, match=key):
        await ledger.reserve("judge", call)
    await ledger.reserve("task", call)


@pytest.mark.parametrize(
    ("budget", "kept"),
    [
        (Budget(usd=0.10), "0.08 usd of it kept for the test split"),
        (Budget(tokens=100), "80 tokens of it kept"),
        (Budget(roles={"task": RoleCap(usd=0.10)}), "0.08 usd of it kept"),
    ],
)
async def test_money_and_tokens_are_held_back_like_calls(budget: Budget, kept: str) -> None:
    ledger, call = Ledger(budget), Charge(1, 10, 0.01)
    ledger.hold("task", Charge(8, 80, 0.08))
    for _ in range(2):
        ledger.settle(await ledger.reserve("task", call), Usage(1, 0, 10, 0, 0, 0.01))
    with pytest.raises(BudgetSpent, match=kept):
        await ledger.reserve("task", call)
    ledger.release()
    for _ in range(8):
        ledger.settle(await ledger.reserve("task", call), Usage(1, 0, 10, 0, 0, 0.01))
    with pytest.raises(BudgetSpent):
        await ledger.reserve("task", call)
    assert ledger.spent() == Charge(10, 100, 0.1)


async def test_what_can_not_fit_any_more_is_told_at_once() -> None:
    """Even while calls that count against other caps are in flight."""
    ledger = Ledger(Budget(judge_calls=1, tokens=100))
    ledger.settle(await ledger.reserve("judge", Charge()), Usage(calls=1))
    await ledger.reserve("task", Charge(1, 50))
    with pytest.raises(BudgetSpent, match="judge_calls"):
        await asyncio.wait_for(ledger.reserve("judge", Charge()), 1)


async def test_a_reservation_that_need_not_be_made_does_not_wait() -> None:
    ledger = Ledger(Budget(tokens=100, calls=10))
    first = ledger.try_reserve("task", Charge(1, 90))
    assert first is not None
    assert ledger.try_reserve("task", Charge(1, 20)) is None
    waiting = asyncio.create_task(ledger.reserve("task", Charge(1, 20)))
    await asyncio.sleep(0)
    assert ledger.try_reserve("task", Charge(1, 1)) is None  # somebody was there before
    ledger.cancel(first)
    await waiting
    assert ledger.try_reserve("task", Charge(1, 80)) is not None
    assert ledger.try_reserve("task", Charge(0, 1)) is None  # all of it is taken, for every role
    assert ledger.try_reserve("meta", Charge(0, 1)) is None
    assert Ledger(Budget(judge_calls=4)).try_reserve("task", Charge(1, 1)) is not None


async def test_watching_counts_what_is_spent_within() -> None:
    ledger, other = Ledger(), Ledger()

    async def pay(book: Ledger, role: Role, tokens: int) -> None:
        reservation = await book.reserve(role, Charge(1, 2 * tokens, 0.5))
        await asyncio.sleep(0)
        book.settle(reservation, Usage(1, 0, tokens, 0, 0, 0.25))

    async def row(tokens: int) -> Account:
        with ledger.watch() as account:
            await asyncio.gather(pay(ledger, "task", tokens), pay(ledger, "judge", 1), pay(other, "task", 99))
            ledger.forfeit(await ledger.reserve("task", Charge(1, 1000, 0.5)))
        await pay(ledger, "task", 5)
        return account

    with ledger.watch() as both:
        first, second = await asyncio.gather(row(10), row(20))
    await pay(ledger, "meta", 7)
    assert first.roles == {"task": Charge(2, 1010, 0.75), "judge": Charge(1, 1, 0.25)}
    assert second.charge == Charge(3, 1021, 1.0)
    assert second.lost == Charge(1, 1000, 0.5)
    assert second.bought == Charge(2, 21, 0.5)
    assert both.charge == first.charge + second.charge + Charge(2, 10, 0.5)


async def test_what_was_bought_does_not_drift_with_the_order_of_calls_and_knows_when_a_price_is_unknown() -> None:
    """Invariant 8."""
    ledger, prices = Ledger(), [0.1, 0.7, 0.2, 1e-9]
    found = []
    for order in (prices, prices[::-1]):
        with ledger.watch() as account:
            for price in order:
                ledger.forfeit(await ledger.reserve("meta", Charge(1, 10, 0.3)))
                ledger.settle(await ledger.reserve("meta", Charge()), Usage(1, 0, 10, 0, 0, price))
        found.append(account.bought)
    assert found == [Charge(4, 40, 1.000000001)] * 2
    with ledger.watch() as account:
        ledger.settle(await ledger.reserve("meta", Charge()), Usage(1, 0, 10, 0, 0, 0.5))
        ledger.settle(await ledger.reserve("meta", Charge(usd=None)), Usage(1, 0, 10, 0, 0, None))
    assert account.bought == Charge(2, 20, None)


def test_a_thousand_runs_of_64_slots_never_exceed_a_cap() -> None:
    """Invariant 1. Random bounds, costs, failures and cancellations; the sums are exact, so no tolerance is needed."""

    async def call(ledger: Ledger, rng: random.Random) -> None:
        bound = Charge(1, rng.randrange(1, 900), rng.random() / 100)
        reservation = await ledger.reserve(rng.choice(ROLES), bound)
        await asyncio.sleep(0)
        fate = rng.random()
        if fate < 0.1:
            ledger.cancel(reservation)
        elif fate < 0.2:
            ledger.forfeit(reservation)
        else:
            part = rng.choice((1.0, rng.random()))
            ledger.settle(reservation, Usage(1, 0, int(bound.tokens * part), 0, 0, (bound.usd or 0) * part))
        if rng.random() < 0.2:
            check(ledger)

    def check(ledger: Ledger) -> None:
        promised, spent = ledger.reserved(), ledger.spent()
        assert spent.calls + promised.calls <= (ledger.budget.calls or 0)
        assert (spent + promised).usd <= (ledger.budget.usd or 0.0)  # type: ignore[operator]

    async def slot(ledger: Ledger, rng: random.Random) -> None:
        try:
            while True:
                await call(ledger, rng)
        except BudgetSpent:
            return

    async def main() -> None:
        for seed in range(1000):
            rng = random.Random(seed)
            ledger = Ledger(Budget(calls=rng.randrange(1, 80), usd=rng.random() / 4))
            await asyncio.gather(*(slot(ledger, rng) for _ in range(64)))
            assert ledger.reserved() == Charge(0, 0, 0.0)
            check(ledger)

    asyncio.run(main())


class LedgerMachine(RuleBasedStateMachine):
    """Invariant 1 at any interleaving of up to 64 callers who reserve, settle, forfeit, cancel and give up."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.ledger = Ledger(
            Budget(
                usd=0.02,
                tokens=1500,
                calls=20,
                task_calls=12,
                judge_calls=10,
                roles={"judge": RoleCap(0.01, 1000), "meta": RoleCap(tokens=500)},
            )
        )
        self.ledger.hold("task", Charge(3, 200, 0.002))
        self.held = Charge(3, 200, 0.002)
        self.asking: list[asyncio.Task[Reservation]] = []
        self.open: list[Reservation] = []

    def turn(self) -> None:
        """Let everybody go on until all wait."""
        for _ in range(8):
            self.loop.run_until_complete(asyncio.sleep(0))
        for task in [task for task in self.asking if task.done()]:
            self.asking.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.open.append(task.result())
            elif not task.cancelled():
                assert isinstance(task.exception(), BudgetSpent)

    @precondition(lambda self: len(self.asking) + len(self.open) < 64)
    @rule(role=st.sampled_from(ROLES), tokens=st.integers(0, 400), usd=st.floats(0, 0.004))
    def ask(self, role: Role, tokens: int, usd: float) -> None:
        self.asking.append(self.loop.create_task(self.ledger.reserve(role, Charge(1, tokens, usd))))
        self.turn()

    @rule(role=st.sampled_from(ROLES), tokens=st.integers(0, 400), usd=st.floats(0, 0.004))
    def ask_without_waiting(self, role: Role, tokens: int, usd: float) -> None:
        reservation = self.ledger.try_reserve(role, Charge(1, tokens, usd))
        if reservation is not None:
            assert not self.asking
            self.open.append(reservation)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 63), part=st.floats(0, 1))
    def settle(self, which: int, part: float) -> None:
        reservation = self.open.pop(which % len(self.open))
        charge = reservation.charge
        self.ledger.settle(reservation, Usage(1, 0, int(charge.tokens * part), 0, 0, (charge.usd or 0) * part))
        self.turn()

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 63), billed=st.booleans())
    def fail(self, which: int, billed: bool) -> None:
        reservation = self.open.pop(which % len(self.open))
        (self.ledger.forfeit if billed else self.ledger.cancel)(reservation)
        self.turn()

    @precondition(lambda self: self.asking)
    @rule(which=st.integers(0, 63), ends=st.sampled_from(("before", "after", "not")))
    def give_up(self, which: int, ends: str) -> None:
        """A caller is cancelled; another call may end at the same moment."""
        if ends == "before" and self.open:
            self.ledger.cancel(self.open.pop())
        self.asking[which % len(self.asking)].cancel()
        if ends == "after" and self.open:
            self.ledger.cancel(self.open.pop())
        self.turn()

    @rule()
    def release(self) -> None:
        self.ledger.release()
        self.held = Charge(0, 0, 0.0)
        self.turn()

    @invariant()
    def no_cap_is_exceeded(self) -> None:
        budget, taken = self.ledger.budget, self.ledger.spent() + self.ledger.reserved() + self.held
        assert taken.calls <= (budget.calls or 0)
        assert taken.tokens <= (budget.tokens or 0)
        assert (taken.usd or 0) <= (budget.usd or 0) + 1e-15
        for role in ROLES:
            own = self.ledger.spent(role) + self.ledger.reserved(role)
            cap = budget.roles.get(role, RoleCap())
            assert own.tokens <= (cap.tokens or inf)
            assert (own.usd or 0) <= (cap.usd or inf) + 1e-15
            assert own.calls <= {"task": 12, "judge": 10, "meta": 20}[role]

    @invariant()
    def the_books_agree(self) -> None:
        promised = sum((reservation.charge for reservation in self.open), Charge(0, 0, 0.0))
        assert self.ledger.reserved().calls == len(self.open)
        assert self.ledger.reserved().tokens == promised.tokens
        assert self.ledger.reserved().usd == pytest.approx(promised.usd, abs=1e-9)
        total = sum((self.ledger.spent(role) for role in ROLES), Charge(0, 0, 0.0))
        assert (total.calls, total.tokens) == (self.ledger.spent().calls, self.ledger.spent().tokens)

    @invariant()
    def nobody_waits_for_nothing(self) -> None:
        assert self.open or not self.asking

    def teardown(self) -> None:
        async def end() -> None:
            for task in self.asking:
                task.cancel()
            await asyncio.gather(*self.asking, return_exceptions=True)

        self.loop.run_until_complete(end())
        self.loop.close()


TestAnyInterleaving = LedgerMachine.TestCase
TestAnyInterleaving.settings = settings(max_examples=30, stateful_step_count=60, deadline=None)
