"""The training loop on a policy whose learning is exact: what may not depend on clocks, kills and caps."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from colours import COLOURS, LABELS, colour_job, colour_tuning
from toy_policy import Table, ToyLearner, ToySampler, ToyTokenizer, read, toy_backend

from promptlearn.compare.curves import weights_curve
from promptlearn.config import SearchConfig
from promptlearn.errors import ConfigError, Interrupted, TooManyErrors, TuningError
from promptlearn.job import JudgeSpec
from promptlearn.judging import LabelSet
from promptlearn.ledger import Budget
from promptlearn.records import Example, Failure, Rollout, Verdict
from promptlearn.report import tuning, tuning_samples
from promptlearn.runlog import Event
from promptlearn.store import Store, open_store
from promptlearn.tuning.advantages import credit
from promptlearn.tuning.base import Adam, Backend, Loss, Sample, StepReport, TrainSample, training_sampling
from promptlearn.tuning.measures import kl_to_base
from promptlearn.tuning.order import batch_of, draw_seed
from promptlearn.tuning.run import train


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@dataclass
class SlowJudge:
    """The right colours, after a random while; notes when it begins and what it saw."""

    longest: float = 0.0
    name: str = "label_set"
    seen: list[str] = field(default_factory=list)
    begun: int = 0
    working: int = 0
    rng: Random = field(default_factory=lambda: Random(5))

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        self.begun += 1
        self.working += 1
        self.seen.append(example.id)
        await asyncio.sleep(self.rng.random() * self.longest)
        self.working -= 1
        return await LabelSet(LABELS).judge(example, rollout)


def table(backend: Backend) -> Table:
    assert isinstance(backend.learner, ToyLearner)
    return backend.learner.table


def random_delay(seed: int, longest: float = 0.003) -> Callable[[], float]:
    rng = Random(seed)
    return lambda: rng.random() * longest


async def synchronous(
    store: Store, steps: int, left: Callable[[int], float] = lambda step: 1
) -> tuple[Table, list[float]]:
    """The same training as one flat loop: sample everything, judge everything, learn. No queue, no tasks.

    `left` is what a step has of the learning rate.
    """
    job, settings = colour_job(store), colour_tuning(steps=steps)
    tokenizer, sampler, learner = ToyTokenizer(), ToySampler(), ToyLearner()
    means = []
    for step in range(steps):
        rows, rewards = [], []
        for place, example in enumerate(batch_of(job.dataset.train, settings.groups, step, job.search.seed)):
            ids = tokenizer.prompt_ids(job.prompt.render(example.inputs))
            sampling = training_sampling(2, draw_seed(job.search.seed, "train", step, place))
            samples = [sample async for sample in sampler.sample(ids, settings.group, sampling)]
            for sample in sorted(samples, key=lambda one: one.index):
                right = tokenizer.text(sample.token_ids) == COLOURS[str(example.inputs["thing"]).split()[-1]]
                rewards.append(float(right))
                rows.append(TrainSample.of(ids, sample, task_key=example.id, group=str(place), reward=rewards[-1]))
        credited = credit(rows, "group_norm")
        if credited.samples:
            learner.forward_backward(credited.samples, Loss())
            learner.optim_step(Adam(learning_rate=settings.learning_rate * left(step)))
            await sampler.publish(learner.save_adapter(store.run_dir("by-hand")))
        means.append(sum(rewards) / len(rewards))
    return learner.table, means


async def test_staleness_0_is_the_synchronous_run_exactly(store: Store) -> None:
    """Whatever the latency of samples and judges, and however many groups wait for verdicts (invariant 8)."""
    expected, means = await synchronous(store, 8)
    assert max(means) > min(means)
    for queue, longest in ((1, 0.0), (8, 0.004)):
        backend, judge = toy_backend(random_delay(queue)), SlowJudge(longest)
        result = await train(colour_job(store, [judge]), colour_tuning(queue=queue), backend)
        assert table(backend) == expected
        steps = tuning(store, result.run_id).steps
        assert [step.reward for step in steps] == pytest.approx(means)
        assert {(step.staleness, step.ratio_error) for step in steps if step.ratio} == {(0, 0.0)}


async def test_a_linear_schedule_takes_an_equal_share_off_each_step(store: Store) -> None:
    expected, _ = await synchronous(store, 8, lambda step: 1 - step / 8)
    constant, _ = await synchronous(store, 8)
    backend = toy_backend()
    await train(colour_job(store), colour_tuning(schedule="linear"), backend)
    assert table(backend) == expected != constant


async def test_stale_samples_are_as_old_as_configured_at_any_latency(store: Store) -> None:
    tables = []
    for seed in (1, 2):
        backend = toy_backend(random_delay(seed))
        settings = colour_tuning(max_staleness=2, steps=12)
        result = await train(colour_job(store, [SlowJudge(0.004)]), settings, backend)
        tables.append(table(backend))
        steps = tuning(store, result.run_id).steps
        # Versions count updates, and a step whose groups say nothing makes none.
        assert max(step.staleness for step in steps) == 2
        stale = [step for step in steps if step.staleness and step.effective_sample_size is not None]
        assert any(step.effective_sample_size is not None and step.effective_sample_size < 1 for step in stale)
    assert tables[0] == tables[1]
    fresh = toy_backend()
    await train(colour_job(store), colour_tuning(steps=12), fresh)
    assert table(fresh) != tables[0]


async def test_the_ratio_s_denominator_is_what_the_sampler_recorded(store: Store) -> None:
    """Never recomputed, also where samples are stale: their log-probabilities are of the policy that drew them."""
    backend = toy_backend()
    learner = backend.learner
    assert isinstance(learner, ToyLearner)
    recorded: list[float] = []
    inner = learner.forward_backward

    def spying(samples: Any, loss: Loss) -> Any:
        now = learner.logprobs(samples)
        for sample, row in zip(samples, now, strict=True):
            first = sample.prompt_length
            assert all(value == 0 for value in sample.behaviour_logprobs[:first])
            recorded.append(abs(row[first] - sample.behaviour_logprobs[first]))
        return inner(samples, loss)

    learner.forward_backward = spying  # type: ignore[method-assign]
    await train(colour_job(store), colour_tuning(max_staleness=1), backend)
    assert max(recorded) > 0.01


async def test_the_distance_to_the_base_is_measured_before_each_reading(store: Store) -> None:
    result = await train(colour_job(store), colour_tuning(steps=8, validate_every=3), toy_backend())
    learned = [step for step in tuning(store, result.run_id).steps if step.ratio is not None]
    assert {step.step for step in learned if step.kl is not None} == {3, 6, 8} & {step.step for step in learned}
    assert any(step.kl > 0 for step in learned if step.kl is not None)  # 0 where a group asks what nobody learned
    unlearned = await train(colour_job(store), colour_tuning(steps=1, validate_every=1), toy_backend())
    assert [step.kl for step in tuning(store, unlearned.run_id).steps] == [0.0]


def test_the_distance_to_the_base_is_counted_over_sampled_tokens() -> None:
    sample = Sample(0, (5, 6), (math.log(0.5), math.log(0.25)), "stop", 1)
    row = TrainSample.of((1, 2), sample, task_key="a", group="0", reward=1.0)
    assert kl_to_base([row], [[9.0, 9.0, math.log(0.5), math.log(0.25)]]) == 0
    assert kl_to_base([row], [[9.0, 9.0, math.log(0.25), math.log(0.25)]]) == pytest.approx((0.5 + math.log(2) - 1) / 2)


async def test_judges_begin_when_samples_end_and_the_next_group_is_drawn_meanwhile(store: Store) -> None:
    """The first step can not end before its last verdict, yet by then all its groups were drawn."""
    judge, sampler = SlowJudge(0.05), ToySampler(lambda: 0.001)
    backend = Backend(ToyTokenizer(), sampler, ToyLearner())
    overlaps = []

    class Watching(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            overlaps.append((sampler.drawing, sampler.groups))
            return await judge.judge(example, rollout)

    await train(colour_job(store, [Watching()]), colour_tuning(steps=1, queue=8, validate_every=9), backend)
    first = overlaps[6 : 6 + 18]  # behind the reading of the base
    assert any(drawing for drawing, _ in first)
    assert len({groups for _, groups in first}) == 3


async def test_the_queue_bounds_how_many_groups_wait_for_verdicts(store: Store) -> None:
    most = {}
    for queue in (1, 3):
        judge = SlowJudge(0.02)
        peak = [0]
        sampler = ToySampler(lambda judge=judge, peak=peak: peak.append(judge.working) or 0.0)  # type: ignore[misc]
        backend = Backend(ToyTokenizer(), sampler, ToyLearner())
        await train(colour_job(store, [judge]), colour_tuning(steps=3, queue=queue, patience=1), backend)
        most[queue] = max(peak)
    assert most[1] <= 6 < most[3]


async def test_a_reward_that_could_not_be_computed_is_in_no_mean(store: Store) -> None:
    """Invariant 4."""

    class Moody(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            if self.rng.random() < 0.1:
                failure = Failure("timeout", "no answer in time")
                return Verdict(self.name, rollout.id, error=failure)
            return await LabelSet(LABELS).judge(example, rollout)

    tolerant = SearchConfig(seed=3, max_error_share=0.5)
    result = await train(colour_job(store, [Moody()], search=tolerant), colour_tuning(), toy_backend())
    steps = tuning(store, result.run_id).steps
    assert sum(step.failed for step in steps) > 0
    for step in steps:
        samples = tuning_samples(store, result.run_id, step.step)
        rewards = [sample.reward for sample in samples if sample.reward is not None]
        assert step.reward == pytest.approx(sum(rewards) / len(rewards))
        assert step.failed == len(samples) - len(rewards)
        assert all("no answer in time" in sample.error for sample in samples if sample.reward is None)


class Never(SlowJudge):
    """Nothing is right."""

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        return Verdict(self.name, rollout.id, score=0.0, passed=False)


@pytest.mark.parametrize("method", ["rl", "rejection_sft"])
async def test_training_ends_where_there_is_nothing_to_learn_from(store: Store, method: str) -> None:
    settings = colour_tuning(method=method, steps=9, flat_steps=4, validate_every=5)
    result = await train(colour_job(store, [Never()]), settings, toy_backend())
    assert (result.stop_reason, result.state, result.steps) == ("no spread", "finished", 4)
    assert [reading.step for reading in result.validation] == [0, 4]
    patient = colour_tuning(method=method, steps=9, flat_steps=None, validate_every=5)
    assert (await train(colour_job(store, [Never()]), patient, toy_backend())).steps == 9


async def test_flat_steps_are_counted_over_a_stop(store: Store) -> None:
    """What ends a run that was stopped is what would have ended it without that (invariant 3)."""
    seen: list[Event] = []
    settings = colour_tuning(steps=9, flat_steps=4, checkpoint_every=1)
    with pytest.raises(Interrupted):
        await train(
            colour_job(store, [Never()]),
            settings,
            toy_backend(),
            observer=seen.append,
            stopping=lambda: steps_in(seen) >= 2,
        )
    result = await train(colour_job(store, [Never()]), settings, toy_backend())
    assert (result.stop_reason, result.steps) == ("no spread", 4)


@pytest.mark.parametrize(("staleness", "cap"), [(2, 30), (3, 30), (3, 45), (3, 70)])
async def test_a_cap_ends_the_drawing_of_every_batch_ahead(store: Store, staleness: int, cap: int) -> None:
    """Whoever waits for a batch behind the one that could not be drawn learns of it, too."""
    job = colour_job(store, budget=Budget(task_calls=cap))
    result = await asyncio.wait_for(train(job, colour_tuning(max_staleness=staleness, steps=10), toy_backend()), 20)
    assert result.state == "budget"
    assert "task_calls" in result.stop_reason


async def test_judges_that_fail_too_often_stop_the_run(store: Store) -> None:
    class Broken(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            raise RuntimeError("out of order")

    with pytest.raises(TooManyErrors, match="out of order"):
        await train(colour_job(store, [Broken()]), colour_tuning(), toy_backend())


async def test_a_run_begins_with_the_base_or_not_at_all(store: Store) -> None:
    backend = toy_backend()
    await train(colour_job(store), colour_tuning(steps=3), backend)
    with pytest.raises(TuningError, match="trained before"):
        await train(colour_job(store), colour_tuning(steps=4), backend)


async def test_training_reads_train_and_validation_alone(store: Store) -> None:
    """Invariant 5: the test split is not touched, and validation is never learned from."""
    judge = SlowJudge()
    job = colour_job(store, [judge])
    result = await train(job, colour_tuning(), toy_backend())
    assert set(judge.seen) == {example.id for example in job.dataset.train + job.dataset.validation}
    learned = {one.example for step in range(1, 9) for one in tuning_samples(store, result.run_id, step)}
    assert learned <= {example.id for example in job.dataset.train}
    assert store.reader.test_reads(result.run_id) == []


async def test_it_stops_where_validation_stands_still_and_keeps_the_best_adapter(store: Store) -> None:
    class Spoiling(SlowJudge):
        """Rewards silence on train rows, which no validation row wants."""

        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            silent = not rollout.output
            wanted = silent if example.id in trained else await self._right(example, rollout)
            return Verdict(self.name, rollout.id, score=float(wanted), passed=bool(wanted))

        async def _right(self, example: Example, rollout: Rollout) -> bool:
            return rollout.output.split()[:1] == [example.expected]

    job = colour_job(store, [Spoiling()])
    trained = {example.id for example in job.dataset.train}
    result = await train(job, colour_tuning(steps=40, patience=2, validate_every=1), toy_backend())
    assert (result.stop_reason, result.state) == ("patience", "finished")
    assert result.steps == result.best_step + 2 < 40
    scores = [reading.score for reading in result.validation]
    assert result.best == max(score for score in scores if score is not None)
    first = next(reading for reading in result.validation if reading.score == result.best)
    assert first.step == result.best_step
    kept = read(result.adapter / "table.json")
    assert (kept == {}) == (result.best_step == 0)


async def test_a_policy_that_learned_nothing_is_not_read_on_validation_again(store: Store) -> None:
    class Never(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            return Verdict(self.name, rollout.id, score=0.0, passed=False)

    job, settings = colour_job(store, [Never()]), colour_tuning(steps=4, validate_every=2, patience=9)
    result = await train(job, settings, toy_backend())
    assert [(reading.step, reading.score) for reading in result.validation] == [(0, 0.0), (2, 0.0), (4, 0.0)]
    assert (result.best_step, result.stop_reason) == (0, "steps")
    rows = len(job.dataset.validation)
    assert result.usage["task"].calls == 4 * settings.groups * settings.group + rows
    *_, last = weights_curve(result, None)
    assert last.calls == result.usage["task"].calls


async def test_caps_hold_and_a_larger_one_goes_on_as_if_there_had_been_none(store: Store, tmp_path: Path) -> None:
    """Invariants 1 and 3: rollouts and readings of validation are task calls."""
    whole = toy_backend()
    expected = await train(colour_job(store), colour_tuning(), whole)
    with open_store(tmp_path / "capped.db") as other:
        first = await train(colour_job(other, budget=Budget(task_calls=70)), colour_tuning(), toy_backend())
        assert (first.state, first.usage["task"].calls <= 70) == ("budget", True)
        assert "task_calls = 70" in first.stop_reason
        backend = toy_backend()
        last = await train(colour_job(other, budget=Budget(task_calls=1000)), colour_tuning(), backend)
    assert last.run_id == first.run_id
    assert table(backend) == table(whole)
    assert (last.validation, last.usage) == (expected.validation, expected.usage)


async def test_a_run_that_ran_out_of_minutes_goes_on_with_more(store: Store, tmp_path: Path) -> None:
    """Invariants 1 and 3: with the same cap it gives what it has again, and a larger one ends as if there were none."""
    whole = toy_backend()
    expected = await train(colour_job(store), colour_tuning(), whole)
    with open_store(tmp_path / "capped.db") as other:
        seen: list[Event] = []

        def slow() -> float:
            return 0.3 if steps_in(seen) >= 3 else 0.0

        short = colour_job(other, budget=Budget(minutes=2 / 60))
        first = await train(short, colour_tuning(), toy_backend(slow), observer=seen.append)
        assert (first.state, "budget.minutes" in first.stop_reason) == ("budget", True)
        assert first.usage["task"].calls > 0
        run = first.run_id
        await other.add_active_seconds(run, 60.0)
        again = await train(short, colour_tuning(), toy_backend())
        assert (again.run_id, again.state) == (run, "budget")
        assert (again.validation, again.adapter) == (first.validation, first.adapter)
        backend = toy_backend()
        last = await train(colour_job(other, budget=Budget(minutes=9)), colour_tuning(), backend)
    assert last.run_id == run
    assert table(backend) == table(whole)
    assert (last.validation, last.usage) == (expected.validation, expected.usage)


async def test_what_a_budget_ended_is_given_back_under_the_same_budget_alone(store: Store) -> None:
    capped = colour_job(store, budget=Budget(task_calls=70))
    first = await train(capped, colour_tuning(), toy_backend(), reuse=True)
    untouched = toy_backend()
    assert await train(capped, colour_tuning(), untouched, reuse=True) == first
    assert table(untouched) == {}
    more = await train(colour_job(store, budget=Budget(task_calls=90)), colour_tuning(), toy_backend(), reuse=True)
    assert (more.run_id, more.steps > first.steps) == (first.run_id, True)


@pytest.mark.parametrize("staleness", [0, 2])
async def test_a_step_that_fails_halfway_is_no_moment_for_a_checkpoint(
    store: Store, tmp_path: Path, staleness: int
) -> None:
    """Its samples are taken and not learned from: one saved there would never learn from them (invariant 3)."""
    settings = colour_tuning(max_staleness=staleness, checkpoint_every=100)
    whole = toy_backend()
    expected = await train(colour_job(store), settings, whole)

    trained = {example.id for example in colour_job(store).dataset.train}

    class Ailing(SlowJudge):
        """Out of order from the fifth step's samples on."""

        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            if len([seen for seen in self.seen if seen in trained]) >= 4 * 3 * 6 and example.id in trained:
                raise RuntimeError("out of order")
            return await super().judge(example, rollout)

    with open_store(tmp_path / "failed.db") as other:
        judge = Ailing()
        with pytest.raises(TooManyErrors, match="out of order"):
            await train(colour_job(other, [judge]), settings, toy_backend())
        (failed,) = other.reader.runs(tunes=True)
        assert len(other.tuning.steps(failed.id)) == 4
        await other.finish_run(failed.id, "interrupted", "mended")
        backend = toy_backend()
        last = await train(colour_job(other), settings, backend)
    assert last.run_id == failed.id
    assert table(backend) == table(whole)
    assert (last.validation, last.usage) == (expected.validation, expected.usage)


