"""Answers of a group against each other as a part of the reward, on a policy whose learning is exact."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from colours import LABELS, answers_shown, colour_job, colour_tuning, ranker, right_first
from pydantic import ValidationError
from test_tune_loop import SlowJudge, steps_in, table
from toy_policy import ToyLearner, ToySampler, ToyTokenizer, toy_backend

from promptlearn.compare.learning import tuning_of
from promptlearn.config import JudgeConfig, RankingConfig, ScoringConfig, SearchConfig, TuningConfig
from promptlearn.errors import ConfigError, Interrupted, TooManyErrors
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import Contains, LabelSet
from promptlearn.ledger import Budget
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example, Failure, Message, Rollout, Verdict
from promptlearn.report import tuning, tuning_samples
from promptlearn.runlog import Event
from promptlearn.store import Store, open_store
from promptlearn.store.tuning_rows import TuningSample
from promptlearn.tuning.base import Backend
from promptlearn.tuning.lint import lint, planned_calls
from promptlearn.tuning.ranking import open_ranking
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.rewards import Reward
from promptlearn.tuning.run import check, train, tuning_digest


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


class Blind(SlowJudge):
    """Has one word for all answers."""

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        return Verdict(self.name, rollout.id, score=0.0, passed=False)


def ranked(weight: float = 0.3, **more: Any) -> TuningConfig:
    return colour_tuning(ranking={"weight": weight}, **more)


def groups_of(store: Store, result: TuneResult) -> list[list[TuningSample]]:
    """Each group's samples, step by step."""
    steps = range(1, result.steps + 1)
    found: dict[tuple[int, int], list[TuningSample]] = {}
    for sample in (one for step in steps for one in tuning_samples(store, result.run_id, step)):
        found.setdefault((sample.step, sample.group), []).append(sample)
    return list(found.values())


async def test_a_group_that_the_judges_see_as_equal_still_teaches(store: Store, tmp_path: Path) -> None:
    """It is the point. Validation stays absolute: it sees no place, and so no progress here."""
    backend = toy_backend()
    result = await train(colour_job(store, [Blind()], ranker()), ranked(steps=12), backend)
    steps = tuning(store, result.run_id).steps
    assert sum(step.dropped for step in steps) < sum(step.groups for step in steps)
    right = [[sample.output in LABELS for sample in group] for group in groups_of(store, result)]
    assert sum(map(sum, right[-9:])) > sum(map(sum, right[:9]))
    assert table(backend) != {}
    assert {reading.score for reading in result.validation} == {0.0}
    assert {tuple(reading.parts) for reading in result.validation} == {("label_set",)}
    with open_store(tmp_path / "plain.db") as other:
        untouched = toy_backend()
        await train(colour_job(other, [Blind()], ranker()), colour_tuning(steps=12), untouched)
    assert table(untouched) == {}


async def test_the_reward_is_the_mean_of_score_and_place(store: Store) -> None:
    asked = ranker()
    result = await train(colour_job(store, judge=asked), ranked(0.25, steps=4), toy_backend())
    groups = groups_of(store, result)
    for group in groups:
        for sample in group:
            score, place = sample.parts["label_set"], sample.parts["ranking"]
            assert score is not None
            assert place is not None
            assert sample.reward == pytest.approx(0.75 * score + 0.25 * place)
            same = [one.parts["ranking"] for one in group if one.output == sample.output]
            assert set(same) == {place}, "identical answers share their place"
            if len({one.output for one in group}) > 1:
                assert f"ranking: it says {sample.output or 'nothing'} (place {place:.2f})" in sample.feedback
        passed = [sample.reward for sample in group if sample.reward and sample.parts["label_set"] == 1.0]
        failed = [sample.reward for sample in group if sample.reward and sample.parts["label_set"] == 0.0]
        assert not passed or not failed or min(passed) > max(failed)
    several = [group for group in groups if len({sample.output for sample in group}) > 1]
    assert len(asked.calls) == result.usage["judge"].calls == len(several), "one call per group"


