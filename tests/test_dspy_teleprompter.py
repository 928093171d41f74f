"""promptlearn.dspy: the search as a teleprompter, and judges and metrics as each other; real DSPy, no network."""

from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy_desk import TwoSteps, examples, language_model, metric, reply, tagger
from synthetic import SEED, TAGS

from promptlearn.dspy import MetricJudge, PromptLearn, as_metric, load_prompt
from promptlearn.errors import ConfigError, ModelError
from promptlearn.judging import LabelSet
from promptlearn.judging.finding import not_judged
from promptlearn.models.base import Reply
from promptlearn.models.scripted import ScriptedModel
from promptlearn.programs.dspy_lm import messages_of, response_of
from promptlearn.programs.dspy_module import DspyProgram
from promptlearn.records import Example, Failure, Rollout


@pytest.fixture(autouse=True)
def _desk() -> Any:
    with dspy.context(lm=language_model()):
        yield


def compile_with(folder: Path, program: Any, judged: Any = metric, table: Any = None, **options: Any) -> Any:
    options = {"meta": False, "task_calls": 400, "minibatch": 4, "drafts": 2, "rounds": 2, "prune": False, **options}
    return PromptLearn(judged, store=folder / "store.db", **options).compile(program, trainset=table or examples(90))


def test_compile_learns_proves_and_leaves_the_student_alone(tmp_path: Path) -> None:
    student = tagger()
    learned = compile_with(tmp_path, student)
    assert learned.promptlearn.decision == "improved"
    assert learned.promptlearn.usage["task"].calls <= 400
    assert student.demos == []
    assert learned(message="Ticket 7: my parcel is late.").tag == "shipping"
    learned.save(tmp_path / "learned.json")
    again = tagger()
    again.load(tmp_path / "learned.json")
    assert again(message="Ticket 7: my invoice is late.").tag == "billing"
    written = load_prompt(student, learned.promptlearn.best_path)
    assert written(message="Ticket 7: my invoice is late.").tag == "billing"


def test_feedback_on_each_predictor_teaches_a_program_of_several(tmp_path: Path) -> None:
    asked: set[str | None] = set()

    def with_feedback(gold: Any, pred: Any, trace: Any, pred_name: str | None, pred_trace: Any) -> Any:
        asked.add(pred_name)
        right = gold.tag == pred.tag
        topic = next(topic for topic, tag in TAGS.items() if tag == gold.tag)
        words = "" if right or pred_name != "label" else f"A {topic} is {gold.tag}."
        return dspy.Prediction(score=float(right), feedback=words)

    def write(messages: Any) -> str:
        said = "\n".join(message.content for message in messages)
        known = [f"A {topic} is {tag}." for topic, tag in TAGS.items() if f"A {topic} is {tag}." in said]
        taught = "# predictor: find\nName the topic.\n\n# predictor: label\n" + "\n".join(known)
        return f"<prompt>\n{taught}\n</prompt>"

    meta = ScriptedModel(write, identity="writes/1")
    learned = compile_with(tmp_path, TwoSteps(), with_feedback, meta=meta, proposers=["rewrite"], minibatch=8)
    assert asked == {None, "find", "label"}
    assert learned.promptlearn.decision == "improved"
    assert learned.find.signature.instructions == "Name the topic."
    assert "A parcel is shipping." in learned.label.signature.instructions


def test_what_is_not_proven_is_not_shipped(tmp_path: Path) -> None:
    def never(gold: Any, pred: Any, trace: Any = None) -> bool:
        return False

    learned = compile_with(tmp_path, tagger(), never, rounds=1)
    assert learned.promptlearn.decision == "not_proven"
    assert learned.demos == []