async def test_seconds_of_samples_that_were_drawn_ahead_outlive_a_stop(store: Store) -> None:
    settings = colour_tuning(max_staleness=2, steps=6, validate_every=9, checkpoint_every=9)
    seen: list[Event] = []
    with pytest.raises(Interrupted):
        await train(
            colour_job(store),
            settings,
            toy_backend(lambda: 0.02),
            observer=seen.append,
            stopping=lambda: steps_in(seen) >= 1,
        )
    last = await train(colour_job(store), settings, toy_backend())
    quick = [step.sample_s for step in tuning(store, last.run_id).steps]
    assert min(quick[1:3]) > 3 * 6 * 0.02 > max(quick[3:])
    assert last.gpu_s > sum(quick[:3])


async def test_sampling_and_learning_at_the_same_time_count_once_as_device_time(store: Store) -> None:
    class Slow(ToyLearner):
        def forward_backward(self, samples: Sequence[TrainSample], loss: Loss) -> StepReport:
            time.sleep(0.1)
            return super().forward_backward(samples, loss)

    backend = Backend(ToyTokenizer(), ToySampler(lambda: 0.01), Slow())
    result = await train(colour_job(store), colour_tuning(max_staleness=2, steps=6, validate_every=9), backend)
    steps = tuning(store, result.run_id).steps
    sampling, learning = sum(step.sample_s for step in steps), sum(step.train_s for step in steps)
    assert sampling < result.gpu_s < min(result.wall_s, sampling + learning)


