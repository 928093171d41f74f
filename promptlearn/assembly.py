"""From a configuration to a job: opens the prompt, the examples, the models and the store that it names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from promptlearn.config import (
    COMMAND,
    JUDGE_TOKENS,
    META_TOKENS,
    BatchConfig,
    BudgetConfig,
    Config,
    DataConfig,
    JudgeConfig,
    ModelConfig,
    ProgramConfig,
    PromptConfig,
    ReviewsConfig,
    RoleBudgetConfig,
    in_order,
)
from promptlearn.dataset import Dataset, load_dataset
from promptlearn.errors import ConfigError
from promptlearn.feedback.approved import approved_reviews
from promptlearn.job import Job, JudgeSpec
from promptlearn.judging import EVIDENCE_JUDGES
from promptlearn.ledger import Budget, Ledger, RoleCap
from promptlearn.limits import Limits
from promptlearn.metered import MeteredModel
from promptlearn.models import open_model
from promptlearn.models.base import Model, Price, Sampling
from promptlearn.models.keys import environment_keys
from promptlearn.prompt import PromptFile, bind_variables, read_prompt
from promptlearn.prompt.bundle import Bundle, read_bundle
from promptlearn.records import Role
from promptlearn.reviews import load_reviews
from promptlearn.scheduler import Slots
from promptlearn.store import Store, open_store

if TYPE_CHECKING:
    from promptlearn.programs.command import Command
    from promptlearn.programs.dspy_module import DspyProgram

STORE_ENV = "PROMPTLEARN_STORE"


def assemble(
    config: Config,
    store: Store | str | Path | None = None,
    folder: Path | None = None,
    dataset: Dataset | None = None,
) -> Job:
    """Open everything that `config` names; raises UsageError before anything is paid for.

    `store` and the environment variable PROMPTLEARN_STORE come before the configuration's own. `folder` is where
    paths of Python judges start (by default the working directory). Jobs that run side by side share an open `store`
    (whose secrets are theirs then) and, where they read the same table, its `dataset`.
    """
    dataset = dataset or read_data(config.data)
    kept = config.contract.model_dump()
    source: PromptFile | Bundle
    if config.prompt.files:
        source = read_bundle(config.prompt.files, **kept)
    else:
        source = read_prompt(config.prompt.file, key=config.prompt.key, **kept)
    file = source if isinstance(source, PromptFile) else None
    models = _models(config)
    reviews = load_reviews(config.reviews) if isinstance(config.reviews, Path) else ()
    secrets = known_secrets((config.models.task, config.models.judge, config.models.meta))
    program: Command | DspyProgram | None = None
    prompt = source.prompt
    if config.command is not None:  # which reads the prompt as it stands: nobody puts values into it
        program = open_command(config.command, source, secrets, _answers(config))
    elif config.program is not None:
        program = open_module(config.program, models["task"])
        prompt = program.bind(prompt)
    else:
        prompt = bind_variables(prompt, dataset.variables, literals=file.literals if file else ())
    if program is not None:
        models["task"] = program.model
    if store is None or isinstance(store, str | Path):
        store = open_store(store or os.environ.get(STORE_ENV) or config.store, secrets=secrets)
    if isinstance(config.reviews, ReviewsConfig):
        wanted = config.reviews
        seen = dataset.train + dataset.validation
        reviews = approved_reviews(store.feedback.items(state="approved"), wanted.repo, wanted.paths, seen)
    scope = prompt_scope(config.prompt)
    return Job(
        prompt=prompt,
        file=file,
        dataset=dataset,
        task=models["task"],
        judge=models.get("judge"),
        meta=models.get("meta"),
        judges=_judges(config, dataset),
        store=store,
        secrets=secrets,
        reviews=reviews,
        guards=tuple(row.guard for row in store.guards.items(scope)),
        scope=scope,
        proposers=config.search.proposers or (),
        scoring=config.scoring,
        objectives=in_order(config.objectives) if config.objectives else (),
        search=config.search,
        budget=_budget(config.budget),
        limits=_limits(config),
        folder=folder or Path.cwd(),
        described=config.model_dump(mode="json", exclude={"store"}),
        program=program,
    )


def prompt_scope(prompt: PromptConfig) -> str:
    """What the store calls a prompt, in every checkout alike: its path from the root of the repository, and its key."""
    path = prompt.file.resolve()
    root = next((folder for folder in path.parents if (folder / ".git").exists()), path.parent)
    return f"{path.relative_to(root).as_posix()}#{prompt.key}" if prompt.key else path.relative_to(root).as_posix()


def known_secrets(entries: Iterable[ModelConfig | None] = ()) -> tuple[str, ...]:
    """The values of every key that these models name, and of those that providers usually read (invariant 10)."""
    named = {entry.api_key_env for entry in entries if entry is not None and entry.api_key_env}
    return environment_keys({*named, "OPENAI_API_KEY"})


def read_data(data: DataConfig) -> Dataset:
    """The examples that a configuration names."""
    split = {"column": data.split.column} if data.split.column else data.split.model_dump(exclude={"column"})
    return load_dataset(
        data.file,
        inputs=data.inputs,
        expected=data.expected,
        group=data.group,
        id=data.id,
        metadata=data.metadata,
        domain=data.domain,
        split=split,
        limit=data.limit.model_dump(exclude_none=True),
        encoding=data.encoding,
    )


def _answers(config: Config) -> tuple[Path, ...]:
    """Files that a command must not find in its copy: examples with their answers, reviews, the store."""
    store = Path(config.store) if config.store is not None and "://" not in config.store else None
    return tuple(path for path in (config.data.file, config.reviews, store) if isinstance(path, Path))


def open_command(
    config: ProgramConfig,
    file: PromptFile | Bundle | None = None,
    secrets: Sequence[str] = (),
    leave_out: Sequence[Path] = (),
) -> Command:
    """The command of `program`. Raises ConfigError for what is not there, or can not be kept here."""
    from promptlearn.programs.command import Command, CommandOptions
    from promptlearn.programs.process import Bounds

    options = CommandOptions(
        command=config.words(config.command),
        check=config.words(config.check),
        bounds=Bounds(**config.limits.model_dump(), network=config.network),
        leave_out=tuple(leave_out),
        **config.model_dump(exclude={"command", "check", "limits", "network", "shell", "dspy", "answer"}),
    )
    return Command(options, file, secrets)


def open_module(config: ProgramConfig, model: Model) -> DspyProgram:
    """The DSPy program of `program`, with `model` behind it. Raises ConfigError for what is not there."""
    from promptlearn.programs.dspy_module import open_dspy

    return open_dspy(config.dspy or "", model, Path.cwd(), answer=config.answer)


def _budget(config: BudgetConfig) -> Budget:
    caps = config.roles
    roles: dict[Role, RoleBudgetConfig] = {"task": caps.task, "judge": caps.judge, "meta": caps.meta}
    return Budget(
        **config.model_dump(exclude={"roles"}),
        roles={role: RoleCap(**cap.model_dump()) for role, cap in roles.items()},
    )


def _limits(config: Config) -> dict[Role, Limits]:
    models = config.models
    entries: dict[Role, ModelConfig | None] = {"task": models.task, "judge": models.judge, "meta": models.meta}
    return {
        role: Limits(rpm=entry.rpm, tpm=entry.tpm, hedge=entry.hedge, outage_minutes=entry.outage_minutes)
        for role, entry in entries.items()
        if entry is not None
    }


def _models(config: Config) -> dict[Role, Model]:
    entries: dict[Role, ModelConfig | None] = {
        "task": config.models.task,
        "judge": config.models.judge,
        "meta": config.models.meta,
    }
    return {
        role: open_role(role, entry, config.search.concurrency)
        for role, entry in entries.items()
        if entry is not None and entry.model != COMMAND
    }


def open_role(role: Role, entry: ModelConfig, slots: int) -> Model:
    """The model of one role, with that role's defaults where the configuration says nothing."""
    tokens = {"task": 512, "judge": JUDGE_TOKENS, "meta": META_TOKENS}[role]
    temperature = 0.7 if role == "meta" else 0.0
    sampling = Sampling(
        max_tokens=entry.max_tokens or tokens,
        temperature=temperature if entry.temperature is None else entry.temperature,
        top_p=entry.top_p,
        seed=entry.seed,
    )
    price = Price(entry.price.input, entry.price.output, entry.price.cached) if entry.price else None
    model = open_model(
        entry.model,
        base_url=entry.base_url,
        api_key_env=entry.api_key_env,
        sampling=sampling,
        timeout=entry.timeout,
        slots=slots,
        context=entry.context,
        adapter=None if entry.adapter is None else Path(entry.adapter),
        price=price,
    )
    return model if entry.batch is None else _batched(model, entry.batch, entry.outage_minutes)


