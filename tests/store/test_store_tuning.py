"""Training steps in the store: kept whole, replaced when they are done again, found by run."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from stores import KINDS, fresh_store

from promptlearn.errors import UsageError
from promptlearn.handout import handout
from promptlearn.report import list_runs, load_run, tuning, tuning_samples
from promptlearn.store import Store
from promptlearn.store.codec import decode
from promptlearn.store.rows import TUNING
from promptlearn.store.tuning_rows import TuningSample, TuningSpending, TuningStep, TuningValidation


@pytest.fixture(params=KINDS)
def store(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Store]:
    with fresh_store(request.param, tmp_path, "hush-hush") as opened:
        yield opened


def step(number: int, reward: float | None = 0.5) -> TuningStep:
    return TuningStep(
        number, reward, 0.2, samples=8, failed=1, groups=2, dropped=1, truncated=3, length=4.5, staleness=1
    )


async def test_a_step_that_is_done_again_replaces_itself(store: Store) -> None:
    run = await store.start_run({}, TUNING + "digest", {}, seed=0)
    sample = TuningSample(1, 0, 0, "e1", "blue", 1.0, {"label_set": 1.0}, "got `blue`")
    await store.tuning.add_step(run, step(1), [sample])
    await store.tuning.add_step(run, step(2, None), [])
    await store.tuning.add_step(run, step(1, 0.75), [sample])
    assert store.tuning.steps(run) == [step(1, 0.75), step(2, None)]
    assert store.tuning.steps(run, after=1) == [step(2, None)]
    assert tuning_samples(store, run, 1) == [sample]
    assert store.tuning.steps("another") == []


async def test_a_training_run_is_read_as_a_whole_and_stays_out_of_other_lists(store: Store) -> None:
    with pytest.raises(UsageError, match="no training run yet"):
        tuning(store)
    learning = await store.start_run({}, "digest", {}, seed=0)
    run = await store.start_run({"tuning": {"steps": 3}}, TUNING + "digest", {}, seed=0)
    await store.tuning.add_validation(run, TuningValidation(0, 0.25, 20, 0, best=True))
    await store.tuning.add_step(run, step(1), [])
    await store.add_event(run, "started", {"warnings": ["a group of 2 says little"]})
    report = tuning(store)
    assert (report.id, report.steps, report.warnings) == (run, (step(1),), ("a group of 2 says little",))
    assert [one.score for one in report.validations] == [0.25]
    assert load_run(store).id == learning
    assert [one.is_tuning for one in list_runs(store)] == [True, False]
    with pytest.raises(UsageError, match="trained no weights"):
        tuning(store, learning)
    with pytest.raises(UsageError, match=f"promptlearn tune status {run}"):
        handout(store, run)


async def test_a_reading_that_an_older_version_kept_is_read(store: Store) -> None:
    old = decode(TuningValidation, '{"step": 2, "score": 0.25, "n": 20, "unscored": 0, "best": true, "parts": {}}')
    assert old.spending is None
    run = await store.start_run({}, TUNING + "digest", {}, seed=0)
    spent = TuningSpending({"task": 20, "judge": 7}, {"task": 900}, {"task": 0.0, "judge": None}, 1.5, 2.5)
    await store.tuning.add_validation(run, replace(old, spending=spent))
    assert [one.spending for one in store.tuning.validations(run)] == [spent]


async def test_no_secret_of_a_failed_judge_is_kept(store: Store) -> None:
    """Invariant 10."""
    run = await store.start_run({}, TUNING + "digest", {}, seed=0)
    said = "the key hush-hush was refused"
    await store.tuning.add_step(run, step(1), [TuningSample(1, 0, 0, "e", "", None, {}, said, error=said)])
    [kept] = tuning_samples(store, run, 1)
    assert "hush-hush" not in kept.error + kept.feedback
    assert "was refused" in kept.error
