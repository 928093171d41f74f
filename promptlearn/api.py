"""The Python API: the engine of the command line, for objects instead of files.

`optimize` and `evaluate` may be called anywhere, also in a notebook whose event loop is running; `aoptimize` and
`aevaluate` are their async twins. This is the one place where the library crosses from async to sync.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec, TypeVar
from uuid import uuid4

from pydantic import ValidationError

from promptlearn.assembly import default_judge, known_secrets, open_role
from promptlearn.config import JudgeConfig, ModelConfig, ObjectiveConfig, ScoringConfig, SearchConfig, in_order
from promptlearn.dataset import Dataset, load_dataset
from promptlearn.dataset.rows import Source
from promptlearn.errors import ConfigError
from promptlearn.job import Evaluation, Job, JudgeSpec, evaluate_job, run_job
from promptlearn.judging import Callable as FunctionJudge
from promptlearn.judging import Judge
from promptlearn.ledger import Budget
from promptlearn.limits import Limits
from promptlearn.models.base import Model
from promptlearn.models.scripted import ScriptedModel
from promptlearn.prompt import PromptFile, bind_variables, read_prompt
from promptlearn.proposing.base import Proposer
from promptlearn.records import Message, Prompt, Review, Role, Split
from promptlearn.result import RunResult
from promptlearn.runlog import Observer, nobody
from promptlearn.store import open_store

T = TypeVar("T")
P = ParamSpec("P")

PromptSource = Prompt | str | Path
"""A prompt, the text of a system prompt, or the `Path` of a prompt file; a text that names a file is refused."""
DataSource = Dataset | Source
"""A dataset, a path, a pandas DataFrame, or a list of dicts."""
ModelSource = Model | str | Callable[[Sequence[Message]], str]
"""A model, its name (`openai/…`, `local/…`), or a function from chat messages to a reply."""
JudgeSource = Judge | JudgeSpec | str | Callable[..., Any]
"""A judge, its name, or a function of an example and an output (see `judging.Callable`)."""


async def aoptimize(
    prompt: PromptSource,
    data: DataSource,
    *,
    task: ModelSource,
    judges: Sequence[JudgeSource] = (),
    judge: ModelSource | None = None,
    meta: ModelSource | None = None,
    inputs: Sequence[str] | Mapping[str, str] | None = None,
    expected: str | None = None,
    group: str | None = None,
    reviews: Sequence[Review] = (),
    proposers: Sequence[Proposer | str] = (),
    budget: Budget | None = None,
    limits: Mapping[Role, Limits] | None = None,
    scoring: ScoringConfig | None = None,
    objectives: Sequence[str | ObjectiveConfig] = (),
    store: str | Path | None = None,
    observer: Observer = nobody,
    **search: Any,
) -> RunResult:
    """Learn a better prompt and prove it on the test split.

    `inputs`, `expected` and `group` name columns where `data` is not a Dataset yet. `search` takes the keys of the
    configuration's `search` section, such as `rounds=4` or `seed=1`; `limits` says how fast each role's model may be
    asked, and when a slow call is asked again; `scoring` how verdicts become one score, and `objectives` what counts
    beside it (`["cost"]`: of prompts that are no worse, the cheaper). The result's `prompt` is the one to ship:
    `decision` says whether it is proven to be better. Runs are kept in `store` (by default .promptlearn/store.db in the
    working directory); the same call goes on where a killed one stopped.

    Raises PromptlearnError: UsageError for what the caller can mend, BudgetSpent, TooManyErrors, ModelError.
    """
    job = _job(
        prompt,
        data,
        task=task,
        judges=judges,
        judge=judge,
        meta=meta,
        columns={"inputs": inputs, "expected": expected, "group": group},
        reviews=reviews,
        proposers=proposers,
        budget=budget,
        limits=limits,
        scoring=scoring,
        objectives=objectives,
        store=store,
        search=search,
    )
    with job.store:
        return await run_job(job, observer)


async def aevaluate(
    prompt: PromptSource,
    data: DataSource,
    *,
    task: ModelSource,
    judges: Sequence[JudgeSource] = (),
    judge: ModelSource | None = None,
    inputs: Sequence[str] | Mapping[str, str] | None = None,
    expected: str | None = None,
    group: str | None = None,
    split: Split | None = None,
    budget: Budget | None = None,
    limits: Mapping[Role, Limits] | None = None,
    scoring: ScoringConfig | None = None,
    store: str | Path | None = None,
    **search: Any,
) -> Evaluation:
    """Measure a prompt on one split, or on all rows (`split=None`): its mean score, and every row with its verdicts."""
    columns = {"inputs": inputs, "expected": expected, "group": group}
    job = _job(
        prompt,
        data,
        task=task,
        judges=judges,
        judge=judge,
        columns=columns,
        budget=budget,
        limits=limits,
        scoring=scoring,
        store=store,
        search=search,
    )
    with job.store:
        return await evaluate_job(job, split)


def _in_thread(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` in a thread with a loop of its own; an interrupt here (a notebook's stop button) ends it there."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)

    def run() -> T:
        try:
            return loop.run_until_complete(task)
        finally:
            loop.close()

    with ThreadPoolExecutor(1, thread_name_prefix="promptlearn") as pool:
        outcome = pool.submit(run)
        try:
            return outcome.result()
        except BaseException:
            if not outcome.done():
                loop.call_soon_threadsafe(task.cancel)
            raise


def _in_sync(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
    """The same function, run to its end; in a thread of its own where this one has a running loop (a notebook)."""

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(function(*args, **kwargs))
        return _in_thread(function(*args, **kwargs))

    return run


optimize = _in_sync(aoptimize)
evaluate = _in_sync(aevaluate)


def _job(
    prompt: PromptSource,
    data: DataSource,
    *,
    task: ModelSource,
    judges: Sequence[JudgeSource],
    judge: ModelSource | None,
    columns: Mapping[str, Any],
    budget: Budget | None,
    limits: Mapping[Role, Limits] | None,
    scoring: ScoringConfig | None,
    store: str | Path | None,
    search: Mapping[str, Any],
    meta: ModelSource | None = None,
    reviews: Sequence[Review] = (),
    proposers: Sequence[Proposer | str] = (),
    objectives: Sequence[str | ObjectiveConfig] = (),
) -> Job:
    settings = _settings(search)
    dataset = data if isinstance(data, Dataset) else load_dataset(data, **columns)
    file = _prompt_file(prompt)
    made = file.prompt if file else prompt if isinstance(prompt, Prompt) else Prompt.of(str(prompt))
    bound = bind_variables(made, dataset.variables, literals=file.literals if file else ())
    specs = tuple(_spec(one) for one in judges)
    secrets = known_secrets()
    return Job(
        prompt=bound,
        file=file,
        dataset=dataset,
        task=_model(task, "task", settings),
        judge=None if judge is None else _model(judge, "judge", settings),
        meta=None if meta is None else _model(meta, "meta", settings),
        judges=specs or (JudgeSpec(JudgeConfig(use=default_judge(dataset, judge is not None))),),
        reviews=tuple(reviews),
        proposers=tuple(proposers),
        search=settings,
        scoring=scoring or ScoringConfig(),
        objectives=_objectives(objectives),
        budget=_budget(budget),
        limits=limits or {},
        folder=Path.cwd(),
        store=open_store(store, secrets=secrets),
        secrets=secrets,
    )


def _settings(search: Mapping[str, Any]) -> SearchConfig:
    unknown = set(search) - set(SearchConfig.model_fields) | set(search) & {"proposers"}
    if unknown:
        known = ", ".join(name for name in SearchConfig.model_fields if name != "proposers")
        raise ConfigError(f"unknown arguments {', '.join(sorted(unknown))}; settings of the search are: {known}")
    try:
        return SearchConfig.model_validate(dict(search))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        key = ".".join(str(part) for part in problem["loc"])
        raise ConfigError(f"`{key}`: {problem['msg']}, not {problem['input']!r:.60}") from None


def _objectives(named: Sequence[str | ObjectiveConfig]) -> tuple[ObjectiveConfig, ...]:
    made = [one if isinstance(one, ObjectiveConfig) else ObjectiveConfig(name=one) for one in named]
    try:
        return in_order(made) if made else ()
    except ValueError as error:
        raise ConfigError(f"objectives: {error}") from None


def _budget(budget: Budget | None) -> Budget:
    if budget is not None and not isinstance(budget, Budget):
        given = type(budget).__name__
        raise ConfigError(f"budget is a promptlearn.Budget, such as Budget(task_calls=800), not a {given}")
    return budget or Budget()


def _prompt_file(prompt: PromptSource) -> PromptFile | None:
    if isinstance(prompt, Path):
        return read_prompt(prompt)
    if isinstance(prompt, str) and _names_file(prompt):
        raise ConfigError(
            f"prompt: {prompt} is a file here; give Path({prompt!r}) to learn what is in it, or Prompt.of({prompt!r}) "
            "for these very words"
        )
    return None


def _names_file(text: str) -> bool:
    try:
        return not any(map(str.isspace, text)) and Path(text).is_file()
    except (OSError, ValueError):  # too long for a name, or no name at all
        return False


def _model(source: ModelSource, role: Role, settings: SearchConfig) -> Model:
    if isinstance(source, str):
        return open_role(role, ModelConfig(model=source), settings.concurrency)
    if isinstance(source, Model):
        return source
    # Nobody can tell whether a function still is what it was, so its replies are found again in this call alone.
    name = f"function/{getattr(source, '__name__', 'function')}"
    return ScriptedModel(source, name=name, identity=f"{name}/{uuid4().hex}")


def _spec(source: JudgeSource) -> JudgeSpec:
    if isinstance(source, JudgeSpec):
        return source
    if isinstance(source, str):
        return JudgeSpec(JudgeConfig(use=source))
    return JudgeSpec(source if isinstance(source, Judge) else FunctionJudge(source))