async def test_what_a_veto_stopped_or_nobody_judged_takes_nobody_s_place(store: Store) -> None:
    """Invariant 4: a veto's 0 stays 0, None stays None, and neither is shown to the one who ranks."""

    class Moody(SlowJudge):
        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            if rollout.output == "green green":
                return Verdict(self.name, rollout.id, error=Failure("timeout", "no answer in time"))
            return await LabelSet(LABELS).judge(example, rollout)

    asked = ranker()
    job = colour_job(store, judge=asked, search=SearchConfig(seed=3, max_error_share=0.9))
    veto = JudgeSpec(Contains(needles=["e"], name="says_e"), weight=0.0, veto=True)
    result = await train(replace(job, judges=(JudgeSpec(Moody()), veto)), ranked(steps=4), toy_backend())
    samples = [sample for group in groups_of(store, result) for sample in group]
    silent = [sample for sample in samples if "e" not in sample.output]
    unjudged = [sample for sample in samples if sample.output == "green green"]
    assert silent
    assert {(sample.reward, sample.parts["ranking"]) for sample in silent} == {(0.0, None)}
    assert {(sample.reward, sample.parts["ranking"]) for sample in unjudged} == {(None, None)}
    assert all("no answer in time" in sample.error for sample in unjudged)
    shown = [text for call in asked.calls for text in answers_shown(call.messages).values()]
    assert not {"", "green green"} & set(shown)


class Failing:
    """Ranks, but for some of the groups that it is asked about: a broken reply, to the repair as well."""

    def __init__(self, fails: Callable[[dict[str, str]], bool]) -> None:
        self._fails = fails

    def __call__(self, messages: Sequence[Message]) -> str:
        asked = next(message for message in messages if message.role == "user")
        broken = json.dumps({"notes": "A: fine", "ranking": "A"})
        return broken if self._fails(answers_shown([asked])) else right_first([asked])


async def test_a_failed_ranking_makes_no_reward_and_is_counted(store: Store) -> None:
    """Invariant 4: nobody of the group has a reward; what was learned from the others is unharmed."""
    model = ScriptedModel(Failing(lambda shown: "green" in shown["expected"]), identity="scripted/failing")
    tolerant = SearchConfig(seed=3, max_error_share=0.9)
    result = await train(colour_job(store, judge=model, search=tolerant), ranked(steps=6), toy_backend())
    groups = groups_of(store, result)
    failed = [group for group in groups if any("ranking: unparseable" in sample.error for sample in group)]
    assert 0 < len(failed) < len(groups)
    for group in failed:
        assert {(sample.reward, sample.parts["ranking"]) for sample in group} == {(None, None)}
        assert all(sample.parts["label_set"] is not None for sample in group), "what the judges said is kept"
    steps = tuning(store, result.run_id).steps
    assert sum(step.failed for step in steps) == sum(map(len, failed))
    assert sum(step.dropped for step in steps) >= len(failed)


async def test_rankings_that_fail_too_often_stop_the_run_and_a_single_one_does_not(
    store: Store, tmp_path: Path
) -> None:
    """Invariant 4. One failed ranking takes a third of a step's samples, which would be too many of them."""
    always = ScriptedModel(Failing(lambda shown: True), identity="scripted/always")
    with pytest.raises(TooManyErrors, match=r"3 of 3 groups so far could not be ranked.*answer B has no note"):
        await train(colour_job(store, judge=always), ranked(), toy_backend())
    first: list[str] = []

    def once(shown: dict[str, str]) -> bool:
        first.append(shown["input"])
        return shown["input"] == first[0] and len(first) <= 4

    with open_store(tmp_path / "other.db") as other:
        model = ScriptedModel(Failing(once), identity="scripted/once")
        result = await train(colour_job(other, judge=model), ranked(), toy_backend())
    assert result.stop_reason == "steps"


@pytest.mark.parametrize("staleness", [0, 2])
async def test_no_concurrency_and_no_latency_changes_anything(tmp_path: Path, staleness: int) -> None:
    """Invariant 8: tables, rewards and the calls themselves."""
    seen = []
    for concurrency, longest in ((1, 0.0), (8, 0.004)):
        rng = Random(concurrency)
        model = ranker(latency=lambda _, rng=rng, longest=longest: rng.random() * longest)
        backend = toy_backend(lambda rng=rng, longest=longest: rng.random() * longest)  # type: ignore[misc]
        with open_store(tmp_path / f"{concurrency}.db") as store:
            search = SearchConfig(seed=3, concurrency=concurrency)
            job = colour_job(store, [SlowJudge(longest)], model, search=search)
            result = await train(job, ranked(max_staleness=staleness), backend)
            rewards = [[sample.reward for sample in group] for group in groups_of(store, result)]
        calls = sorted(call.messages[-1].content for call in model.calls)
        seen.append((table(backend), rewards, result.validation, result.usage, calls))
    assert seen[0] == seen[1]


