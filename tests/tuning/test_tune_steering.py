"""A training obeys what people ask of it while it works, as any other run does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from colours import colour_job, colour_tuning
from toy_policy import toy_backend

from promptlearn import control, report, steering
from promptlearn.errors import Interrupted
from promptlearn.ledger import Budget
from promptlearn.store import Store, open_store
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.run import train


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "POLL", 0.02)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to that")


def steps(store: Store) -> int:
    runs = list(store.running())
    return len(report.tuning(store, runs[0]).steps) if runs else 0


async def begun(store: Store, budget: Budget | None = None) -> asyncio.Task[TuneResult]:
    """A training that has taken a step, with nine to come."""
    backend = toy_backend(lambda: 0.006)
    job = colour_job(store, budget=budget) if budget else colour_job(store)
    training = asyncio.create_task(train(job, colour_tuning(steps=10), backend))
    await until(lambda: training.done() or steps(store) > 0)
    return training


async def test_a_paused_training_draws_nothing_and_ends_as_ever(store: Store, tmp_path: Path) -> None:
    """Invariant 8: a pause changes nothing but the time."""
    training = await begun(store)
    (run,) = store.running()
    control.pause(store, run, "ana")
    await until(lambda: report.overview(store, run).standing == "paused")
    await asyncio.sleep(0.2)
    stood = steps(store)
    await asyncio.sleep(0.3)
    assert (training.done(), steps(store)) == (False, stood)
    control.resume(store, run, "ana")
    paused = await training
    with open_store(tmp_path / "other.db") as other:
        plain = await (await begun(other))
    assert [reading.score for reading in paused.validation] == [reading.score for reading in plain.validation]


async def test_a_stopped_training_saves_and_goes_on(store: Store) -> None:
    training = await begun(store)
    (run,) = store.running()
    control.stop(store, run, "ben")
    with pytest.raises(Interrupted):
        await training
    assert report.overview(store, run).standing == "interrupted"
    result = await train(colour_job(store), colour_tuning(steps=10), toy_backend())
    assert (result.run_id, result.state) == (run, "finished")


async def test_a_raised_cap_holds_at_once(store: Store) -> None:
    training = await begun(store, Budget(task_calls=100))
    (run,) = store.running()
    control.raise_budget(store, run, "ben", {"task_calls": 5000})
    result = await training
    assert (result.state, result.usage["task"].calls > 100) == ("finished", True)
