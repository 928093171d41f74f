"""Rejection sampling: what is kept, and that it learns, stops and goes on like the other method."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from colours import colour_job, colour_tuning
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from test_tune_loop import SlowJudge, steps_in, table
from toy_policy import toy_backend

from promptlearn.errors import Interrupted
from promptlearn.records import Example, Rollout, Verdict
from promptlearn.report import tuning, tuning_samples
from promptlearn.runlog import Event
from promptlearn.store import Store, open_store
from promptlearn.tuning.base import Sample, TrainSample
from promptlearn.tuning.rejection import keep_passed
from promptlearn.tuning.run import train


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


def row(group: int, token: int, reward: float | None) -> TrainSample:
    sample = Sample(0, (token, 1), (-1.0, -0.5), "stop", 0)
    return TrainSample.of([5, 6], sample, task_key=str(group), group=str(group), reward=reward)


judged = st.tuples(st.integers(0, 3), st.integers(0, 4), st.sampled_from([None, True, False]))


@given(st.lists(judged))
def test_what_passed_is_kept_once_per_group_and_the_rest_is_counted(drawn: list[tuple[int, int, bool | None]]) -> None:
    """Invariant 4: what was not judged is not kept, and counted on its own."""
    rows = [row(group, token, None if good is None else float(good)) for group, token, good in drawn]
    found = keep_passed(rows, [good for _, _, good in drawn])
    wanted = list(dict.fromkeys((str(group), token) for group, token, good in drawn if good))
    assert [(one.group, one.token_ids[2]) for one in found.samples] == wanted
    assert all(one.advantages == (0.0, 0.0, 1.0, 1.0) for one in found.samples)
    assert found.unrewarded == sum(good is None for _, _, good in drawn)
    assert found.groups == len({group for group, _ in wanted})
    assert found.groups + found.dropped == len({group for group, _, _ in drawn})


def test_it_takes_no_loss_and_no_advantage() -> None:
    with pytest.raises(ValidationError, match="leave out loss and advantage"):
        colour_tuning(method="rejection_sft", loss="ppo")
    with pytest.raises(ValidationError, match="leave out loss and advantage"):
        colour_tuning(method="rejection_sft", advantage="centre")


async def test_it_learns_what_the_judges_pass(store: Store) -> None:
    result = await train(colour_job(store), colour_tuning(method="rejection_sft", steps=16), toy_backend())
    assert (result.baseline, result.improved) == (0.0, True)
    assert result.best is not None
    assert result.best > 0.5


async def test_a_partial_score_is_learned_from_only_where_it_passes(store: Store) -> None:
    """Rewards differ, so the other method would learn; but no judge passes anything."""

    class Mean(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            return Verdict(self.name, rollout.id, score=0.2 + 0.2 * (rollout.output == "red"), passed=False)

    backend = toy_backend()
    result = await train(colour_job(store, [Mean()]), colour_tuning(method="rejection_sft", steps=4), backend)
    assert table(backend) == {}
    steps = tuning(store, result.run_id).steps
    assert [(step.dropped, step.grad_norm) for step in steps] == [(3, None)] * 4
    rl = toy_backend()
    await train(colour_job(store, [Mean()]), colour_tuning(steps=4), rl)
    assert table(rl) != {}


async def test_far_enough_ahead_all_samples_are_the_base_s(store: Store) -> None:
    """RFT as it was published: the policy that learns draws nothing."""
    settings = colour_tuning(method="rejection_sft", steps=6, max_staleness=6)
    result = await train(colour_job(store), settings, toy_backend())
    drawn = [one for step in range(1, 7) for one in tuning_samples(store, result.run_id, step)]
    assert {one.policy_version for one in drawn} == {0}
    assert result.improved


@pytest.mark.parametrize("staleness", [0, 2])
async def test_a_stopped_run_goes_on_exactly(store: Store, tmp_path: Path, staleness: int) -> None:
    """Invariant 3."""
    settings = colour_tuning(method="rejection_sft", max_staleness=staleness)
    whole = toy_backend()
    expected = await train(colour_job(store), settings, whole)
    with open_store(tmp_path / "stopped.db") as other:
        seen: list[Event] = []
        with pytest.raises(Interrupted):
            await train(
                colour_job(other), settings, toy_backend(), observer=seen.append, stopping=lambda: steps_in(seen) >= 4
            )
        backend = toy_backend()
        last = await train(colour_job(other), settings, backend)
    assert table(backend) == table(whole)
    assert (last.validation, last.usage) == (expected.validation, expected.usage)