def metered_model(
    config: Config,
    roles: Sequence[Role],
    store: Store,
    stopping: Callable[[], bool] = lambda: False,
    notice: Callable[[str], None] = lambda text: None,
) -> MeteredModel | None:
    """The model of the first of these roles that has one, for work outside of a run: journalled, within `budget`."""
    role = next((role for role in roles if getattr(config.models, role) is not None), None)
    if role is None:
        return None
    slots = Slots(config.search.concurrency)
    return MeteredModel(
        open_role(role, getattr(config.models, role), slots.width),
        role,
        store.journal,
        Ledger(_budget(config.budget)),
        slots,
        stopping=stopping,
        limits=_limits(config)[role],
        notice=notice,
    )


def _batched(model: Model, config: BatchConfig, outage_minutes: float) -> Model:
    from promptlearn.models.batch import BatchOptions, batched

    return batched(model, BatchOptions(**config.model_dump(), outage_s=60 * outage_minutes))


def _judges(config: Config, dataset: Dataset) -> tuple[JudgeSpec, ...]:
    for judge in config.judges:
        if judge.use in EVIDENCE_JUDGES and config.command is None:
            raise ConfigError(f"judge {judge.use} reads what a command left behind; name one under `program`")
        if judge.use == "tests_passed" and config.command is not None and not config.command.check:
            raise ConfigError("judge tests_passed needs a test command; name it under `program.check`")
    if config.judges:
        return tuple(JudgeSpec.of(judge) for judge in config.judges)
    if config.command is not None and config.command.check:
        return (JudgeSpec(JudgeConfig(use="tests_passed")),)
    return (JudgeSpec(JudgeConfig(use=default_judge(dataset, config.models.judge is not None))),)


def default_judge(dataset: Dataset, has_model: bool) -> str:
    """The judge for those who name none. Raises ConfigError where nothing could judge."""
    if dataset.labels:
        return "label_set"
    if dataset.examples[0].expected is not None:
        return "correctness" if has_model else "normalized_match"
    if has_model:
        return "instruction_following"
    raise ConfigError(
        "nothing says what a good answer is: name the column of right answers (data.expected), "
        "a judge model (models.judge), or judges of your own (judges)"
    )
