"""Metrics as judges and judges as metrics: what counts as a judgement, who is blamed, and whose sockets are open."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from chat_server import ChatServer
from dspy_desk import Engine, TwoSteps, examples, scripted, tagger
from synthetic import TAGS

from promptlearn.dspy import MetricJudge, PromptLearn, as_metric
from promptlearn.errors import ModelError, SystemicError
from promptlearn.feedback import JudgedRow
from promptlearn.feedback.blame import blame
from promptlearn.judging import Callable
from promptlearn.judging.finding import found
from promptlearn.models.openai import ChatModel
from promptlearn.models.scripted import ScriptedModel
from promptlearn.programs.dspy_module import DspyProgram
from promptlearn.records import Example, Rollout, Verdict
from promptlearn.store import open_store

GOLD = examples(1)[0]
ROW = Example("1", dict(GOLD.inputs().items()), GOLD.tag)
JUDGEMENT = json.dumps({"explanation": "it is right", "label": "correct", "suggestion": "none"})


async def judged(metric: Any, module: Any = None, program: DspyProgram | None = None) -> tuple[Rollout, Verdict]:
    source = DspyProgram(module or tagger(), scripted())
    rollout = await source.open(source.model).run(source.prompt(), ROW)
    return rollout, await MetricJudge(metric, program or source, {"1": GOLD}).judge(ROW, rollout)


@pytest.mark.parametrize(
    ("said", "score", "words"),
    [
        (True, 1.0, "scored 1"),
        (0.25, 0.25, "scored 0.25"),
        (np.float32(0.5), 0.5, "scored 0.5"),
        (np.bool_(False), 0.0, "scored 0"),
        (dspy.Prediction(score=0.5), 0.5, "scored 0.5"),
        (dspy.Prediction(score=0.5, feedback=None), 0.5, "scored 0.5"),
        (dspy.Prediction(score=0, feedback="no tag"), 0.0, "no tag"),
        ({"score": 1, "feedback": "well done"}, 1.0, "well done"),
    ],
)
async def test_what_is_a_judgement(said: Any, score: float, words: str) -> None:
    _, verdict = await judged(lambda gold, pred, trace=None: said)
    assert (verdict.score, verdict.explanation) == (score, words)


@pytest.mark.parametrize(
    "said",
    [
        None,
        "0.5",
        7,
        float("nan"),
        dspy.Prediction(feedback="no score"),
        dspy.Prediction(score=None),
        {"value": 1},
        [1],
    ],
)
async def test_anything_else_is_none_and_no_zero(said: Any) -> None:
    """Invariant 4."""
    _, verdict = await judged(lambda gold, pred, trace=None: said)
    assert verdict.score is None
    assert verdict.error is not None
    assert "not a number of 0 to 1, a bool, or dspy.Prediction(score, feedback)" in verdict.error.message


async def test_a_module_is_a_metric() -> None:
    class Exact(dspy.Module):  # type: ignore[misc]
        def forward(self, example: Any, pred: Any, trace: Any = None) -> Any:
            return dspy.Prediction(score=float(example.tag == pred.tag), feedback=f"expected {example.tag}")

    _, verdict = await judged(Exact())
    assert (verdict.name, verdict.score, verdict.explanation) == ("Exact", 0.0, f"expected {GOLD.tag}")


def by_predictor(said: dict[str | None, Any]) -> Any:
    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None) -> Any:
        return said[pred_name]

    return metric


def say(score: float, feedback: str = "") -> Any:
    return dspy.Prediction(score=score, feedback=feedback)


@pytest.mark.parametrize(
    ("find", "label", "words", "blames"),
    [
        (
            say(1.0, "Named correctly."),
            say(0.0, "Wrong tag."),
            "find (passed): Named correctly.\nlabel: Wrong tag.",
            {"label": 1.0},
        ),
        (say(0.0, "Too long."), say(0.5, "A guess."), "find: Too long.\nlabel: A guess.", {"find": 0.5, "label": 0.5}),
        (None, {"feedback": "Wrong tag."}, "label: Wrong tag.", {"label": 1.0}),
        (0.0, say(0.0), "scored 0", {}),
    ],
)
async def test_feedback_blames_the_predictor_whose_own_score_fails(
    find: Any, label: Any, words: str, blames: dict[str, float]
) -> None:
    rollout, verdict = await judged(by_predictor({None: 0.0, "find": find, "label": label}), TwoSteps())
    assert (verdict.score, verdict.explanation) == (0.0, words)
    assert blame([JudgedRow(ROW, rollout, (verdict,))], ("find", "label")) == blames


async def test_a_metric_that_fails_on_a_predictor_has_judged_nothing() -> None:
    """Invariant 4."""
    _, verdict = await judged(by_predictor({None: 1.0}), TwoSteps())
    assert verdict.score is None
    assert verdict.error is not None
    assert verdict.error.message == "KeyError: 'find'"


async def test_each_call_of_a_predictor_has_its_say() -> None:
    class Twice(TwoSteps):
        def forward(self, message: str) -> Any:
            self.find(message="nothing known")
            return super().forward(message=message)

    def metric(gold: Any, pred: Any, trace: Any, pred_name: str | None = None, pred_trace: Any = None) -> Any:
        if pred_name != "find":
            return 0.0
        topic = pred_trace[0][2].topic
        return say(float(topic != "none"), f"it said {topic}")

    _, verdict = await judged(metric, Twice())
    assert verdict.explanation.splitlines() == ["find: it said none", "find (passed): it said password"]


async def test_another_process_judges_alike() -> None:
    """Invariants 3 and 8: a reply from the journal has the trace of the run that was paid for."""

    def metric(gold: Any, pred: Any, trace: Any, pred_name: str | None, pred_trace: Any) -> Any:
        steps = [f"{one[0].signature.instructions[:4]} {dict(one[1])} {one[2].toDict()}" for one in trace or ()]
        return say(0.0, f"{pred_name} in {steps}" if pred_name else "")

    _, here = await judged(metric, TwoSteps())
    _, there = await judged(metric, TwoSteps(), DspyProgram(TwoSteps(), None))
    assert here.explanation == there.explanation
    assert here.explanation.startswith('find: find in ["Name {')


def reads_the_trace(stop_after: int) -> Any:
    """Feedback from the trace; the run ends at the `stop_after`-th question."""
    asked = iter(range(1, stop_after))

    def metric(gold: Any, pred: Any, trace: Any, pred_name: str | None = None, pred_trace: Any = None) -> Any:
        if next(asked, None) is None:
            raise SystemicError("auth", "the key has run out")
        right = gold.tag == pred.tag
        if right or pred_name != "label":
            return say(float(right), "one word" if pred_name == "find" else "")
        return say(0.0, f"A {pred_trace[0][1]['topic']} is {gold.tag}.")

    return metric


def write(messages: Any) -> str:
    """Writes down for `label` what the feedback says."""
    said = "\n".join(message.content for message in messages)
    known = [f"A {topic} is {tag}." for topic, tag in TAGS.items() if f"A {topic} is {tag}." in said]
    return "<prompt>\n# predictor: find\nName the topic.\n\n# predictor: label\n" + "\n".join(known) + "\n</prompt>"


def test_a_resumed_run_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    """Invariant 3, with a metric that reads traces."""

    def learn(name: str, stop_after: int = sys.maxsize) -> tuple[Any, int]:
        engine = Engine()
        lm = dspy.LM("scripted/desk", engine=engine, cache=False, num_retries=0)
        meta = ScriptedModel(write, identity="writes/1")
        options: Any = {"meta": meta, "proposers": ["rewrite"], "task_calls": 400, "minibatch": 8, "rounds": 2}
        with dspy.context(lm=lm):
            teleprompter = PromptLearn(reads_the_trace(stop_after), store=tmp_path / f"{name}.db", **options)
            try:
                return teleprompter.compile(TwoSteps(), trainset=examples(90)).promptlearn, engine.calls
            except SystemicError:
                return None, engine.calls

    def verdicts(name: str, run: str) -> dict[str, str]:
        with open_store(tmp_path / f"{name}.db") as store:
            return {one.rollout: one.explanation for one in store.reader.verdicts(run)}

    def decisions(name: str, run: str) -> list[Any]:
        with open_store(tmp_path / f"{name}.db") as store:
            return [(one.stage, one.outcome, one.candidate, one.difference) for one in store.reader.decisions(run)]

    whole, calls = learn("whole")
    stopped, _ = learn("parts", stop_after=150)
    resumed, rest = learn("parts")
    assert stopped is None
    assert 0 < rest < calls
    assert resumed.prompt.digest == whole.prompt.digest
    assert decisions("parts", resumed.run_id) == decisions("whole", whole.run_id)
    one, other = verdicts("whole", whole.run_id), verdicts("parts", resumed.run_id)
    both = one.keys() & other.keys()  # rows that ran ahead in vain may be in one of them
    assert {row: one[row] for row in both} == {row: other[row] for row in both}
    assert any("label: A " in one[row] for row in both)


def test_judgements_share_their_sockets_and_leave_none_open() -> None:
    script = """
