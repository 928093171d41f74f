"""The plan: which experiments run here, opened and checked before the first call.

Knows configurations, jobs and the store they share; runs nothing. What can not work is an error that names the
experiment: a missing file, an unknown price under a dollar cap, a share of the budget that is too small.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from types import TracebackType

from promptlearn.assembly import STORE_ENV, assemble, known_secrets, read_data
from promptlearn.config import JudgeConfig, ModelConfig
from promptlearn.dataset import Dataset
from promptlearn.errors import ConfigError, UsageError
from promptlearn.estimate import RoleEstimate, estimate_roles
from promptlearn.experiments.file import ExperimentsConfig, load_experiments
from promptlearn.experiments.matrix import Experiment, caps, expand
from promptlearn.experiments.shares import share_out
from promptlearn.job import Job, check_job
from promptlearn.ledger import Budget
from promptlearn.records import ROLES, Role, fingerprint
from promptlearn.store import Store, open_store
from promptlearn.store.rows import EVALUATION


@dataclass(frozen=True, slots=True)
class Entry:
    """An experiment that is ready to run."""

    experiment: Experiment
    job: Job
    digest: str
    """Of its run in the store."""
    rows: str
    """Content address of its test rows and of the judges that score them: experiments that agree here can be ranked."""

    @property
    def name(self) -> str:
        return self.experiment.name

    @property
    def learns(self) -> bool:
        return self.experiment.learns

    def asks(self) -> frozenset[str]:
        """Identities of the models that it may call."""
        job = self.job
        writes = self.learns and job.asks_meta()
        used: dict[Role, bool] = {"task": True, "judge": job.llm_judges() > 0, "meta": writes}
        return frozenset(model.identity for role, model in job.models().items() if used[role])


@dataclass(frozen=True, slots=True)
class Batch:
    """Experiments of one file over one store. Use it as a context manager."""

    settings: ExperimentsConfig
    name: str
    """The file's name without its ending."""
    entries: tuple[Entry, ...]
    store: Store
    shard: str | None
    """`2/8`; None for all of them."""

    @property
    def width(self) -> int:
        """Calls at the same time, over all experiments; models that send batches want many."""
        jobs = [entry.job for entry in self.entries]
        wanted = [getattr(model, "prefers_in_flight", 0) for job in jobs for model in job.models().values()]
        return max([1, *(job.search.concurrency for job in jobs), *wanted])

    def __enter__(self) -> Batch:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.store.close()


def open_batch(
    path: Path,
    overrides: Sequence[str] = (),
    store: str | Path | None = None,
    only: Sequence[str] = (),
    shard: str | None = None,
    create: bool = True,
) -> Batch:
    """Open the experiments of a file, all of them or those that are chosen.

    `overrides` as in `load_experiments`; `only` are names or patterns such as `support/*`; `shard` is `i/n`, from `1/n`
    to `n/n`. `store` and PROMPTLEARN_STORE come before what the files say; without `create` the store has to exist.
    Raises UsageError for what would fail later, before anything is paid for.
    """
    file = load_experiments(path, overrides)
    settings = file.settings
    whole = share_out(settings.budget, expand(file), settings.at_once)
    chosen = [_with_concurrency(one, settings.concurrency) for one in _chosen(whole, only, shard)]
    where = store or os.environ.get(STORE_ENV) or file.store
    opened = open_store(where, create=create, secrets=known_secrets(_models(chosen)))
    try:
        entries = _open_all(chosen, opened)
    except BaseException:
        opened.close()
        raise
    return Batch(settings, path.stem, entries, opened, shard)


def _with_concurrency(experiment: Experiment, concurrency: int | None) -> Experiment:
    if concurrency is None:
        return experiment
    search = experiment.config.search.model_copy(update={"concurrency": concurrency})
    return replace(experiment, config=experiment.config.model_copy(update={"search": search}))


def _models(experiments: Iterable[Experiment]) -> Iterable[ModelConfig | None]:
    return (getattr(one.config.models, role) for one in experiments for role in ROLES)


def _chosen(experiments: Sequence[Experiment], only: Sequence[str], shard: str | None) -> list[Experiment]:
    for pattern in only:
        if not any(fnmatchcase(one.name, pattern) for one in experiments):
            names = [one.name for one in experiments]
            close = get_close_matches(pattern, names, n=1) or names[:5]
            raise UsageError(f"no experiment is called {pattern!r}; there are {len(names)}, such as {', '.join(close)}")
    part = experiments if shard is None else in_shard(experiments, *parse_shard(shard))
    return [one for one in part if not only or any(fnmatchcase(one.name, pattern) for pattern in only)]


