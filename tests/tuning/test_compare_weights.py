"""Arms that train weights, on a policy whose learning is exact: chains, what is shared, what is known again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from colours import COLOURS, colour_job, colour_tuning
from toy_policy import ANSWERS, WORDS, Table, ToyLearner, chances, read, toy_backend

from promptlearn.compare import Comparison, Lab, Plan, compare
from promptlearn.compare.curves import weights_curve, weights_training
from promptlearn.compare.weights import LocalWeights
from promptlearn.config import CompareConfig, JudgeConfig, SearchConfig, parse_config
from promptlearn.errors import ConfigError, TuningError
from promptlearn.job import Job, JudgeSpec
from promptlearn.models.base import Model, Price, Sampling
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Message
from promptlearn.runlog import Event
from promptlearn.store import Store, open_store
from promptlearn.store.rows import TUNING
from promptlearn.tuning.base import Backend
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.run import check


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


def toy_model(table: Table, identity: str) -> ScriptedModel:
    """The toy policy's likeliest words; where its table is empty it repeats what a demonstration shows."""

    def answer(messages: Sequence[Message]) -> str:
        thing = messages[-1].content.split()[-1]
        shown = [b.content for a, b in pairwise(messages) if a.content.split()[-1] == thing]
        if shown and not table:
            return shown[0]
        of = chances(table, (WORDS.index(thing), 0))
        return WORDS[max(ANSWERS, key=lambda token: of[token])] or "nothing"

    return ScriptedModel(answer, identity=f"toy/{identity}", sampling=Sampling(max_tokens=2))


class ToyWeights:
    def __init__(self) -> None:
        self.opened: list[Backend] = []

    def check(self, job: Job) -> None:
        check(job, colour_tuning())

    def backend(self, job: Job) -> Backend:
        self.opened.append(toy_backend())
        return self.opened[-1]

    def model(self, job: Job, trained: TuneResult) -> Model:
        return toy_model(read(trained.adapter / "table.json"), trained.run_id)


def colour_lab(store: Store, *arms: str, weights: ToyWeights | None = None, **compared: int) -> Lab:
    def job(seed: int) -> Job:
        search = SearchConfig(rounds=1, drafts=2, prune=False, seed=seed)
        return colour_job(store, search=search, task=toy_model({}, "base"))

    settings = CompareConfig.model_validate({"arms": arms, "seeds": 2, **compared})
    tuning = colour_tuning(steps=20, gpu_usd_per_hour=3600.0)
    return Lab(job, store, settings, tuning, weights or ToyWeights())


def run(store: Store, *arms: str) -> Comparison:
    return asyncio.run(compare(colour_lab(store, *arms)))


def test_trained_weights_are_measured_with_the_adapter_that_validation_chose(store: Store) -> None:
    base, weights = run(store, "base", "weights").arms
    assert base.test.score == 0.0
    assert weights.test.score is not None
    assert weights.test.score > 0.5
    for learned, seed in zip(weights.learned, (0, 1), strict=True):
        assert learned.subject.trained is not None
        row = store.reader.run(learned.runs[0])
        assert row is not None
        assert (row.seed, row.config_digest.startswith(TUNING)) == (seed, True)
    assert weights.training.calls > 20 * 3 * 6
    assert weights.training.cost_usd == pytest.approx(weights.training.gpu_s)


def test_training_never_sees_the_test_split(store: Store) -> None:
    """Invariant 5."""
    lab = colour_lab(store, "base", "weights", "prompt+weights")
    asyncio.run(compare(lab))
    test = {example.id for example in lab.job(0).dataset.test}
    for row in store.reader.runs(tunes=True):
        steps = store.tuning.steps(row.id)
        assert steps
        assert not {sample.example for step in steps for sample in store.tuning.samples(row.id, step.step)} & test


def test_a_chain_starts_from_what_the_arm_before_it_has_learned_and_costs_both(store: Store) -> None:
    comparison = run(store, "base", "prompt", "weights", "prompt+weights", "weights+prompt")
    arms = {arm.name: arm for arm in comparison.arms}
    for prompt, both in zip(arms["prompt"].learned, arms["prompt+weights"].learned, strict=True):
        assert both.runs[0] == prompt.runs[0]
        assert both.subject.prompt.digest == prompt.subject.prompt.digest
        assert both.training.calls > prompt.training.calls
        assert both.curve[: len(prompt.curve)] == prompt.curve
        assert both.curve[len(prompt.curve)].calls > prompt.curve[-1].calls
    for weights, then in zip(arms["weights"].learned, arms["weights+prompt"].learned, strict=True):
        assert then.runs[0] == weights.runs[0]
        assert then.subject.trained == weights.subject.trained
    assert len(store.reader.runs(learns=True)) == 4  # a prompt for the base and one for the adapter, twice
    assert len(store.reader.runs(tunes=True)) == 4
    assert len(comparison.pairs) == 10