async def test_a_loss_is_told_of_all_sequences_that_were_drawn_and_have_a_reward(store: Store) -> None:
    told: list[tuple[int, int | None]] = []

    class Listening(ToyLearner):
        def forward_backward(self, samples: Sequence[TrainSample], loss: Loss) -> StepReport:
            told.append((len(samples), loss.sequences))
            return super().forward_backward(samples, loss)

    settings = colour_tuning(loss="dr_grpo")
    await train(colour_job(store), settings, Backend(ToyTokenizer(), ToySampler(), Listening()))
    assert {sequences for _, sequences in told} == {settings.groups * settings.group}
    assert min(samples for samples, _ in told) < settings.groups * settings.group


async def test_a_backend_of_one_s_own_is_left_open_and_another_is_closed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closing(ToySampler):
        closed = 0

        async def close(self) -> None:
            self.closed += 1

    sampler = Closing()
    await train(colour_job(store), colour_tuning(steps=1), Backend(ToyTokenizer(), sampler, ToyLearner()))
    assert sampler.closed == 0
    opened = Backend(ToyTokenizer(), sampler, ToyLearner())
    monkeypatch.setattr("promptlearn.tuning.run.open_weights", lambda job, tuning: opened)
    await train(colour_job(store), colour_tuning(steps=1), observer=lambda event: None)
    assert sampler.closed == 1


