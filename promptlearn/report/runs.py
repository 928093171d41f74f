"""The list of runs: one line each, whatever they did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import Split
from promptlearn.report.names import value_at
from promptlearn.store.rows import ALIGNS, EVALUATION, TUNING, RunRow, RunState

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs."""

    id: str
    created_at: str
    """ISO 8601, UTC."""
    state: RunState
    stop_reason: str
    seed: int
    config_digest: str
    active_seconds: float
    decision: str | None
    """`improved`, `not_proven` or `regressed`; None before the test split was read."""
    baseline_score: float | None
    """Mean score on the rows of `split`; None before those were read. So are the next two."""
    best_score: float | None
    """Of an evaluation: the score that it measured."""
    delta: float | None
    split: Split | None
    """`test`; of a training run `validation`; of an evaluation what it measured on, None: all rows."""
    aligns: str | None = None
    """The judge (its file's version and its model) whose prompt this run learned; None: the user's own prompt."""

    @property
    def is_evaluation(self) -> bool:
        """Whether this run only measured a prompt and learned nothing."""
        return self.config_digest.startswith(EVALUATION)

    @property
    def is_tuning(self) -> bool:
        """Whether this run trained weights; `tuning` reads it."""
        return self.config_digest.startswith(TUNING)


def list_runs(store: Store, limit: int | None = None) -> list[RunSummary]:
    """Every run or the newest `limit`, the newest first. How many rollouts they have costs nothing."""
    return [summarise(row) for row in store.reader.runs(limit)]


def summarise(row: RunRow) -> RunSummary:
    evaluated = row.config_digest.startswith(EVALUATION)
    trained = row.config_digest.startswith(TUNING)
    return RunSummary(
        id=row.id,
        created_at=row.created_at,
        state=row.state,
        stop_reason=row.stop_reason,
        seed=row.seed,
        config_digest=row.config_digest,
        active_seconds=row.active_seconds,
        decision=value_at(row.result, "decision"),
        baseline_score=value_at(row.result, *(("baseline",) if trained else ("baseline", "test", "score"))),
        best_score=value_at(
            row.result, *(("score",) if evaluated else ("best",) if trained else ("best", "test", "score"))
        ),
        delta=value_at(row.result, "delta", "score"),
        split=value_at(row.result, "split") if evaluated else "validation" if trained else "test",
        aligns=value_at(row.config, ALIGNS),
    )
