"""PromptLearn: the search as a DSPy teleprompter.

Knows how DSPy's examples, metric and program become a job, and how a result becomes a program; knows nothing about how
to search.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import replace
from pathlib import Path
from typing import Any

from dspy.teleprompt import Teleprompter
from pydantic import ValidationError

from promptlearn.assembly import known_secrets
from promptlearn.config import SearchConfig
from promptlearn.dataset import Dataset, load_dataset
from promptlearn.dspy.metrics import MetricJudge
from promptlearn.errors import ConfigError, DataError, PromptError
from promptlearn.job import Job, JudgeSpec, run_job
from promptlearn.ledger import Budget
from promptlearn.models.base import Model
from promptlearn.programs.dspy_lm import LmModel, load_dspy
from promptlearn.programs.dspy_module import DspyProgram
from promptlearn.prompt import chat_file, read_prompt
from promptlearn.proposing.base import Proposer
from promptlearn.records import Json, Prompt, Split, fingerprint
from promptlearn.result import RunResult
from promptlearn.runlog import Observer, nobody
from promptlearn.store import open_store

_dspy = load_dspy()
PROVING = 0.4
"""Part of the rows given for validation that proves the result, where no test rows are given."""


class PromptLearn(Teleprompter):  # type: ignore[misc]
    """Learns the instructions of every predictor of a program (and rules and demonstrations), and proves them.

        learned = PromptLearn(metric, task_calls=400).compile(program, trainset=train, valset=val, testset=test)
        learned.save("program.json")          # as any DSPy program
        learned.promptlearn.decision          # the run's result: "improved" or "not_proven", with figures

    `metric` is any DSPy metric: a number or a bool, or `dspy.Prediction(score, feedback)`, whose feedback is what the
    search learns from. The program asks `dspy.settings.lm`; `meta` writes better prompts: a `dspy.LM` or one of our
    models, by default `dspy.settings.lm` too; `meta=False` learns without one, by rules and demonstrations.
    `task_calls` caps runs of the program, those on test rows included; further caps are a `Budget`. `search` takes the
    keys of the configuration's section `search`.

    Rows of `testset` prove the result by a paired test. Without them a part of `valset` is kept for that, and without
    `valset` parts of `trainset`. What is not proven to be better is not shipped: `compile` returns the student as it
    was, unless `unproven=True` asks for what won on validation.
    """

    def __init__(
        self,
        metric: Callable[..., Any],
        *,
        meta: Any = None,
        task_calls: int | None = None,
        budget: Budget | None = None,
        answer: str | None = None,
        proposers: Sequence[Proposer | str] = (),
        store: str | Path | None = None,
        unproven: bool = False,
        observer: Observer = nobody,
        **search: Any,
    ) -> None:
        """`answer` is the output field that reports show, by default the last one. Raises ConfigError for a setting of
        the search that does not exist.
        """
        super().__init__()
        self.metric = metric
        self.meta = meta
        budget = budget or Budget()
        self.budget = budget if task_calls is None else replace(budget, task_calls=task_calls)
        self.answer = answer
        self.proposers = tuple(proposers)
        self.store = store
        self.unproven = unproven
        self.observer = observer
        self.search = _search(search)

    def compile(
        self,
        student: Any,
        *,
        trainset: Sequence[Any],
        teacher: Any = None,
        valset: Sequence[Any] | None = None,
        testset: Sequence[Any] | None = None,
    ) -> Any:
        """The student with what was learned; itself is left as it was.

        Raises ConfigError without a language model and for what the program can not be; DataError for rows that do not
        suffice; BudgetSpent, TooManyErrors and ModelError as a run does.
        """
        if teacher is not None:
            raise ConfigError("PromptLearn learns from the metric's feedback; it has no use for a teacher")
        lm = _dspy.settings.lm
        if lm is None:
            raise ConfigError("no language model: call dspy.configure(lm=dspy.LM(…)) first")
        program = DspyProgram(student, lm, answer=self.answer)
        dataset, golds = _dataset(program, trainset, valset, testset)
        program.model.examples.update(golds)
        job = self._job(program, dataset, MetricJudge(self.metric, program, golds), lm)
        with job.store:
            result = _finish(job, self.observer)
        learned = program.with_prompt(self._shipped(result))
        learned._compiled = True
        learned.promptlearn = result
        return learned

    def _job(self, program: DspyProgram, dataset: Dataset, judge: MetricJudge, lm: Any) -> Job:
        meta = None if self.meta is False else _model(lm if self.meta is None else self.meta)
        secrets = known_secrets()
        return Job(
            prompt=program.prompt(),
            file=None,
            dataset=dataset,
            task=program.model,
            meta=meta,
            judges=(JudgeSpec(judge),),
            proposers=self.proposers,
            search=self.search,
            budget=self.budget,
            folder=Path.cwd(),
            store=open_store(self.store, secrets=secrets),
            secrets=secrets,
            program=program,
        )

    def _shipped(self, result: RunResult) -> Prompt:
        if self.unproven and result.challenger_path is not None:
            return read_prompt(Path(result.challenger_path)).prompt
        return result.prompt


def load_prompt(program: Any, path: str | Path) -> Any:
    """A copy of a DSPy program with a learned prompt in it: the file that a run or `promptlearn export` has written."""
    return DspyProgram(program, None).with_prompt(read_prompt(Path(path)).prompt)


def write_prompt(program: Any, path: str | Path) -> None:
    """Write the instructions of a DSPy program as a prompt file, for the command line to start from.

    Raises PromptError where a file is there already.
    """
    path = Path(path)
    if path.exists():
        raise PromptError(f"{path} is there already; name another file, or remove it")
    path.write_bytes(chat_file(DspyProgram(program, None).prompt(), path).source)


def _search(search: dict[str, Any]) -> SearchConfig:
    try:
        return SearchConfig.model_validate(search)
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        known = ", ".join(SearchConfig.model_fields)
        raise ConfigError(f"`{'.'.join(map(str, problem['loc']))}`: {problem['msg']}; settings are: {known}") from None


def _model(source: Any) -> Model:
    if isinstance(source, Model):
        return source
    return LmModel(source, None)


def _dataset(
    program: DspyProgram, train: Sequence[Any], validation: Sequence[Any] | None, test: Sequence[Any] | None
) -> tuple[Dataset, dict[str, Any]]:
    """The examples as a dataset, and each of DSPy's by the id that it has there."""
    given: list[tuple[Split | None, Any]] = [("train" if validation else None, one) for one in train]
    given += [("validation" if test else None, one) for one in validation or ()]
    given += [("test", one) for one in test or ()]
    golds: dict[str, Any] = {}
    rows: list[dict[str, Json]] = []
    free = [one for split, one in given if split is None]
    shares = _shares(bool(validation), bool(test), [_id(one) for one in free])
    for split, one in given:
        inputs = {key: _json(value) for key, value in one.inputs().items()}
        if not inputs:
            raise DataError("an example has no inputs; say which they are with `.with_inputs(…)`")
        number = _id(one)
        golds[number] = one
        wanted = {key: _json(value) for key, value in one.labels().items()}
        row = {f"in.{key}": value for key, value in inputs.items()}
        rows.append({**row, "id": number, "split": split or shares[number], "expected": _expected(wanted, program)})
    if not rows:
        raise DataError("trainset is empty; give examples with their inputs marked")
    names = {key.removeprefix("in."): key for key in rows[0] if key.startswith("in.")}
    labelled = all(row["expected"] not in (None, "") for row in rows)
    expected = "expected" if labelled else None  # the metric knows what it looks for
    dataset = load_dataset(rows, inputs=names, expected=expected, id="id", split={"column": "split"})
    empty = [name for name in ("train", "validation", "test") if not dataset.split(name)]
    if empty:
        raise DataError(f"no rows are left for {empty[0]}; give more examples, or trainset, valset and testset")
    return dataset, golds


