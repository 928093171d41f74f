"""The contenders of `quality.py`: each gets a task, two models and a budget of task calls, and ships one prompt.

Every contender reads the same verdicts (of `promptlearn`'s judge `label_set`: explanation and suggestion), and asks
the task model at temperature 0 and the meta model as `quality.py` opened it. What a contender returns answers test rows
afterwards; no contender but promptlearn, which proves on them what it ships, sees them before.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quality_models import Served
from quality_tasks import Row, Task

from promptlearn.judging.labels import LabelSet
from promptlearn.records import Example, Rollout, Verdict

DSPY_TOKENS = 64
"""DSPy's adapters wrap an answer into field markers, for which 16 tokens are too few."""
REWRITE_ROWS, REWRITE_CHARACTERS = 80, 7000
"""What the rewrite pass reads, and how much of it at a time."""


@dataclass(frozen=True, slots=True)
class Contest:
    """What a contender gets."""

    task: Task
    seed: int
    budget: int
    """Task calls."""
    student: Served
    """The task model."""
    meta: Served

    def judge(self, row: Row, output: str) -> Verdict:
        example = Example(row.text, {"text": row.text}, row.answer)
        return asyncio.run(LabelSet(self.task.labels).judge(example, Rollout("", row.text, output)))

    def answer(self, prompt: str, row: Row) -> str:
        return self.student.ask(chat(prompt, row))

    def test(self, answer: Callable[[Row], str]) -> list[float | None]:
        """The score of every test row."""
        return [self.judge(row, answer(row)).score for row in self.task.test]


@dataclass(frozen=True, slots=True)
class Shipped:
    """What a contender hands back."""

    prompt: str
    scores: list[float | None]
    """On the test rows."""
    task_calls: int
    """While it learned."""
    notes: dict[str, Any] = field(default_factory=dict)


def chat(prompt: str, row: Row) -> list[dict[str, str]]:
    return [{"role": "system", "content": prompt}, {"role": "user", "content": row.text}]


def words(verdict: Verdict) -> str:
    """What a judge said, for those who read it."""
    return " ".join(filter(None, (verdict.explanation, verdict.suggestion)))


def seed_prompt(contest: Contest) -> Shipped:
    """What the prompt is worth that all begin with."""
    prompt = contest.task.prompt
    return Shipped(prompt, contest.test(lambda row: contest.answer(prompt, row)), 0)


def promptlearn(contest: Contest) -> Shipped:
    """With the defaults of the configuration, but for one call at a time; it reads the test rows beside the budget."""
    from promptlearn import Budget, aevaluate, aoptimize
    from promptlearn.dataset import load_dataset
    from promptlearn.models.base import Sampling
    from promptlearn.models.openai import ChatModel

    class InProcess(ChatModel):
        in_process = True

    def model(served: Served) -> InProcess:
        sampling = Sampling(max_tokens=served.max_tokens, temperature=served.temperature)
        return InProcess(f"openai/{served.name}", served.address, sampling=sampling, timeout=3600)

    data = load_dataset(contest.task.rows(), inputs=["text"], expected="answer", split={"column": "split"})
    tests = 2 * len(data.test)

    async def learn() -> Shipped:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder) / "store.db"
            found = await aoptimize(
                contest.task.prompt,
                data,
                task=model(contest.student),
                meta=model(contest.meta),
                judges=["label_set"],
                budget=Budget(task_calls=contest.budget + tests),
                store=store,
                concurrency=1,
                seed=contest.seed,
            )
            measured = await aevaluate(
                found.prompt, data, task=model(contest.student), judges=["label_set"], store=store, split="test"
            )
            scores = {row.example.id: row.score for row in measured.rows}
            usage = found.usage["task"]
            challenged = found.decision == "improved" or found.challenger_digest is not None
            read = len(data.test) * (2 if challenged else 1)
            notes = {
                "decision": found.decision,
                "stop": found.stop_reason,
                "candidates": found.to_json()["candidates"],
                "meta_calls": found.usage["meta"].calls,
            }
            shipped = "\n\n".join(
                f"{message.role}: {message.content}" for message in found.prompt.render({"text": "{text}"})
            )
            return Shipped(shipped, [scores[e.id] for e in data.test], usage.calls + usage.cached_calls - read, notes)

    return asyncio.run(learn())


