"""The loop over the torch backend: a random model of two layers learns, and what holds for the toy holds for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from colours import LABELS, colour_job, colour_tuning, ranker

from promptlearn.config import RankingConfig, SearchConfig
from promptlearn.errors import Interrupted
from promptlearn.judging import LabelSet
from promptlearn.records import Example, Rollout, Verdict
from promptlearn.report import tuning, tuning_samples
from promptlearn.runlog import Event
from promptlearn.store import Store, open_store
from promptlearn.tuning.run import train

pytest.importorskip("torch")

from tiny_torch import tiny_backend

SETTINGS = colour_tuning(steps=8, groups=6, group=16, learning_rate=0.02, max_tokens=1, validate_every=4)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


async def test_reward_rises_and_the_adapter_is_a_peft_folder(store: Store) -> None:
    result = await train(colour_job(store), SETTINGS, tiny_backend())
    steps = tuning(store, result.run_id).steps
    rewards = [step.reward for step in steps if step.reward is not None]
    assert sum(rewards[-2:]) > sum(rewards[:2]) + 0.4
    assert max(step.ratio_error for step in steps if step.ratio_error is not None) < 1e-3
    assert {"adapter_config.json", "adapter_model.safetensors"} <= {path.name for path in result.adapter.iterdir()}
    assert result.improved


@pytest.mark.parametrize("staleness", [0, 1])
async def test_a_resumed_run_equals_the_uninterrupted_one(store: Store, tmp_path: Path, staleness: int) -> None:
    """Invariant 3: optimizer, adapter, order of the data and samples drawn ahead come back, bit for bit."""
    settings = SETTINGS.model_copy(update={"max_staleness": staleness})
    expected = await train(colour_job(store), settings, tiny_backend())
    with open_store(tmp_path / "stopped.db") as other:
        seen: list[Event] = []

        def stopping() -> bool:
            return sum(event.kind == "step" for event in seen) == 4

        with pytest.raises(Interrupted):
            await train(colour_job(other), settings, tiny_backend(), observer=seen.append, stopping=stopping)
        last = await train(colour_job(other), settings, tiny_backend())
        after = [(step.reward, step.grad_norm, step.staleness) for step in tuning(other, last.run_id).steps]
    assert after == [(step.reward, step.grad_norm, step.staleness) for step in tuning(store, expected.run_id).steps]
    assert last.validation == expected.validation
    weights = "adapter_model.safetensors"
    assert (last.adapter / weights).read_bytes() == (expected.adapter / weights).read_bytes()


async def test_a_ranking_teaches_where_judges_have_one_word_for_all(tmp_path: Path) -> None:
    """Invariant 8: the adapter is the same at any concurrency."""

    class Blind(LabelSet):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            return Verdict(self.name, rollout.id, score=0.0, passed=False)

    settings = SETTINGS.model_copy(update={"ranking": RankingConfig(weight=0.5), "validate_every": 8})
    tables = []
    for concurrency in (1, 8):
        backend = tiny_backend()
        with open_store(tmp_path / f"{concurrency}.db") as store:
            search = SearchConfig(seed=3, concurrency=concurrency)
            job = colour_job(store, [Blind(LABELS)], ranker(latency=0.001 * concurrency), search=search)
            result = await train(job, settings, backend)
            best = [
                sum(sample.parts["ranking"] == 1.0 for sample in tuning_samples(store, result.run_id, step))
                for step in range(1, result.steps + 1)
            ]
        assert sum(best[-2:]) > sum(best[:2]) + 20
        backend.learner.save_adapter(tmp_path / str(concurrency))
        tables.append((tmp_path / str(concurrency) / "adapter_model.safetensors").read_bytes())
    assert tables[0] == tables[1]
