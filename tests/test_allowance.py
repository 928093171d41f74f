"""The allowance: what rounds may use is decided by commits and by what they read, never by the clock."""

import asyncio

import pytest

from promptlearn.errors import BudgetSpent
from promptlearn.ledger import Budget, Charge
from promptlearn.optimizer.allowance import Allowance, Spending, spare_rows


def used(rows: int, tokens: int = 0) -> Spending:
    return Spending(rows, charges={"task": Charge(rows, tokens)})


async def test_rounds_are_opened_while_there_is_room_for_what_they_may_need() -> None:
    allowance = Allowance(Budget(task_calls=1000), 0, kept=100, spare=0.1)  # 1000 - 10 % - 100 = 800
    assert allowance.open(0, 300, 300)
    assert allowance.open(1, 300, 300)
    assert not allowance.open(2, 300, 300)
    await allowance.take(0, 50)
    allowance.use(0, used(50))
    allowance.close(0, used(50))
    assert allowance.open(2, 300, 300)


async def test_before_the_first_commit_a_round_gets_half_of_what_it_may_need_at_most() -> None:
    allowance = Allowance(Budget(task_calls=1000), 0, kept=100, spare=0.1)  # 800 for the search
    assert [allowance.open(number, 50, 350) for number in range(5)] == [True] * 4 + [False]  # 200 each


async def test_rows_that_rounds_read_together_are_held_back_once() -> None:
    allowance = Allowance(Budget(task_calls=1000), 0, kept=100, spare=0.1)
    allowance.share(300)
    assert [allowance.open(number, 200, 200) for number in range(3)] == [True, True, False]
    allowance.share(50)
    assert allowance.open(2, 200, 200)


async def test_a_round_that_needs_more_waits_for_its_turn_and_then_takes_what_is_left() -> None:
    allowance = Allowance(Budget(task_calls=1000), 0, kept=0, spare=0.1)
    assert allowance.open(0, 300, 300)
    assert allowance.open(1, 300, 300)
    asked = asyncio.create_task(allowance.take(1, 500))
    await asyncio.sleep(0)
    assert not asked.done()
    allowance.use(0, used(200))
    allowance.close(0, used(200))
    await asked


async def test_the_oldest_waits_for_younger_ones_to_rest_before_it_gives_up() -> None:
    allowance = Allowance(Budget(task_calls=1000), 0, kept=0, spare=0.1)  # 900 for the search
    assert allowance.open(0, 400, 400)
    assert allowance.open(1, 400, 400)
    asked = asyncio.create_task(allowance.take(0, 800))
    await asyncio.sleep(0)
    assert not asked.done()
    allowance.use(1, used(50))
    allowance.rest(1)
    await asked
    with pytest.raises(BudgetSpent, match=r"budget\.task_calls = 1000 has 850 left"):
        await allowance.take(0, 900)


async def test_tokens_are_counted_in_what_a_row_has_cost_so_far() -> None:
    allowance = Allowance(Budget(tokens=10_000), 0, kept=10, spare=0.1)
    assert allowance.open(0, 50, 50)
    assert not allowance.open(1, 50, 50)  # nobody knows yet what a row costs
    await allowance.take(0, 20)
    allowance.use(0, used(20, tokens=2000))  # 100 each: 9,000 - 2,000 pays for 70; those kept may be dearer by half
    await allowance.take(0, 55)
    with pytest.raises(BudgetSpent, match=r"budget\.tokens"):
        await allowance.take(0, 56)


async def test_a_round_that_could_hardly_race_is_not_begun() -> None:
    allowance = Allowance(Budget(task_calls=500), 0, kept=0, spare=0.1)
    assert allowance.open(0, 300, 300)
    allowance.use(0, used(400))
    allowance.close(0, used(400))
    with pytest.raises(BudgetSpent, match="needs 300 rows"):
        allowance.open(1, 300, 300)


async def test_without_caps_everything_is_open() -> None:
    allowance = Allowance(Budget(), 0, kept=10, spare=0.1)
    assert all(allowance.open(number, 10**6, 10**6) for number in range(5))
    await allowance.take(3, 10**9)


def test_the_spare_part_is_counted_in_rows() -> None:
    assert spare_rows(Budget(), 1, 0.1) is None
    assert spare_rows(Budget(task_calls=1000), 1, 0.1) == 100
    assert spare_rows(Budget(task_calls=1000, calls=1000), 1, 0.1) == 50


async def test_what_is_missing_adds_up_and_says_how_much_would_be_enough() -> None:
    """107 test rows, 118 validation rows."""

    def narrow(cap: int) -> Allowance:
        allowance = Allowance(Budget(task_calls=cap), 0, kept=214, spare=0.1)
        allowance.share(118)
        allowance.open(0, 40, 300)
        return allowance

    with pytest.raises(BudgetSpent) as spent:
        await narrow(350).take(0, 8)
    assert str(spent.value) == (
        "the next step needs 8 rows, and budget.task_calls = 350 has 0 left for the search (held back are 214 for the "
        "test split, 35 for speed (search.spare), 118 for the incumbent's validation rows); raise it to at least 378 "
        "and run the same command again"
    )
    with pytest.raises(BudgetSpent, match="at least 378"):
        await narrow(377).take(0, 8)
    allowance = narrow(378)
    await allowance.take(0, 8)
    allowance.use(0, used(8))
    with pytest.raises(
        BudgetSpent, match=r"has 0 left for the search \(8 spent, held back are 214 for .* at least 414"
    ):
        await allowance.take(0, 32)


async def test_what_other_rounds_have_read_is_named_too() -> None:
    allowance = Allowance(Budget(task_calls=1000), 0, kept=0, spare=0.1)
    assert allowance.open(0, 400, 400)
    assert allowance.open(1, 400, 400)
    allowance.use(1, used(50))
    allowance.rest(1)
    with pytest.raises(BudgetSpent, match=r"850 left .*100 for speed \(search\.spare\), 50 for other rounds.* 1056"):
        await allowance.take(0, 900)


async def test_a_row_of_several_calls_is_counted_in_calls() -> None:
    allowance = Allowance(Budget(calls=100), 1, kept=20, spare=0.1)
    allowance.open(0, 0, 0)
    with pytest.raises(
        BudgetSpent, match=r"needs 30 rows \(60 of it\), and .* 100 has 50 left .*\(held back are 40 for"
    ):
        await allowance.take(0, 30)
