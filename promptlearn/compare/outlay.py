"""The outlay: how many calls a comparison takes at most, from data and settings alone.

Every learning run and every reading of the test split keeps `budget` for itself. A reply that is known already is not
paid for again, so a comparison that goes on takes fewer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from promptlearn.compare.arms import STAGES, Stage, beginnings
from promptlearn.compare.lab import Lab
from promptlearn.compare.learning import blind, tuning_of
from promptlearn.estimate import estimate_roles
from promptlearn.job import Job
from promptlearn.records import Role
from promptlearn.tuning.lint import planned_calls


def calls_at_most(lab: Lab, job: Job) -> dict[Role, int]:
    """Role → calls of all runs together; `best_of_n` with one answer per row where `compare.samples` is not given."""
    total: Counter[Role] = Counter()
    for stages in beginnings(lab.settings.arms):
        total.update(_times(_learning(lab, blind(job), stages[-1]), lab.settings.seeds))
    total.update(_times(_reading(job), _readings(lab)))
    return {role: count for role, count in total.items() if count}


def _learning(lab: Lab, job: Job, stage: Stage) -> Mapping[Role, int]:
    """Of one stage with one seed."""
    if stage == "prompt":
        return {role: one.calls.high for role, one in estimate_roles(job).items()}
    trials = max(1, len(lab.settings.learning_rates))
    return _times(_capped(job, planned_calls(job, tuning_of(stage, lab.tuning))), trials)


def _capped(job: Job, calls: Mapping[Role, int]) -> dict[Role, int]:
    budget = job.budget
    own = {"task": budget.task_calls, "judge": budget.judge_calls, "meta": budget.meta_calls}
    return {
        role: min([count, *(cap for cap in (own[role], budget.calls) if cap is not None)])
        for role, count in calls.items()
    }


def _reading(job: Job) -> dict[Role, int]:
    """Of the test split, once."""
    return {role: one.calls.high for role, one in estimate_roles(job, learns=False).items()}


def _readings(lab: Lab) -> int:
    """How often the test split is read: a prompt that learned nothing is the same with every seed."""
    samples = lab.settings.samples or 1
    return sum(
        samples * lab.settings.seeds if arm == "best_of_n" else lab.settings.seeds if STAGES[arm] else 1
        for arm in lab.settings.arms
    )


def _times(calls: Mapping[Role, int], times: int) -> dict[Role, int]:
    return {role: count * times for role, count in calls.items()}