def parse_shard(text: str) -> tuple[int, int]:
    """`2/8` as (2, 8)."""
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    number, count = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard {text} is not i/n, such as 1/4: the first of four")
    return number, count


def in_shard(experiments: Sequence[Experiment], number: int, count: int) -> list[Experiment]:
    """The experiments of one of `count` shards, the same for every process that has the same file.

    Those that ask one model about one prompt and one table stay together where there are enough such families: they
    share calls, and processes that run at the same time can not see each other's.
    """
    families: dict[str, list[int]] = {}
    for at, one in enumerate(experiments):
        config = one.config
        parts = (config.prompt, config.data, config.models.task)
        families.setdefault(fingerprint([part.model_dump(mode="json") for part in parts]), []).append(at)
    units = list(families.values()) if len(families) >= count else [[at] for at in range(len(experiments))]
    shards: list[list[int]] = [[] for _ in range(count)]
    for unit in sorted(units, key=len, reverse=True):
        min(shards, key=len).extend(unit)
    return [experiments[at] for at in sorted(shards[number - 1])]


def _open_all(experiments: Sequence[Experiment], store: Store) -> tuple[Entry, ...]:
    """Jobs for all experiments, or the first problem and how many more there are."""
    entries: list[Entry] = []
    problems: list[tuple[str, UsageError]] = []
    datasets: dict[str, Dataset] = {}
    for experiment in experiments:
        try:
            entries.append(_open(experiment, store, datasets))
        except UsageError as error:
            problems.append((experiment.name, error))
    if problems:
        name, first = problems[0]
        more = f" ({len(problems) - 1} more can not run either)" if problems[1:] else ""
        raise type(first)(f"experiment {name}: {first}{more}")
    _refuse_twins(entries)
    return tuple(entries)


def _open(experiment: Experiment, store: Store, datasets: dict[str, Dataset]) -> Entry:
    table = experiment.config.data
    key = table.model_dump_json()
    if key not in datasets:
        datasets[key] = read_data(table)
    job = assemble(experiment.config, store, dataset=datasets[key])
    check_job(job, experiment.learns)
    if not experiment.learns and not job.dataset.test:
        raise ConfigError("the test split is empty, so there is nothing to measure the prompt on; set data.split")
    _check_share(job, experiment.learns)
    digest = job.digest() if experiment.learns else EVALUATION + job.digest()
    return Entry(experiment, job, digest, _scored_rows(job))


def _refuse_twins(entries: Sequence[Entry]) -> None:
    """Two files with the same text share a run; with two budgets, nobody could say which of them it had."""
    first: dict[str, Entry] = {}
    for entry in entries:
        twin = first.setdefault(entry.digest, entry)
        if twin.job.described["budget"] != entry.job.described["budget"]:
            raise ConfigError(
                f"experiments {twin.name} and {entry.name} differ in their budgets alone, which makes no other run; "
                "leave one of them out with `exclude`"
            )


def _scored_rows(job: Job) -> str:
    rows = [[example.id, dict(example.inputs), example.expected] for example in job.dataset.test]
    judges = [
        [spec.judge.use, spec.judge.options, spec.weight, spec.veto, spec.when]
        for spec in job.judges
        if isinstance(spec.judge, JudgeConfig) and not spec.gold
    ]
    asked = [job.judge.identity, repr(job.judge.sampling)] if job.judge is not None and job.llm_judges() else None
    return fingerprint([rows, judges, job.scoring.all_pass, asked])


def _check_share(job: Job, learns: bool) -> None:
    """Refuse a cap under which the least that the experiment has to do does not fit."""
    needs = _needs(estimate_roles(replace(job, budget=Budget()), learns))
    for key, cap in caps(job.described["budget"]).items():
        if needs.get(key, 0) > cap:
            raise ConfigError(
                f"its budget.{key} = {cap:g} is too small: it takes at least {needs[key]:g}; raise the budget, run "
                "fewer experiments, or lower data.limit.test"
            )


def _needs(roles: Mapping[Role, RoleEstimate]) -> dict[str, float]:
    """Key of a cap → the least that counts against it."""
    calls = {role: one.calls.low for role, one in roles.items()}
    tokens = {role: one.input_tokens.low + one.output_tokens.low for role, one in roles.items()}
    usd = {role: one.cost_usd[0] if one.cost_usd else 0.0 for role, one in roles.items()}
    needs: dict[str, float] = {"calls": sum(calls.values()), "tokens": sum(tokens.values()), "usd": sum(usd.values())}
    for role in roles:
        needs |= {
            f"{role}_calls": calls[role],
            f"roles.{role}.tokens": tokens[role],
            f"roles.{role}.usd": usd[role],
        }
    return needs
