"""From a configuration to a job: opens the prompt, the examples, the models and the store that it names."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from promptlearn.config import JUDGE_TOKENS, META_TOKENS, Config, JudgeConfig, ModelConfig
from promptlearn.dataset import Dataset, load_dataset
from promptlearn.errors import ConfigError
from promptlearn.job import Job, JudgeSpec
from promptlearn.ledger import Budget
from promptlearn.models import open_model
from promptlearn.models.base import Model, Price, Sampling
from promptlearn.prompt import bind_variables, read_prompt
from promptlearn.records import Role
from promptlearn.reviews import load_reviews
from promptlearn.store import open_store

STORE_ENV = "PROMPTLEARN_STORE"


def assemble(config: Config, store: str | Path | None = None, folder: Path | None = None) -> Job:
    """Open everything that `config` names; raises UsageError before anything is paid for.

    `store` and the environment variable PROMPTLEARN_STORE come before the configuration's own. `folder` is where
    paths of Python judges start (by default the working directory).
    """
    dataset = _dataset(config)
    file = read_prompt(
        config.prompt.file,
        key=config.prompt.key,
        locked=config.contract.locked,
        max_tokens=config.contract.max_tokens,
        output_schema=config.contract.output_schema,
        literals=config.contract.literals,
    )
    columns = dataset.variables
    prompt = bind_variables(file.prompt, columns, literals=file.literals)
    models = _models(config)
    reviews = load_reviews(config.reviews) if config.reviews else ()
    secrets = known_secrets((config.models.task, config.models.judge, config.models.meta))
    where = store or os.environ.get(STORE_ENV) or config.store
    return Job(
        prompt=prompt,
        file=file,
        dataset=dataset,
        task=models["task"],
        judge=models.get("judge"),
        meta=models.get("meta"),
        judges=_judges(config, dataset),
        store=open_store(where, secrets=secrets),
        secrets=secrets,
        reviews=reviews,
        proposers=config.search.proposers or (),
        search=config.search,
        budget=Budget(**config.budget.model_dump()),
        folder=folder or Path.cwd(),
        described=config.model_dump(mode="json", exclude={"store"}),
    )


def known_secrets(entries: Iterable[ModelConfig | None] = ()) -> tuple[str, ...]:
    """The values of every key that these models name, and of the usual one (invariant 10)."""
    names = {entry.api_key_env for entry in entries if entry is not None and entry.api_key_env} | {"OPENAI_API_KEY"}
    return tuple(os.environ[name] for name in sorted(names) if os.environ.get(name))


def _dataset(config: Config) -> Dataset:
    data = config.data
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


def _models(config: Config) -> dict[Role, Model]:
    entries: dict[Role, ModelConfig | None] = {
        "task": config.models.task,
        "judge": config.models.judge,
        "meta": config.models.meta,
    }
    return {
        role: open_role(role, entry, config.search.concurrency) for role, entry in entries.items() if entry is not None
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
    return open_model(
        entry.model,
        base_url=entry.base_url,
        api_key_env=entry.api_key_env,
        sampling=sampling,
        timeout=entry.timeout,
        slots=slots,
        context=entry.context,
        price=price,
    )


def _judges(config: Config, dataset: Dataset) -> tuple[JudgeSpec, ...]:
    if config.judges:
        return tuple(JudgeSpec(judge, judge.weight, judge.veto) for judge in config.judges)
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