def test_examples_may_have_more_labels_than_the_program_gives_or_none(tmp_path: Path) -> None:
    more = [dspy.Example(**one.toDict(), source="mail").with_inputs("message") for one in examples(90)]
    learned = compile_with(tmp_path / "more", tagger(), table=more, proposers=["demos"])
    assert learned.promptlearn.decision == "improved"
    assert {demo.tag for demo in learned.demos} <= set(TAGS.values())
    known = {one.message: one.tag for one in examples(90)}
    bare = [dspy.Example(message=one.message).with_inputs("message") for one in examples(90)]
    learned = compile_with(tmp_path / "none", tagger(), lambda gold, pred: known[gold.message] == pred.tag, table=bare)
    assert learned.promptlearn.baseline.n > 0


def test_a_demonstration_shows_a_label_under_its_own_name(tmp_path: Path) -> None:
    """The program's answer is its last output, and the examples say nothing of it."""

    class Reasoning:
        def complete(self, request: Any) -> Any:
            said = reply(messages_of(request))
            reason = "[[ ## reason ## ]]\nso it is\n\n[[ ## completed"
            return response_of(Reply(said.replace("[[ ## completed", reason)), request.model)

    program = dspy.Predict(dspy.Signature("message -> tag, reason", SEED))
    with dspy.context(lm=dspy.LM("scripted/reasoning", engine=Reasoning(), cache=False, num_retries=0)):
        learned = compile_with(tmp_path, program, proposers=["demos"])
    assert learned.promptlearn.decision == "improved"
    assert learned.demos
    assert all(set(demo.labels().keys()) == {"tag"} for demo in learned.demos)


def test_without_a_language_model_it_says_so(tmp_path: Path) -> None:
    with dspy.context(lm=None), pytest.raises(ConfigError, match="no language model"):
        PromptLearn(metric).compile(tagger(), trainset=examples(10))
    with pytest.raises(ConfigError, match="`speed`"):
        PromptLearn(metric, speed=3)


async def test_a_metric_that_fails_has_judged_nothing() -> None:
    """Invariant 4."""

    def raises(gold: Any, pred: Any) -> float:
        raise ValueError("no idea")

    gold = examples(1)[0]
    program = DspyProgram(tagger(), language_model())
    rollout = Rollout("p", "1", "x", evidence={"fields": {"tag": "x"}})
    for broken, words in ((raises, "no idea"), (lambda gold, pred: 7, "0 to 1")):
        verdict = await MetricJudge(broken, program, {"1": gold}).judge(Example("1", {}), rollout)
        assert verdict.score is None
        assert verdict.error is not None
        assert words in verdict.error.message


async def test_a_metric_judges_what_another_process_has_run() -> None:
    gold = examples(1)[0]
    program = DspyProgram(tagger(), language_model())
    rollout = Rollout("p", "1", gold.tag, evidence={"fields": {"tag": gold.tag}})
    assert (await MetricJudge(metric, program, {"1": gold}).judge(Example("1", {}), rollout)).score == 1.0


def test_a_judge_is_a_metric() -> None:
    gold = examples(1)[0]
    judged = as_metric(LabelSet(sorted(TAGS.values())))
    right = judged(gold, dspy.Prediction(tag=gold.tag, reasoning="because"))
    assert right.score == 1.0
    wrong = judged(gold, dspy.Prediction(tag="hello"), None, "self", None)
    assert wrong.score == 0.0
    assert "not one of the four labels" in wrong.feedback
    assert "exactly one of these labels" in wrong.feedback
    assert judged(gold, dspy.Prediction(tag=gold.tag), trace=[]) is True
    assert float(dspy.Evaluate(devset=examples(6), metric=judged, num_threads=1)(tagger()).score) == 0.0


def test_a_judge_without_a_verdict_is_an_error_and_no_zero() -> None:
    """Invariant 4."""

    class Silent:
        name = "silent"

        async def judge(self, example: Example, rollout: Rollout) -> Any:
            return not_judged(self.name, rollout, Failure("unparseable", "mumbled"))

    with pytest.raises(ModelError, match="not judged"):
        as_metric(Silent())(examples(1)[0], dspy.Prediction(tag="x"))