@pytest.mark.parametrize("staleness", [0, 2])
async def test_a_stopped_run_goes_on_exactly(store: Store, tmp_path: Path, staleness: int) -> None:
    """Invariant 3, with samples that were drawn ahead by policies that are gone."""
    settings = colour_tuning(max_staleness=staleness, steps=10)
    whole = toy_backend()
    expected = await train(colour_job(store), settings, whole)
    with open_store(tmp_path / "stopped.db") as other:
        for limit in (2, 5, 6):
            seen: list[Event] = []
            with pytest.raises(Interrupted):
                await train(
                    colour_job(other),
                    settings,
                    toy_backend(),
                    observer=seen.append,
                    stopping=lambda seen=seen, limit=limit: steps_in(seen) >= limit,  # type: ignore[misc]
                )
        backend = toy_backend()
        last = await train(colour_job(other), settings, backend)
        rewards = [step.reward for step in tuning(other, last.run_id).steps]
    assert table(backend) == table(whole)
    assert last.validation == expected.validation
    assert last.usage == expected.usage
    assert rewards == [step.reward for step in tuning(store, expected.run_id).steps]


def steps_in(events: list[Event]) -> int:
    """The last step that was reported."""
    return max((event.body["step"] for event in events if event.kind == "step"), default=0)


