"""Room: whether a search fits into a job's budget at all, said before anything is paid for. Asks no model.

Knows what a search reads at least; what it really reads, the allowance counts.
"""

from __future__ import annotations

from dataclasses import replace
from math import ceil
from typing import Any

from promptlearn.job.parts import Job
from promptlearn.ledger import Budget
from promptlearn.optimizer import CRITIQUE
from promptlearn.optimizer.allowance import Allowance
from promptlearn.optimizer.dspy_search import GEPA_MINIBATCH, bootstrapping
from promptlearn.selection.race import BLOCK


def allowance_of(job: Job, budget: Budget | None = None) -> Allowance:
    """The job's budget, with what reading the test split takes held back."""
    reads = 2 * len(job.dataset.test)
    return Allowance(budget or job.budget, job.llm_judges(), reads, job.search.spare, job.judged_again())


def too_small(job: Job) -> tuple[str, ...]:
    """Why no round of the job's search fits into its budget, in words; empty where one does, or nobody can tell."""
    if not job.search.rounds or not job.dataset.train or not job.dataset.validation:
        return ()
    found = _for_rounds(job) if job.search.optimizer == "promptlearn" else _for_dspy(job)
    return (found,) if found else ()


def _for_rounds(job: Job) -> str:
    validation = len(job.dataset.validation)
    allowance, least = allowance_of(job), _round(job, 0)
    allowance.share(validation)
    short = allowance.too_small(least)
    if short is None:
        return ""
    name, _, why = short
    budget = job.budget
    while short is not None:  # with more calls a round may learn from more rows
        raised: dict[str, Any] = {short[0]: ceil(short[1] - 1e-9)}
        budget = replace(budget, **raised)
        allowance = allowance_of(job, budget)
        allowance.share(validation)
        critique = allowance.part(CRITIQUE, 0, min(job.search.critique, len(job.dataset.train)))
        short = allowance.too_small(_round(job, critique))
    enough = [
        f"budget.{key} to at least {getattr(budget, key):g}"
        for key in ("calls", "task_calls", "judge_calls")
        if getattr(budget, key) != getattr(job.budget, key)
    ]
    return (
        f"budget.{name} = {getattr(job.budget, name):g} holds no round of the search, which takes {least} rows or more "
        f"({why}), so nothing may be learned; raise {', '.join(enough)}, or lower data.limit"
    )


def _round(job: Job, critique: int) -> int:
    """Rows of a round: what it learns from, its gate, and the first block of its race."""
    search, train = job.search, len(job.dataset.train)
    minibatch = min(search.minibatch, train)
    racing = (search.drafts + 1) // 2
    return max(minibatch, critique) + minibatch * search.drafts + racing * min(BLOCK, len(job.dataset.validation))


def _for_dspy(job: Job) -> str:
    """They choose among prompts that were read on all validation rows, so the seed and one more have to be."""
    if job.budget.task_calls is None:
        return ""
    name, test, both = job.search.optimizer, 2 * len(job.dataset.test), 2 * len(job.dataset.validation)
    least, most, what = 2 * GEPA_MINIBATCH, 2 * GEPA_MINIBATCH, "a step"
    if name == "dspy:miprov2":
        least, most = bootstrapping(len(job.dataset.train))
        what = "finding demonstrations"
    calls = job.budget.task_calls - test
    if calls >= most + both:
        return ""
    takes = f"{least} to {most}" if least < most else f"{most}"
    so = "can" if calls < least + both else "may"
    surely = f" ({test + both + most} holds them in any case)" if least < most else ""
    return (
        f"budget.task_calls = {job.budget.task_calls} has {calls} for {name} ({test} held back are for the test "
        f"split); {what} takes {takes}, and reading the seed and one other prompt on all validation rows {both}, so it "
        f"{so} not get that far; raise it to at least {test + both + least}{surely}"
    )
