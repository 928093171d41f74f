"""What came of an experiment, read from the store: of a run that has just ended or of one that ended long ago.

Knows runs, rows and verdicts; starts nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from promptlearn.errors import PromptlearnError, StoreError
from promptlearn.experiments.plan import Entry
from promptlearn.job import Job
from promptlearn.records import ROLES, Interval, Json, Role, Split, Usage, Verdict
from promptlearn.redaction import redact
from promptlearn.result import Difference, Measure
from promptlearn.selection.stats import mean_interval
from promptlearn.store import Store
from promptlearn.store.rows import RunRow

State = Literal["finished", "failed", "interrupted", "running", "missing"]
"""`interrupted`: goes on when the command is given again. `running`: another process is at it. `missing`: not begun."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why an experiment failed."""

    type: str
    message: str
    exit_code: int

    @classmethod
    def of(cls, error: Exception, secrets: Sequence[str] = ()) -> Problem:
        """Keys do not get into it (invariant 10)."""
        line = redact(" ".join(str(error).split()), secrets) or type(error).__name__
        return cls(type(error).__name__, line, error.exit_code if isinstance(error, PromptlearnError) else 1)


@dataclass(frozen=True, slots=True)
class Outcome:
    """One line of the table."""

    name: str
    axes: Mapping[str, str]
    state: State
    rows: str
    """As in `Entry.rows`."""
    run: str | None = None
    known: bool = False
    """Whether it was finished before and taken from the store."""
    decision: str | None = None
    """`improved`, `not_proven` or `regressed`; `measured` for a prompt that was to be left as it is."""
    stop_reason: str = ""
    before: Measure | None = None
    """The prompt as it was, on the test split."""
    after: Measure | None = None
    """The prompt to ship, which is the same one unless another is proven to be better."""
    delta: Difference | None = None
    """Best of the search minus the prompt as it was, paired."""
    usage: Mapping[Role, Usage] = field(default_factory=dict)
    prompt: str | None = None
    """Digest of the prompt to ship."""
    path: str | None = None
    """Where it lies as a file."""
    seconds: float = 0.0
    error: Problem | None = None
    scores: tuple[float | None, ...] = field(default=(), repr=False)
    """Of the prompt to ship, row by row of the test split."""

    @property
    def total(self) -> Usage:
        """All roles together."""
        return sum(self.usage.values(), Usage())

    def to_json(self) -> dict[str, Json]:
        total = self.total
        return {
            "name": self.name,
            "axes": dict(self.axes),
            "state": self.state,
            "decision": self.decision,
            "stop_reason": self.stop_reason,
            "run_id": self.run,
            "from_store": self.known,
            "before": _measure_json(self.before),
            "after": _measure_json(self.after),
            "delta": _delta_json(self.delta),
            "calls": total.calls,
            "cached_calls": total.cached_calls,
            "cost_usd": total.cost_usd,
            "usage": {role: asdict(used) for role, used in self.usage.items()},
            "prompt": self.prompt,
            "path": self.path,
            "seconds": round(self.seconds, 3),
            "error": asdict(self.error) if self.error else None,
        }


def unfinished(entry: Entry, state: State, run: str | None = None, error: Problem | None = None) -> Outcome:
    """The outcome of an experiment that has none yet, or failed."""
    return Outcome(entry.name, entry.experiment.axes, state, entry.rows, run, error=error)


def finished(store: Store, entry: Entry) -> Outcome | None:
    """The newest finished run of exactly this experiment; None where there is none."""
    found = next((row for row in store.reader.runs(digest=entry.digest) if _is_done(store, row, entry)), None)
    return None if found is None else _read(store, found, entry, known=True)


def stored(stores: Sequence[Store], entry: Entry) -> Outcome:
    """What the stores know of an experiment, finished or not; the newest counts."""
    done = [outcome for store in stores if (outcome := finished(store, entry)) is not None]
    if done:
        return max(done, key=lambda outcome: outcome.run or "")
    begun = [(row, store) for store in stores for row in store.reader.runs(1, digest=entry.digest)]
    if not begun:
        return unfinished(entry, "missing")
    row, store = max(begun, key=lambda pair: pair[0].id)
    if row.state == "failed":
        return unfinished(entry, "failed", row.id, Problem("", row.stop_reason, 1))
    return unfinished(entry, "running" if row.id in store.running() else "interrupted", row.id)