def gepa(contest: Contest) -> Shipped:
    """`gepa.optimize` as its README shows it. It looks at its budget between steps, so it may spend some more."""
    from gepa import optimize
    from gepa.adapters.default_adapter.default_adapter import EvaluationResult

    def data(rows: Sequence[Row]) -> list[Any]:
        return [{"input": row.text, "answer": row.answer, "additional_context": {}} for row in rows]

    def evaluate(row: Any, response: str) -> EvaluationResult:
        verdict = contest.judge(Row(row["input"], row["answer"]), response)
        return EvaluationResult(verdict.score or 0.0, words(verdict))

    def reflect(prompt: Any) -> str:
        return contest.meta.ask([{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt)

    found = optimize(
        seed_candidate={"system_prompt": contest.task.prompt},
        trainset=data(contest.task.train),
        valset=data(contest.task.validation),
        task_lm=contest.student.ask,
        evaluator=evaluate,
        reflection_lm=reflect,
        max_metric_calls=contest.budget,
        seed=contest.seed,
    )
    calls, prompt = contest.student.calls, found.best_candidate["system_prompt"]
    notes = {"candidates": len(found.candidates), "validation": max(found.val_aggregate_scores)}
    return Shipped(prompt, contest.test(lambda row: contest.answer(prompt, row)), calls, notes)


def miprov2(contest: Contest) -> Shipped:
    """DSPy's MIPROv2 on `dspy.Predict`. A call beyond the budget fails, and a failed row scores 0 there.

    Four candidates and train rows for at most two bootstraps of 40 calls, so that most of the budget goes into trials.
    """
    import dspy

    dspy.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    student, meta = (
        dspy.LM(
            f"local/{served.name}",
            engine=_Engine(served),
            cache=False,
            num_retries=0,
            max_tokens=tokens,
            temperature=served.temperature,
        )
        for served, tokens in ((contest.student, DSPY_TOKENS), (contest.meta, contest.meta.max_tokens))
    )
    program = dspy.Predict(dspy.Signature("text -> answer", contest.task.prompt))

    def examples(rows: Sequence[Row]) -> list[Any]:
        return [dspy.Example(text=row.text, answer=row.answer).with_inputs("text") for row in rows]

    def metric(gold: Any, predicted: Any, trace: Any = None) -> float:
        return contest.judge(Row(gold.text, gold.answer), str(predicted.answer)).score or 0.0

    contest.student.begin(cap=contest.budget)
    with dspy.context(lm=student, max_errors=10_000):
        found = dspy.MIPROv2(
            metric, prompt_model=meta, task_model=student, auto=None, num_candidates=4, num_threads=1, seed=contest.seed
        ).compile(
            program,
            trainset=examples(contest.task.train[:40]),
            valset=examples(contest.task.validation),
            num_trials=8,
            minibatch_size=20,
            minibatch_full_eval_steps=3,
            seed=contest.seed,
        )
        calls = contest.student.calls
        contest.student.begin()
        failed = 0

        def answer(row: Row) -> str:
            nonlocal failed
            try:
                return str(found(text=row.text).answer)
            except dspy.utils.exceptions.AdapterParseError:
                failed += 1
                return ""

        scores = contest.test(answer)
    demos = [f"{demo.get('text')} → {demo.get('answer')}" for demo in found.demos]
    prompt = "\n".join([found.signature.instructions, *demos])
    return Shipped(prompt, scores, calls, {"demonstrations": len(demos), "unreadable_test_replies": failed})


REWRITE = """\
You improve the system prompt of a language model. Below are the prompt and what happened when it ran: inputs, the
model's outputs, and feedback on each.

<prompt>
{prompt}
</prompt>

{examples}

Write a better prompt that would have avoided these mistakes. Keep what works. Add general guidelines, and a few short
examples where they help. Reply with the whole new prompt and nothing else.
"""


def rewrite_pass(contest: Contest) -> Shipped:
    """One pass as Arize's prompt-learning makes it: run, judge, and hand each batch of rows with its feedback to the
    meta model, which rewrites the prompt that the batch before left. Nothing is measured, nothing is chosen.
    """
    rows = contest.task.train[: min(REWRITE_ROWS, contest.budget)]
    shown = []
    for row in rows:
        output = contest.answer(contest.task.prompt, row)
        verdict = contest.judge(row, output)
        shown.append(f"Input: {row.text}\nOutput: {output}\nFeedback: {words(verdict)}\n")
    calls, prompt = contest.student.calls, contest.task.prompt
    batches: list[list[str]] = [[]]
    for text in shown:
        if sum(map(len, batches[-1])) + len(text) > REWRITE_CHARACTERS:
            batches.append([])
        batches[-1].append(text)
    for batch in batches:
        prompt = contest.meta.ask([{"role": "user", "content": _filled(REWRITE, prompt, "\n".join(batch))}]).strip()
    return Shipped(prompt, contest.test(lambda row: contest.answer(prompt, row)), calls, {"batches": len(batches)})


def _filled(template: str, prompt: str, examples: str) -> str:
    """Both texts put in at once, so that neither is searched for a place of the other."""
    before, rest = template.split("{prompt}")
    between, after = rest.split("{examples}")
    return before + prompt + between + examples + after


class _Engine:
    """A server as DSPy wants it."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def complete(self, request: Any) -> Any:
        from dspy.lm15 import Message, Response, Usage

        system = request.system if isinstance(request.system, str) or not request.system else request.system[0].text
        messages = [{"role": "system", "content": system}] if system else []
        messages += [{"role": message.role, "content": message.text or ""} for message in request.messages]
        config = request.config
        wanted = {"max_tokens": config.max_tokens, "temperature": config.temperature}
        if config.response_format:
            wanted["response_format"] = dict(config.response_format)
        text = self._served.ask(messages, **wanted)
        return Response(
            id=None, model=request.model, message=Message.assistant(text or " "), finish_reason="stop", usage=Usage()
        )


CONTENDERS: dict[str, Callable[[Contest], Shipped]] = {
    "promptlearn": promptlearn,
    "gepa": gepa,
    "miprov2": miprov2,
    "rewrite-pass": rewrite_pass,
    "seed-prompt": seed_prompt,
}
