"""What a run will take: calls, tokens and cost as a range, from the data and the settings alone. No network.

The low end is a search that stops after one idle stretch, the high end one that runs every round and row (or its cap).
"""

from __future__ import annotations

from dataclasses import dataclass

from promptlearn.attempts import counts_itself
from promptlearn.config import JudgeConfig
from promptlearn.contract import learned_tokens
from promptlearn.job import Job, JudgeSpec, too_small
from promptlearn.optimizer.dspy_search import CANDIDATES, GEPA_MINIBATCH
from promptlearn.proposing import ALWAYS_ASK
from promptlearn.records import Example, Json, Role
from promptlearn.tokens import estimate_tokens

FEEDBACK_SHARE = 2
"""A judge reads the question, the answer and its own instructions: about twice the task's input."""
OWN = "promptlearn"
MIPRO_SUMMARY = 12
"""Calls that MIPROv2's summary of the data may take."""
EVIDENCE_TOKENS = 3000
"""Of what a command did and left behind, a judge sees about so much."""


@dataclass(frozen=True, slots=True)
class Range:
    low: int
    high: int

    def times(self, low: float, high: float) -> Range:
        return Range(round(self.low * low), round(self.high * high))


@dataclass(frozen=True, slots=True)
class RoleEstimate:
    """What one role will do."""

    model: str
    calls: Range
    input_tokens: Range
    output_tokens: Range
    cost_usd: tuple[float, float] | None
    """None: nobody knows the price."""
    tokens_known: bool = True
    """False for a command, which asks models of its own; the ranges are zero then."""

    def to_json(self) -> Json:
        return {
            "model": self.model,
            "calls": [self.calls.low, self.calls.high],
            "input_tokens": [self.input_tokens.low, self.input_tokens.high] if self.tokens_known else None,
            "output_tokens": [self.output_tokens.low, self.output_tokens.high] if self.tokens_known else None,
            "cost_usd": list(self.cost_usd) if self.cost_usd else None,
        }


@dataclass(frozen=True, slots=True)
class Estimate:
    rows: dict[str, int]
    roles: dict[Role, RoleEstimate]
    judges: tuple[str, ...]
    proposers: tuple[str, ...]
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        return {
            "dry_run": True,
            "rows": self.rows,
            "roles": {role: one.to_json() for role, one in self.roles.items()},
            "judges": list(self.judges),
            "proposers": list(self.proposers),
            "warnings": list(self.warnings),
        }


def estimate(job: Job, learns: bool = True) -> Estimate:
    """Bounds for `run_job(job)`, capped by its budget; `learns=False`: for reading the test split with its prompt."""
    data = job.dataset
    rows = {"train": len(data.train), "validation": len(data.validation), "test": len(data.test)}
    judges = tuple(_judge_name(spec) for spec in job.judges)
    own = tuple(one if isinstance(one, str) else one.name for one in job.proposer_names())
    proposers = () if not learns else own if job.search.optimizer == OWN else (job.search.optimizer,)
    warnings = (*job.warnings, *(too_small(job) if learns else ()))
    return Estimate(rows, estimate_roles(job, learns), judges, proposers, warnings)


def estimate_roles(job: Job, learns: bool = True) -> dict[Role, RoleEstimate]:
    """What each role will do; the part of an estimate that needs no look at the data's leaks."""
    data = job.dataset
    task = _task_calls(job) if learns else _capped(Range(len(data.test), len(data.test)), job.budget.task_calls)
    prompt_low = _mean_tokens(job, data.examples[:200])
    # Demonstrations and rules grow a prompt up to its contract; a few thousand tokens where none is set.
    growth = (job.prompt.contract.max_tokens or max(2000, 4 * learned_tokens(job.prompt))) if learns else 0
    prompt_high = prompt_low + growth
    calls: dict[Role, Range] = {
        "task": task,
        "judge": _capped(_judge_calls(job, task, learns), job.budget.judge_calls),
        "meta": _capped(_meta_calls(job, task) if learns else Range(0, 0), job.budget.meta_calls),
    }
    feedback = job.search.feedback_tokens * (2 if job.reviews else 1)
    sizes: dict[Role, tuple[int, int]] = {
        "task": (prompt_low, prompt_high),
        "judge": (FEEDBACK_SHARE * prompt_low, FEEDBACK_SHARE * prompt_low + _answer_tokens(job)),
        "meta": (prompt_low, prompt_high + feedback),
    }
    return {
        role: _role(job, role, calls[role], sizes[role]) for role in job.models() if role == "task" or calls[role].high
    }