def read(store: Store, run: str, entry: Entry) -> Outcome:
    """The outcome of a run that has ended with a result."""
    row = store.reader.run(run)
    if row is None or row.result is None:
        raise StoreError(f"the store at {store.where} has no result of run {run}: give the same command again")
    return _read(store, row, entry, known=False)


def _read(store: Store, row: RunRow, entry: Entry, known: bool) -> Outcome:
    return _learned(store, row, entry, known) if entry.learns else _measured(store, row, entry, known)


def _is_done(store: Store, row: RunRow, entry: Entry) -> bool:
    """Whether the run has nothing to go on with: its search ended, or the same budget would end it again."""
    if row.result is None:
        return False
    if not entry.learns:
        return row.state == "finished" and _has_read_test(store, row.id, entry)
    same_budget = isinstance(row.config, dict) and row.config.get("budget") == entry.job.described["budget"]
    return row.state == "finished" or (row.state == "budget" and same_budget)


def _has_read_test(store: Store, run: str, entry: Entry) -> bool:
    """An evaluation of the test split, not of another one."""
    parts = [(part.prompt, part.split, part.rollouts) for part in store.reader.failures(run)]
    return parts == [(entry.job.prompt.digest, "test", len(entry.job.dataset.test))]


def _learned(store: Store, row: RunRow, entry: Entry, known: bool) -> Outcome:
    result = row.result
    delta = result["delta"]
    digest = result["best"]["digest"]
    return Outcome(
        name=entry.name,
        axes=entry.experiment.axes,
        state="finished",
        rows=entry.rows,
        run=row.id,
        known=known,
        decision=result["decision"],
        stop_reason=result["stop_reason"],
        before=_measure(result["baseline"]["test"]),
        after=_measure(result["best"]["test"]),
        delta=Difference(delta["score"], Interval(*delta["ci95"]), delta["p_value"], delta["test"], delta["n"]),
        usage={role: Usage(**result["usage"].get(role, {})) for role in ROLES},
        prompt=digest,
        path=result["best"]["path"],
        seconds=result["wall_s"],
        scores=row_scores(store, row.id, digest, entry.job),
    )


def _measured(store: Store, row: RunRow, entry: Entry, known: bool) -> Outcome:
    digest = entry.job.prompt.digest
    scores = row_scores(store, row.id, digest, entry.job)
    judged = [score for score in scores if score is not None]
    mean = sum(judged) / len(judged) if judged else None
    measure = Measure(mean, len(judged), len(scores) - len(judged), mean_interval(judged))
    usage: dict[Role, Usage] = {
        "task": sum((part.usage for part in store.reader.failures(row.id)), Usage()),
        "judge": sum((part.usage for part in store.reader.scores(row.id)), Usage()),
    }
    return Outcome(
        name=entry.name,
        axes=entry.experiment.axes,
        state="finished",
        rows=entry.rows,
        run=row.id,
        known=known,
        decision="measured",
        stop_reason=row.stop_reason,
        before=measure,
        after=measure,
        usage=usage,
        prompt=digest,
        path=str(entry.experiment.config.prompt.file),
        seconds=row.result.get("wall_s", 0.0),
        scores=scores,
    )


def row_scores(store: Store, run: str, prompt: str, job: Job, split: Split = "test") -> tuple[float | None, ...]:
    """Scores of a prompt on a split's rows, in their order; None where a row was not judged (invariant 4)."""
    said: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in store.reader.verdicts(run, prompt, split):
        said[verdict.rollout].append(verdict)
    panel = job.panel(job.judge)
    scored = {
        row.rollout.example: panel.score(said[row.rollout.id])
        for row in store.reader.rollouts(run, prompt, split)
        if row.rollout.error is None
    }
    return tuple(scored.get(example.id) for example in job.dataset.split(split))


def _measure(value: Json) -> Measure:
    return Measure(value["score"], value["n"], value["errors"], Interval(*value["ci95"]))


def _measure_json(measure: Measure | None) -> Json:
    if measure is None:
        return None
    ci95 = [measure.ci95.low, measure.ci95.high]
    return {"score": measure.score, "n": measure.n, "errors": measure.errors, "ci95": ci95}


def _delta_json(delta: Difference | None) -> Json:
    if delta is None:
        return None
    ci95 = [delta.ci95.low, delta.ci95.high]
    return {"score": delta.score, "ci95": ci95, "p_value": delta.p_value, "test": delta.test, "n": delta.n}