import gc, sys, dspy
from promptlearn.dspy import as_metric
from promptlearn.models.openai import ChatModel

metric = as_metric("correctness", model=ChatModel("openai/m", sys.argv[1]))
rows = [dspy.Example(q=str(n), a="x").with_inputs("q") for n in range(24)]
for row in rows[:4]:
    assert metric(row, dspy.Prediction(a="x")).score == 1.0

class Program(dspy.Module):
    def forward(self, q):
        return dspy.Prediction(a="x")

assert dspy.Evaluate(devset=rows, metric=metric, num_threads=4, display_progress=False)(Program()).score == 100.0
gc.collect()
"""
    server = ChatServer(lambda request: JUDGEMENT)
    with server.in_thread() as url:
        done = subprocess.run(
            [sys.executable, "-W", "always::ResourceWarning", "-c", script, url],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "nclosed" not in done.stderr
    assert len(server.requests) == 28


async def test_a_judge_answers_where_an_event_loop_is_running() -> None:
    with ChatServer(lambda request: JUDGEMENT).in_thread() as url:
        metric = as_metric("correctness", model=ChatModel("openai/m", url))
        assert metric(GOLD, dspy.Prediction(tag="x")).score == 1.0
        with ThreadPoolExecutor(8) as pool:
            scores = list(pool.map(lambda tag: metric(GOLD, dspy.Prediction(tag=tag)).score, map(str, range(24))))
    assert scores == [1.0] * 24


def test_a_judge_may_ask_a_metric_and_sees_the_callers_context() -> None:
    said: ContextVar[str] = ContextVar("said")

    class Outer:
        name = "outer"

        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            inner = as_metric("exact_match")(GOLD, dspy.Prediction(tag=rollout.output))
            return found(self.name, rollout, inner.score, f"{said.get()}: {inner.feedback}")

    said.set("asked")
    judgement = as_metric(Outer())(GOLD, dspy.Prediction(tag=GOLD.tag))
    assert judgement.score == 1.0
    assert judgement.feedback.startswith("asked: ")


def test_a_judge_that_fails_says_why() -> None:
    def raises(example: Example, rollout: Rollout) -> float:
        raise ValueError("no idea")

    with pytest.raises(ModelError, match="raises: not judged: ValueError: no idea"):
        as_metric(Callable(raises))(GOLD, dspy.Prediction(tag="x"))
    with pytest.raises(ModelError, match="no field 'label'; possible: tag"):
        as_metric("exact_match", answer="label")(GOLD, dspy.Prediction(tag="x"))