def _meta_calls(job: Job, task: Range) -> Range:
    """Requests for proposals, each repaired once at most. GEPA asks once per step of at least two times three rows;
    MIPROv2 asks for a summary of the data, and for instructions for each predictor.
    """
    if job.search.optimizer == "dspy:gepa":
        return Range(1, task.high // (2 * GEPA_MINIBATCH) + 1)
    if job.search.optimizer == "dspy:miprov2":
        instructions = CANDIDATES * max(1, len(job.prompt.parts))
        return Range(instructions, 2 * instructions + MIPRO_SUMMARY)
    proposals = job.search.rounds * job.search.drafts if job.asks_meta() else 0
    sure = any(proposer in ALWAYS_ASK for proposer in job.proposer_names())
    return Range(min(1, proposals) if sure else 0, 2 * proposals)


def _judge_calls(job: Job, task: Range, learns: bool) -> Range:
    """Judges that wait for others may be asked about no row, or about all; some rows are judged again in the end."""
    judges = job.llm_judges()
    calls = task.times(job.llm_judges(on_every_row=True), judges)
    return Range(calls.low, calls.high + job.judged_again() * judges) if learns else calls


def _answer_tokens(job: Job) -> int:
    """At most, of what a judge reads of one answer."""
    return EVIDENCE_TOKENS if counts_itself(job.task) else job.task.sampling.max_tokens


def _judge_name(spec: JudgeSpec) -> str:
    if isinstance(spec.judge, JudgeConfig):
        return str(spec.judge.options.get("name") or spec.judge.use)
    return spec.judge.name


def _role(job: Job, role: Role, calls: Range, size: tuple[int, int]) -> RoleEstimate:
    model = job.models()[role]
    if counts_itself(model):
        return RoleEstimate(model.name, calls, Range(0, 0), Range(0, 0), None, tokens_known=False)
    read = calls.times(*size)
    written = calls.times(2, model.sampling.max_tokens)
    price = model.price
    cost = (price.cost(read.low, written.low), price.cost(read.high, written.high)) if price else None
    if cost and job.budget.usd is not None:
        cost = (cost[0], min(cost[1], job.budget.usd))
    return RoleEstimate(model.name, calls, read, written, cost)


def _task_calls(job: Job) -> Range:
    search, data = job.search, job.dataset
    if search.optimizer != OWN:  # they go on until the budget is spent, which has to be given
        most = job.budget.task_calls or 0
        return _capped(Range(min(most, 2 * len(data.test) + len(data.validation)), most), job.budget.calls)
    size = min(search.minibatch, len(data.train))
    idle = min(search.patience, search.rounds) * size
    gate = size * (3 + search.drafts)
    race = len(data.validation) * (1 + search.drafts)
    prune = len(data.validation) * 24 if search.prune else 0
    low = len(data.test) + idle
    high = 2 * len(data.test) + search.rounds * (gate + race) + prune
    return _capped(_capped(Range(low, high), job.budget.task_calls), job.budget.calls)


def _capped(calls: Range, cap: int | None) -> Range:
    return calls if cap is None else Range(min(calls.low, cap), min(calls.high, cap))


def _mean_tokens(job: Job, examples: tuple[Example, ...]) -> int:
    sizes = [sum(estimate_tokens(m.content) for m in job.prompt.render(example.inputs)) for example in examples]
    return round(sum(sizes) / len(sizes))