async def test_a_price_of_the_device_and_a_cap_in_dollars_exclude_each_other(store: Store) -> None:
    with pytest.raises(ConfigError, match=r"cap budget\.minutes"):
        await train(colour_job(store, budget=Budget(usd=1.0)), colour_tuning(gpu_usd_per_hour=2.0), toy_backend())
    result = await train(colour_job(store), colour_tuning(steps=2, gpu_usd_per_hour=36.0), toy_backend())
    assert result.cost_usd == pytest.approx(result.gpu_s / 100)


async def test_a_finished_run_is_found_again_where_that_is_wanted(store: Store) -> None:
    settings = colour_tuning(steps=2)
    first = await train(colour_job(store), settings, toy_backend())
    assert await train(colour_job(store), settings, toy_backend(), reuse=True) == first
    again = await train(colour_job(store), settings, toy_backend())
    assert again.run_id != first.run_id
    assert again.validation == first.validation


async def test_a_gold_judge_that_falls_is_pointed_out(store: Store) -> None:
    """It is asked about validation rows alone, is in no reward, and says when the reward is pleased and not earned."""

    class Gold(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            self.seen.append(example.id)
            return Verdict(self.name, rollout.id, score=float(not rollout.output), passed=not rollout.output)

    gold = Gold(name="brief")
    job = replace(colour_job(store), judges=(JudgeSpec(SlowJudge()), JudgeSpec(gold, gold=True)))
    result = await train(job, colour_tuning(steps=12), toy_backend())
    assert set(gold.seen) == {example.id for example in job.dataset.validation}
    assert result.improved
    assert any("the gold judge brief fell" in warning for warning in result.warnings)
    plain = await train(colour_job(store), colour_tuning(steps=12), toy_backend())
    assert [reading.score for reading in plain.validation] == [reading.score for reading in result.validation]
