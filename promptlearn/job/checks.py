"""Checks: what a job could not do, said before anything is paid for. Opens judges and proposers, and asks no model."""

from __future__ import annotations

from promptlearn.attempts import counts_itself
from promptlearn.config import QUALITY
from promptlearn.errors import ConfigError
from promptlearn.job.parts import Job
from promptlearn.judging import Panel
from promptlearn.ledger import RoleCap
from promptlearn.proposing import PROPOSERS
from promptlearn.records import ROLES
from promptlearn.selection.objectives import MEASURES


def check_job(job: Job, learns: bool = True) -> None:
    """Raise a UsageError for what would fail later.

    `learns=False` is for a job that only measures its prompt.
    """
    _caps(job)
    _prices(job)
    panel = job.panel(job.judge)
    panel.check(job.dataset.examples)
    _objectives(job, panel)
    if learns and job.search.rounds:
        _search(job)


def _caps(job: Job) -> None:
    """A command spends on models of its own what nobody can tell before it has."""
    if not counts_itself(job.task):
        return
    budget, own = job.budget, job.budget.roles.get("task", RoleCap())
    tokens = {"tokens": budget.tokens, "roles.task.tokens": own.tokens}
    caps = {"usd": budget.usd, "roles.task.usd": own.usd, **tokens}
    key = next((key for key, cap in caps.items() if cap is not None), None)
    if key is not None:
        raise ConfigError(
            f"budget.{key} is set, and nobody knows what {job.task.name} spends on models of its own before it "
            "has spent it; cap task_calls or minutes, and judge and meta under budget.roles"
        )


def _prices(job: Job) -> None:
    capped = [role for role, cap in job.budget.roles.items() if job.budget.usd is None and cap.usd is not None]
    key = f"budget.roles.{capped[0]}.usd" if capped else "budget.usd"
    roles = ROLES if job.budget.usd is not None else capped
    unknown = [model.name for role, model in job.models().items() if role in roles and model.price is None]
    if unknown:
        raise ConfigError(
            f"{key} is set, and nobody knows the price of {', '.join(unknown)}; "
            "give `price: {input: …, output: …}` (US dollars per million tokens) to that model, or cap tokens"
        )


def _objectives(job: Job, panel: Panel) -> None:
    judges = [member.judge.name for member in panel.members if not member.gold]
    known = [QUALITY, *MEASURES, *judges]
    for one in job.objectives:
        if one.name not in known:
            gold = any(member.judge.name == one.name for member in panel.members)
            why = "that judge is gold, and steers nothing" if gold else f"possible: {', '.join(known)}"
            raise ConfigError(f"objectives: {one.name!r} can not be one; {why}")


def _search(job: Job) -> None:
    if job.search.optimizer != "promptlearn" and (job.meta is None or job.budget.task_calls is None):
        raise ConfigError(needs_of_dspy(job))
    if not job.proposer_names():
        raise ConfigError(f"search.proposers is empty; possible: {', '.join(PROPOSERS)}")
    job.open_proposers(job.meta)
    needed = 2 * len(job.dataset.test) + 2 * min(job.search.minibatch, len(job.dataset.train))
    for key in ("task_calls", "calls"):
        cap = getattr(job.budget, key)
        if cap is not None and cap < needed:
            raise ConfigError(
                f"budget.{key} = {cap} is too small: reading the test split with two prompts and a first step "
                f"take {needed} task calls; raise it, or lower data.limit.test ({len(job.dataset.test)} rows now)"
            )


def needs_of_dspy(job: Job) -> str:
    return f"search.optimizer {job.search.optimizer} needs a model that writes (models.meta) and budget.task_calls"