def test_trainings_side_by_side_learn_what_they_learn_one_after_the_other(store: Store, tmp_path: Path) -> None:
    """Invariant 8; figures of time apart. Prompts are learned one after the other either way."""
    arms = ("base", "prompt", "weights", "prompt+weights")
    alone = run(store, *arms)
    under_way, most = set[str](), dict[str, int]()

    def observe(name: str, event: Event) -> None:
        if event.kind == "begun":
            under_way.add(name)
        elif event.kind == "ended":
            under_way.discard(name)
        kind = "training" if "weights" in name and "test" not in name else "other"
        most[kind] = max(most.get(kind, 0), len(under_way))

    with open_store(tmp_path / "other.db") as other:
        together = asyncio.run(compare(colour_lab(other, *arms, at_once=3), observe))
    assert most == {"training": 3, "other": 1}
    assert [arm.scores for arm in together.arms] == [arm.scores for arm in alone.arms]
    assert [arm.training.calls for arm in together.arms] == [arm.training.calls for arm in alone.arms]
    assert [pair.gap for pair in together.pairs] == [pair.gap for pair in alone.pairs]


def test_a_training_that_fails_lets_those_beside_it_keep_what_they_have(store: Store) -> None:
    """They end as if somebody had stopped them, and what failed is what is said; the same comparison then goes on."""

    class Broken(ToyWeights):
        def backend(self, job: Job) -> Backend:
            if job.search.seed == 1:
                raise TuningError("the device is gone")
            return super().backend(job)

    with pytest.raises(TuningError, match="the device is gone"):
        asyncio.run(compare(colour_lab(store, "base", "weights", weights=Broken(), at_once=2)))
    stopped = [row.id for row in store.reader.runs() if row.state == "interrupted"]
    assert len(stopped) == 1
    again = asyncio.run(compare(colour_lab(store, "base", "weights", at_once=2)))
    assert again.arms[1].learned[0].runs == tuple(stopped)


def test_a_second_comparison_trains_nothing(store: Store) -> None:
    """Invariant 3."""
    first = run(store, "base", "weights", "prompt+weights")
    runs, weights, begun = len(store.reader.runs()), ToyWeights(), []

    def observe(name: str, event: Event) -> None:
        begun.append(event.kind)

    lab = colour_lab(store, "base", "weights", "prompt+weights", weights=weights)
    second = asyncio.run(compare(lab, observe))
    assert second.to_json() == first.to_json()
    assert len(store.reader.runs()) == runs
    assert set(begun) == {"begun", "ended"}
    for backend in weights.opened:
        assert isinstance(backend.learner, ToyLearner)
        assert backend.learner.version == 0


def test_curves_of_training_begin_with_the_base_and_grow_dearer(store: Store) -> None:
    comparison = run(store, "base", "weights")
    for curve, learned in zip(comparison.arms[1].curves, comparison.arms[1].learned, strict=True):
        assert curve[0].calls == len(COLOURS)
        assert [point.calls for point in curve] == sorted(point.calls for point in curve)
        assert curve[-1].calls == learned.training.calls
        assert curve[-1].cost_usd is not None


class Priced(ScriptedModel):
    price = Price(1.0, 2.0)


def judged_by_a_model(lab: Lab) -> Lab:
    """The same, with a judge whose calls cost tokens and dollars."""

    def job(seed: int) -> Job:
        said = '{"explanation": "read", "label": "correct", "suggestion": ""}'
        judge = Priced([], default=said, identity="scripted/judge")
        known = lab.job(seed)
        return replace(known, judge=judge, judges=(*known.judges, JudgeSpec(JudgeConfig(use="correctness"))))

    return replace(lab, job=job)


