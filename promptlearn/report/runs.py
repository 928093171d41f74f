"""The list of runs: one line each, whatever they did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, TypeAlias

from promptlearn.records import Json, Split
from promptlearn.report.names import value_at
from promptlearn.store.rows import ALIGNS, EVALUATION, TUNING, RunRow, RunState

if TYPE_CHECKING:
    from promptlearn.store import Store

FRESH = 15.0
"""Seconds after which a pulse says nothing about now any more."""
State: TypeAlias = RunState | Literal["killed"]
"""`killed`: the store says running, and no process has the run."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs."""

    id: str
    created_at: str
    """ISO 8601, UTC."""
    state: State
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
    return [summarise(store, row) for row in store.reader.runs(limit)]


def summarise(store: Store, row: RunRow) -> RunSummary:
    evaluated = row.config_digest.startswith(EVALUATION)
    trained = row.config_digest.startswith(TUNING)
    return RunSummary(
        id=row.id,
        created_at=row.created_at,
        state=state_of(store, row),
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


def state_of(store: Store, row: RunRow) -> State:
    """What a run does now. One that works on another machine is known by its pulse alone."""
    if row.state != "running" or store.process_of(row.id) is not None:
        return row.state
    return "running" if store.shared and pulse(store, row.id) else "killed"


def pulse(store: Store, run: str) -> Mapping[str, Json]:
    """What a run said of itself; nothing where that was too long ago."""
    found = store.requests.pulse(run)
    if found is None:
        return {}
    age = (datetime.now(UTC) - datetime.fromisoformat(found.at)).total_seconds()
    return found.body if age < FRESH else {}
