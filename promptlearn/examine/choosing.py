"""Which judges and which rows of a job are examined."""

from __future__ import annotations

from collections.abc import Sequence

from promptlearn.errors import ConfigError
from promptlearn.job import Job
from promptlearn.judging import Judge, Panel, Stochastic
from promptlearn.judging.noise import Judged
from promptlearn.records import Example


def chosen_judges(panel: Panel, names: Sequence[str] = (), stochastic: bool = False) -> list[Judge]:
    """The panel's judges of these names, or all of them (`stochastic`: all whose word may change).

    Raises `ConfigError` naming the judges there are.
    """
    judges = [member.judge for member in panel.members]
    known = {judge.name: judge for judge in judges}
    for name in names:
        if name not in known:
            raise ConfigError(f"no judge {name!r} in this configuration; possible: {', '.join(known)}")
    if names:
        return [known[name] for name in names]
    return [judge for judge in judges if not stochastic or isinstance(judge, Stochastic)]


def shown_rows(job: Job, count: int) -> tuple[Example, ...]:
    """The first validation rows, and train rows where there are not enough; never test rows (invariant 5)."""
    return (job.dataset.validation + job.dataset.train)[:count]


def source_of(judge: str, rows: Sequence[Judged]) -> str:
    """Who speaks under a judge's name: its file's version and its model."""
    said = (verdict for row in rows for verdict in row.verdicts if verdict.name == judge and verdict.source)
    return next((verdict.source for verdict in said), judge)