async def test_the_order_of_answers_follows_from_seed_example_and_version(store: Store) -> None:
    """The same group is the same call, as the journal needs, and every other one has an order of its own."""
    asked = ranker()
    answers = ["red", "blue", "green", "red blue", "green red"]
    for seed, version in ((3, 0), (3, 0), (4, 0), (3, 1), (3, 2), (3, 3)):
        job = colour_job(store, judge=asked, search=SearchConfig(seed=seed))
        ranking = open_ranking(job, RankingConfig(), asked)
        example = job.dataset.train[0]
        rewards = await ranking.combine(example, answers, [Reward(0.0)] * 5, version)
        places = [1.0 if answer == example.expected else 0.375 for answer in answers]
        assert [reward.value for reward in rewards] == pytest.approx([0.3 * place for place in places])
    orders = [tuple(answers_shown(call.messages).values()) for call in asked.calls]
    assert orders[0] == orders[1]
    assert len(set(orders)) >= 4


@pytest.mark.parametrize("staleness", [0, 1, 3])
async def test_a_stopped_run_goes_on_exactly_and_pays_for_no_ranking_twice(
    store: Store, tmp_path: Path, staleness: int
) -> None:
    """Invariants 1, 2 and 3: what was judged before its step came is in the checkpoint, and is not counted again."""
    whole, settings = toy_backend(), ranked(max_staleness=staleness, steps=10)
    expected_model = ranker()
    expected = await train(colour_job(store, judge=expected_model), settings, whole)
    paid = 0
    with open_store(tmp_path / "stopped.db") as other:
        for limit in (2, 5, 6):
            seen: list[Event] = []
            model = ranker()
            with pytest.raises(Interrupted):
                await train(
                    colour_job(other, judge=model),
                    settings,
                    toy_backend(),
                    observer=seen.append,
                    stopping=lambda seen=seen, limit=limit: steps_in(seen) >= limit,  # type: ignore[misc]
                )
            paid += len(model.calls)
        backend, model = toy_backend(), ranker()
        last = await train(colour_job(other, judge=model), settings, backend)
        rewards = [[sample.reward for sample in group] for group in groups_of(other, last)]
    assert table(backend) == table(whole)
    assert last.validation == expected.validation
    assert rewards == [[sample.reward for sample in group] for group in groups_of(store, expected)]
    assert paid + len(model.calls) == len(expected_model.calls)
    assert last.usage == expected.usage


async def test_caps_hold_for_rankings_too(store: Store, tmp_path: Path) -> None:
    """Invariant 1, and a larger cap goes on as if there had been none."""
    whole = toy_backend()
    expected = await train(colour_job(store, judge=ranker()), ranked(), whole)
    with open_store(tmp_path / "capped.db") as other:
        model = ranker()
        capped = colour_job(other, judge=model, budget=Budget(judge_calls=7))
        first = await train(capped, ranked(), toy_backend())
        assert (first.state, first.usage["judge"].calls) == ("budget", 7)
        assert "judge_calls = 7" in first.stop_reason
        backend = toy_backend()
        last = await train(colour_job(other, judge=model, budget=Budget(judge_calls=99)), ranked(), backend)
    assert last.run_id == first.run_id
    assert table(backend) == table(whole)
    assert last.validation == expected.validation
    assert len(model.calls) == expected.usage["judge"].calls


async def test_the_next_group_is_drawn_while_one_is_ranked(store: Store) -> None:
    sampler = ToySampler(lambda: 0.001)
    backend = Backend(ToyTokenizer(), sampler, ToyLearner())
    drawn: list[int] = []

    def slowly(messages: Sequence[Message]) -> float:
        drawn.append(sampler.groups)
        return 0.05

    asked = ranker(latency=slowly)
    settings = ranked(steps=1, queue=8, validate_every=9)
    base = len(colour_job(store).dataset.validation)
    await train(colour_job(store, judge=asked), settings, backend)
    assert drawn[0] - base < settings.groups, "a ranking begins when its own group is judged"
    result = [reading for reading in drawn if reading - base <= settings.groups]
    assert len(result) == len(drawn) >= 2


async def test_a_ranking_runs_in_the_queue_of_groups_that_wait(store: Store) -> None:
    """With room for one group nothing is drawn before its ranking has ended."""
    sampler, ranking = ToySampler(), [0]
    backend = Backend(ToyTokenizer(), sampler, ToyLearner())

    class Watched(ScriptedModel):
        async def complete(self, *arguments: Any, **more: Any) -> Any:
            before = sampler.groups
            ranking[0] += 1
            reply = await super().complete(*arguments, **more)
            assert sampler.groups == before
            return reply

    model = Watched(right_first, identity="scripted/right-first", latency=0.01)
    await train(colour_job(store, judge=model), ranked(steps=2, queue=1), backend)
    assert ranking[0] >= 4


