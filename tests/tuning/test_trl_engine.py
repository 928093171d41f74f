"""The `trl` engine: TRL's own trainer on a random model of two layers, with our rows, judges, ledger and store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colours import colour_job, colour_tuning
from test_tune_loop import SlowJudge, steps_in
from test_tune_ranking import Failing

from promptlearn.config import SearchConfig, TuningConfig
from promptlearn.errors import ConfigError, Interrupted, TooManyErrors
from promptlearn.judging import LabelSet
from promptlearn.ledger import Budget
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example, Failure, Rollout, Verdict
from promptlearn.report import tuning, tuning_samples
from promptlearn.runlog import Event
from promptlearn.store import Store, open_store
from promptlearn.tuning.base import Adapter, Lora, greedy_sampling
from promptlearn.tuning.run import check, train

STEPS = 6


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def base(tmp_path: Path) -> Path:
    pytest.importorskip("trl")
    from tiny_folder import write_tiny_model

    return write_tiny_model(tmp_path / "base")


def trl_tuning(base: Path, **more: Any) -> TuningConfig:
    settings = {"engine": "trl", "base": str(base), "device": "cpu", "steps": STEPS, "learning_rate": 0.02}
    return colour_tuning(**settings | {"checkpoint_every": 2} | more)


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"method": "rejection_sft"}, "takes no method rejection_sft"),
        ({"advantage": "leave_one_out"}, "takes no advantage leave_one_out"),
        ({"max_staleness": 2}, "takes no max_staleness 2"),
        ({"sampler": {"engine": "vllm"}}, "takes no sampler vllm"),
    ],
)
def test_what_trl_can_not_do_is_refused_before_anything_is_loaded(
    store: Store, settings: dict[str, Any], why: str
) -> None:
    with pytest.raises(ConfigError, match=why):
        check(colour_job(store), colour_tuning(engine="trl", **settings))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of trl and what it imports
async def test_trl_trains_on_our_rows_judges_and_ledger(store: Store, base: Path) -> None:
    """Invariant 4: what was not judged is in no mean. The adapter is the file that our own sampler loads."""
    from promptlearn.tuning.local import open_local

    class Moody(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            self.begun += 1
            if self.begun % 12 == 0:
                return Verdict(self.name, rollout.id, error=Failure("timeout", "no answer in time"))
            return await LabelSet(("red", "blue", "green")).judge(example, rollout)

    job = colour_job(store, [Moody()], search=SearchConfig(seed=3, max_error_share=0.3))
    result = await train(job, trl_tuning(base))
    report = tuning(store, result.run_id)
    assert [step.step for step in report.steps] == list(range(1, STEPS + 1))
    assert (result.state, result.stop_reason, result.steps) == ("finished", "steps", STEPS)
    assert [reading.step for reading in result.validation] == [0, 2, 4, 6]
    assert result.usage["task"].calls == STEPS * 18 + 4 * 6
    train_ids = {example.id for example in job.dataset.train}
    for step in report.steps:
        samples = tuning_samples(store, result.run_id, step.step)
        assert {sample.example for sample in samples} <= train_ids
        known = [sample.reward for sample in samples if sample.reward is not None]
        assert step.reward == pytest.approx(sum(known) / len(known))
        assert step.failed == len(samples) - len(known)
        assert step.grad_norm is not None
    assert sum(step.failed for step in report.steps) > 0
    assert result.gpu_s > 0
    assert result.gguf is not None

    backend = open_local(str(base), Lora(16, 32), device="cpu")
    await backend.sampler.publish(Adapter(result.adapter, 1))
    right = 0.0
    for example in job.dataset.validation:
        prompt = backend.tokenizer.prompt_ids(job.prompt.render(example.inputs))
        (answer,) = [one async for one in backend.sampler.sample(prompt, 1, greedy_sampling(2))]
        right += backend.tokenizer.text(answer.token_ids) == example.expected
    best = next(reading for reading in result.validation if reading.step == result.best_step)
    assert best.score is not None
    assert right >= best.score * best.n


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of trl and what it imports
async def test_a_stopped_trl_run_goes_on_from_its_last_checkpoint(store: Store, base: Path, tmp_path: Path) -> None:
    """Invariants 1 and 3, by a stop and by a cap."""
    expected = await train(colour_job(store), trl_tuning(base))
    with open_store(tmp_path / "stopped.db") as other:
        seen: list[Event] = []
        with pytest.raises(Interrupted):
            await train(colour_job(other), trl_tuning(base), observer=seen.append, stopping=lambda: steps_in(seen) >= 3)
        capped = await train(colour_job(other, budget=Budget(task_calls=100)), trl_tuning(base))
        assert (capped.state, capped.usage["task"].calls <= 100) == ("budget", True)
        last = await train(colour_job(other), trl_tuning(base))
        assert last.run_id == capped.run_id
        rewards = [step.reward for step in tuning(other, last.run_id).steps]
    assert rewards == [step.reward for step in tuning(store, expected.run_id).steps]
    assert (last.validation, last.usage) == (expected.validation, expected.usage)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of trl and what it imports
async def test_judges_that_fail_too_often_stop_trl(store: Store, base: Path) -> None:
    class Broken(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            if example.id in trained:
                raise RuntimeError("out of order")
            return await super().judge(example, rollout)

    trained = {example.id for example in colour_job(store).dataset.train}
    with pytest.raises(TooManyErrors, match="out of order"):
        await train(colour_job(store, [Broken()]), trl_tuning(base))


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings("ignore")  # of trl and what it imports
async def test_trl_ranks_groups_and_learns_nothing_where_that_fails(store: Store, base: Path) -> None:
    """Invariant 4: a group that could not be ranked has no reward at all, and TRL's gradient stays a number."""
    model = ScriptedModel(Failing(lambda shown: shown["expected"] == "green"), identity="scripted/failing")
    tolerant = SearchConfig(seed=3, max_error_share=0.9)
    result = await train(colour_job(store, judge=model, search=tolerant), trl_tuning(base, ranking=True))
    report = tuning(store, result.run_id)
    assert result.stop_reason == "steps"
    samples = [one for step in report.steps for one in tuning_samples(store, result.run_id, step.step)]
    failed = [sample for sample in samples if sample.reward is None]
    assert failed
    assert all(sample.error.startswith("ranking: unparseable") for sample in failed)
    for sample in samples:
        score, place = sample.parts["label_set"], sample.parts["ranking"]
        if place is None:
            assert sample in failed
        else:
            assert sample.reward == pytest.approx(0.7 * (score or 0.0) + 0.3 * place)
    assert all(step.grad_norm is not None and step.grad_norm == step.grad_norm for step in report.steps)
    assert result.usage["judge"].calls == len(model.calls)
