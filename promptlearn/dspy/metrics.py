"""Judges and DSPy metrics, each as the other.

Knows verdicts and predictions; knows nothing about searches. A metric that raises, and a judge that comes to no
verdict, have judged nothing: that is an error on both sides, and never a zero (invariant 4).
"""

from __future__ import annotations

import asyncio
import atexit
import inspect
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from functools import partial
from typing import Any

from promptlearn.dspy.background import Background
from promptlearn.errors import ModelError
from promptlearn.judging import Callable as FunctionJudge
from promptlearn.judging import Judge, LLMJudge, open_judge
from promptlearn.judging.excerpt import cut_end
from promptlearn.judging.finding import found, not_judged, raised
from promptlearn.models.base import Model
from promptlearn.programs.dspy_lm import load_dspy
from promptlearn.programs.dspy_module import DspyProgram
from promptlearn.programs.dspy_trace import Passed, plain_fields
from promptlearn.records import Example, Json, Rollout, Verdict, as_text, fingerprint

PASS_AT = 0.5
"""Score from which on a judgement counts as passed for those who want yes or no, where the judge does not say."""

_JUDGES = Background()
atexit.register(_JUDGES.close)


@dataclass(frozen=True, slots=True)
class MetricJudge:
    """A DSPy metric as a judge of what a `DspyProgram` does.

    The metric is a function of two to five arguments, `(gold, pred, trace, pred_name, pred_trace)`, or a `dspy.Module`;
    it gets a trace only for feedback on single predictors, because many metrics are stricter where there is one. A
    number, a bool, or a `dspy.Prediction` (or dict) with `score` and `feedback` is a verdict; scores are 0 to 1. Of a
    program with several predictors, a metric that takes `pred_name` is asked about each call of one, so that the
    critique says which of them is to blame: a line of what was said about `find` begins with `find:`, and with
    `find (passed):` where its own score is 1, which is no blame.
    """

    metric: Callable[..., Any]
    program: DspyProgram
    golds: Mapping[str, Any]
    """Example id → the `dspy.Example` that it was made of."""
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", getattr(self.metric, "__name__", type(self.metric).__name__))

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        if (unreadable := rollout.evidence.get("unreadable")) is not None:
            return found(self.name, rollout, 0.0, f"the reply could not be read: {unreadable}", label="unreadable")
        try:
            return await asyncio.to_thread(self._judge, self.golds[example.id], rollout)
        except Exception as error:
            return not_judged(self.name, rollout, raised(error))

    def _judge(self, gold: Any, rollout: Rollout) -> Verdict:
        passed = self.program.passed(rollout)
        said = self._ask(gold, passed.prediction, None, None, None)
        score, words = _read(said)
        if not hasattr(type(score), "__float__") or not 0.0 <= float(score) <= 1.0:
            possible = "a number of 0 to 1, a bool, or dspy.Prediction(score, feedback)"
            raise ModelError("program", f"{self.name} returned {cut_end(repr(said), 100)}, not {possible}")
        if len(self.program.predictors) > 1 and _arity(self.metric) >= 4:
            words = "\n".join([*([words] if words else []), *self._blames(gold, passed)])
        return found(self.name, rollout, float(score), words or f"scored {float(score):g}")

    def _blames(self, gold: Any, passed: Passed) -> list[str]:
        """What the metric says about each call of a predictor, where it says something."""
        lines = []
        for name, step in zip(passed.names, passed.trace, strict=True):
            said = self._ask(gold, passed.prediction, list(passed.trace), name, [step]) if name else None
            score, words = _read(said)
            if words:
                lines.append(f"{name}: {words}" if score is None or score < 1.0 else f"{name} (passed): {words}")
        return list(dict.fromkeys(lines))

    def _ask(self, *arguments: Any) -> Any:
        return self.metric(*arguments[: _arity(self.metric)])


def as_metric(
    judge: Judge | str,
    *,
    answer: str | None = None,
    expected: str | None = None,
    labels: Sequence[str] = (),
    model: Model | None = None,
    **options: Json,
) -> Callable[..., Any]:
    """A judge (or its name, with its options) as a DSPy metric, for any optimizer of DSPy's and for `dspy.Evaluate`.

        metric = as_metric("label_set", labels=["billing", "shipping"])
        dspy.GEPA(metric, …)

    `answer` names the output field that is judged, by default the only one (else all, as JSON); `expected` the label of
    the gold example, by default likewise. Returns `dspy.Prediction(score, feedback)`; where DSPy asks with a trace and
    no predictor's name, as bootstrapping does, whether it passed. Raises ModelError where nothing could be judged.

    May be called from any thread, also where an event loop is running. All judges answer on one event loop, which keeps
    the sockets of their models and closes them when the process ends; functions, which may block, in the thread that
    asks.
    """
    opened = open_judge(judge, options, labels=labels, model=model) if isinstance(judge, str) else judge

    def metric(gold: Any, pred: Any, trace: Any = None, pred_name: str | None = None, pred_trace: Any = None) -> Any:
        inputs = plain_fields(gold.inputs())
        wanted = _one(plain_fields(gold.labels()), expected)
        example = Example(fingerprint(inputs), inputs, wanted)
        output = _one(plain_fields(pred), answer)
        verdict = _finish(opened, example, Rollout("", example.id, as_text(output)))
        if verdict.score is None:
            kind = verdict.error.kind if verdict.error else "unparseable"
            raise ModelError(kind, f"{opened.name}: {verdict.explanation or 'not judged'}")
        if trace is not None and pred_name is None:
            return verdict.score >= PASS_AT if verdict.passed is None else verdict.passed
        words = " ".join(filter(None, (verdict.explanation, verdict.suggestion)))
        return load_dspy().Prediction(score=verdict.score, feedback=words)

    metric.__name__ = opened.name
    return metric


def _read(said: Any) -> tuple[Any, str]:
    """Score and words of what a metric returned; None for a score that it does not give."""
    if isinstance(said, Mapping):
        said = load_dspy().Prediction(dict(said))
    if isinstance(said, load_dspy().Prediction) or hasattr(said, "score"):
        return getattr(said, "score", None), str(getattr(said, "feedback", None) or "")
    return said, ""


def _arity(metric: Callable[..., Any]) -> int:
    """How many positional arguments a metric takes, five at most (what GEPA gives)."""
    called: Any = metric
    if isinstance(called, load_dspy().Module):  # its `__call__` passes everything on
        called = partial(type(called).forward, called)
    parameters = inspect.signature(called).parameters.values()
    if any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters):
        return 5
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return min(5, len(positional))


def _one(fields: Mapping[str, Json], name: str | None) -> Json:
    if name is not None and name not in fields:
        raise ModelError("program", f"as_metric: there is no field {name!r}; possible: {', '.join(fields) or 'none'}")
    if name is not None:
        return fields[name]
    shown = {key: value for key, value in fields.items() if key != "reasoning"}
    return next(iter(shown.values())) if len(shown) == 1 else (shown or None)


def _finish(judge: Judge, example: Example, rollout: Rollout) -> Verdict:
    """Ask a judge, also within a thread or a notebook whose event loop is running."""
    judging: Any = judge.judge(example, rollout)
    if not isinstance(judge, FunctionJudge) and not _JUDGES.is_here():
        verdict: Verdict = _JUDGES.run(judging, judge.model if isinstance(judge, LLMJudge) else None)
        return verdict
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return _run(judging)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, _run, judging).result()


def _run(judging: Any) -> Verdict:
    verdict: Verdict = asyncio.run(judging)
    return verdict