def _expected(labels: dict[str, Json], program: DspyProgram) -> Json:
    """What a demonstration may show: the answer, or by name the labels that are outputs of the program, if any are."""
    shown = {name: value for name, value in labels.items() if name in program.outputs} or labels
    if len(shown) != 1:
        return shown or None
    [(name, value)] = shown.items()
    return {name: value} if name in program.outputs and name != program.answer else value


def _shares(has_validation: bool, has_test: bool, ids: Sequence[str]) -> dict[str, Split]:
    """The split of rows that were given none, by hash, so that it is the same one every time."""
    order = sorted(dict.fromkeys(ids), key=lambda one: fingerprint(["split", one]))
    if has_validation:
        cuts: list[tuple[float, Split]] = [(PROVING, "test"), (1.0, "validation")]
    elif has_test:
        cuts = [(0.4, "validation"), (1.0, "train")]
    else:
        cuts = [(0.3, "test"), (0.6, "validation"), (1.0, "train")]
    shares = {}
    for position, one in enumerate(order):
        shares[one] = next(split for cut, split in cuts if position < round(cut * len(order)))
    return shares


def _id(one: Any) -> str:
    return fingerprint([{key: _json(value) for key, value in one.toDict().items()}, sorted(one.inputs().keys())])


def _json(value: Any) -> Json:
    return value if value is None or isinstance(value, bool | int | float | str | list | dict) else str(value)


def _finish(job: Job, observer: Observer) -> RunResult:
    """Run the job in a thread with an event loop of its own, as `compile` may be called where one is running."""
    stop = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix="promptlearn") as pool:
        outcome = pool.submit(copy_context().run, lambda: asyncio.run(run_job(job, observer, stop.is_set)))
        try:
            return outcome.result()
        except BaseException:
            stop.set()
            raise