def test_curves_end_at_what_their_arm_took_on_every_axis(store: Store) -> None:
    """With judges that are models, in chains, and with several trials."""
    lab = judged_by_a_model(colour_lab(store, "base", "prompt", "weights", "prompt+weights", "weights+prompt"))
    lab = replace(lab, settings=lab.settings.model_copy(update={"learning_rates": (0.5, 3.0)}))
    for arm in asyncio.run(compare(lab)).arms[1:]:
        for learned in arm.learned:
            taken, axes = learned.training, ("calls", "tokens", "cost_usd", "wall_s")
            assert [getattr(learned.curve[-1], axis) for axis in axes] == [getattr(taken, axis) for axis in axes]
            for axis in axes:
                spent = [getattr(point, axis) for point in learned.curve]
                assert spent == sorted(spent)
    for row in store.reader.runs(tunes=True):
        result = TuneResult.from_json(row.result)
        assert result.spending.calls["judge"] == result.spending.calls["task"]
        first = result.validation[0].spending
        assert first is not None
        assert (first.calls["judge"], first.calls["task"]) == (len(COLOURS), len(COLOURS))
        assert min(first.tokens["judge"], first.tokens["task"], first.usd["judge"] or 0, first.gpu_s) > 0
        paid = result.usage["judge"]  # what the journal knew is no part of it
        assert paid.cached_calls
        assert result.spending.tokens["judge"] > paid.input_tokens + paid.output_tokens


def test_the_curve_of_a_run_of_an_older_version_is_its_end(store: Store) -> None:
    run(store, "base", "weights")
    row = store.reader.runs(tunes=True)[0]
    old = {key: value for key, value in row.result.items() if key != "spending"}
    old["validation"] = [
        {key: value for key, value in reading.items() if key != "spending"} for reading in old["validation"]
    ]
    result = TuneResult.from_json(old)
    [end] = weights_curve(result, 3600.0)
    taken = weights_training(result, 3600.0)
    assert (end.calls, end.tokens, end.cost_usd, end.score) == (taken.calls, taken.tokens, taken.gpu_s, result.best)


def test_rejection_sft_is_an_arm_with_as_many_samples_as_weights(store: Store) -> None:
    """The same steps, samples and readings; `loss` and `advantage` have no say in it."""
    lab = colour_lab(store, "base", "weights", "rejection_sft")
    lab = replace(lab, tuning=lab.tuning.model_copy(update={"loss": "cispo", "advantage": "centre"}))
    base, weights, kept = asyncio.run(compare(lab)).arms
    assert base.test.score == 0.0
    assert kept.test.score is not None
    assert kept.test.score > 0.5
    assert (kept.training.calls, kept.training.tokens) != (0, 0)
    assert kept.training.calls == weights.training.calls
    described = [store.reader.run(one.runs[0]) for one in kept.learned]
    assert {row.config["tuning"]["method"] for row in described if row is not None} == {"rejection_sft"}


def test_validation_chooses_among_equal_trials_and_all_are_paid_for(store: Store) -> None:
    lab = colour_lab(store, "base", "weights", "rejection_sft")
    lab = replace(lab, settings=lab.settings.model_copy(update={"learning_rates": (0.5, 3.0)}))
    assert Plan.of(lab).runs == 2 * 2 * 2
    arms = {arm.name: arm for arm in asyncio.run(compare(lab)).arms}
    runs = store.reader.runs(tunes=True)
    assert len(runs) == 8
    for arm in (arms["weights"], arms["rejection_sft"]):
        for learned in arm.learned:
            row = store.reader.run(learned.runs[0])
            assert row is not None
            assert learned.curve[-1].calls == learned.training.calls
            tries = [
                run.result
                for run in runs
                if (run.seed, run.config["tuning"]["method"]) == (row.seed, row.config["tuning"]["method"])
            ]
            assert row.result["best"] == max(one["best"] for one in tries)
            assert learned.training.calls == sum(one["usage"]["task"]["calls"] for one in tries)


def test_an_engine_that_can_not_do_what_an_arm_needs_is_refused_before_anything_is_spent(store: Store) -> None:
    lab = colour_lab(store, "base", "weights", "rejection_sft")
    with pytest.raises(ConfigError, match="engine trl takes no method rejection_sft"):
        Plan.of(replace(lab, tuning=lab.tuning.model_copy(update={"engine": "trl"})))
    assert store.reader.runs() == []


def config(**models: object) -> LocalWeights:
    content = {"prompt": "p.md", "data": {"file": "d.csv"}, "models": {"task": "local/smollm2-135m-instruct"}}
    return LocalWeights(parse_config(content | models))


def test_weights_that_would_not_be_measured_alike_are_refused(store: Store) -> None:
    job = colour_job(store)
    with pytest.raises(ConfigError, match="task whose weights are here"):
        config(models={"task": "openai/gpt-5"}).check(job)
    with pytest.raises(ConfigError, match="all arms have to have the same weights"):
        config(tuning={"base": "HuggingFaceTB/SmolLM2-360M"}).check(job)