async def test_the_meta_model_may_rank(store: Store) -> None:
    meta, judge = ranker(), ScriptedModel(["never asked"])
    settings = colour_tuning(steps=2, ranking={"model": "meta", "criteria": "It names the colour."})
    result = await train(colour_job(store, judge=judge, meta=meta), settings, toy_backend())
    assert (result.usage["meta"].calls, len(judge.calls)) == (len(meta.calls), 0)
    assert all("It names the colour." in call.messages[0].content for call in meta.calls)
    assert meta.calls


def test_what_makes_an_answer_better_is_a_part_of_what_a_run_is(store: Store) -> None:
    """`scoring.criteria` changes nothing about other runs."""

    def digest(criteria: str | None, settings: TuningConfig) -> str:
        job = colour_job(store, judge=ranker(), scoring=ScoringConfig(criteria=criteria))
        return tuning_digest(job, settings, toy_backend())

    plain, own = colour_tuning(), colour_tuning(ranking={"criteria": "Short."})
    assert digest("Short.", plain) == digest("Long.", plain)
    assert digest("Short.", ranked()) != digest("Long.", ranked())
    assert digest("Short.", own) == digest("Long.", own)
    assert len({digest(None, one) for one in (plain, own, ranked(), ranked(0.4))}) == 4


@pytest.mark.parametrize(
    ("settings", "job", "why"),
    [
        ({"group": 27}, {}, "27 answers is too large for one call.*at most 26"),
        ({"ranking": {"model": "meta"}}, {}, "asks models.meta, and there is none"),
        ({}, {"judge": None}, "asks models.judge, and there is none"),
        ({}, {"judges": (JudgeSpec(LabelSet(LABELS, name="ranking")),)}, "a judge is called 'ranking' too"),
    ],
)
def test_a_ranking_that_could_not_work_is_refused(
    store: Store, settings: dict[str, Any], job: dict[str, Any], why: str
) -> None:
    wanted: Job = replace(colour_job(store, judge=ranker()), **job)
    with pytest.raises(ConfigError, match=why):
        check(wanted, colour_tuning(**{"ranking": True} | settings))
    check(replace(wanted, judge=ranker(), judges=(JudgeSpec(LabelSet(LABELS)),)), colour_tuning(ranking=True, group=26))


def test_how_a_ranking_is_configured() -> None:
    assert TuningConfig().ranking is None
    assert TuningConfig.model_validate({"ranking": False}).ranking is None
    assert TuningConfig.model_validate({"ranking": True}).ranking == RankingConfig(weight=0.3, model="judge")
    for wrong in ({"weight": 0}, {"weight": 1.1}, {"model": "task"}, {"judge": "x"}):
        with pytest.raises(ValidationError):
            RankingConfig.model_validate(wrong)
    with pytest.raises(ValidationError, match="a ranking passes none; leave it out"):
        TuningConfig.model_validate({"ranking": True, "method": "rejection_sft"})


def test_every_arm_that_compares_samples_ranks_them() -> None:
    """`rejection_sft` compares none, and takes the same settings without."""
    settings = ranked()
    assert tuning_of("weights", settings).ranking == settings.ranking
    assert tuning_of("rejection_sft", settings).ranking is None


def test_rankings_are_counted_and_warned_of_beforehand(store: Store) -> None:
    settings = TuningConfig(steps=10, groups=2, group=5, validate_every=4, ranking=RankingConfig())
    model = ranker()
    job = colour_job(store, judge=model)
    assert planned_calls(job, settings) == {"task": 10 * 10 + 4 * 6, "judge": 20, "meta": 0}
    judges = (JudgeSpec(JudgeConfig(use="correctness")), JudgeSpec(JudgeConfig(use="correctness"), gold=True))
    judged = planned_calls(replace(job, judges=judges), settings)
    assert judged["judge"] == 100 + 2 * 24 + 20
    assert lint(job, settings) == ()
    for budget in (Budget(judge_calls=19), Budget(calls=143)):
        [said] = lint(replace(job, budget=budget), settings)
        assert "one ranking per group" in said
    [said] = lint(job, settings.model_copy(update={"ranking": RankingConfig(weight=0.5)}))
    assert "an answer that no judge passes may earn as much" in said
    [said] = lint(replace(job, task=model), settings)
    assert "the policy's own base ranks its answers" in said
