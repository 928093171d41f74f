"""Runs that train weights: their steps, what was sampled, how validation went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Json
from promptlearn.report.names import find_run
from promptlearn.report.runs import RunSummary, summarise
from promptlearn.store.tuning_rows import TuningSample, TuningStep, TuningValidation

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class TuningReport:
    """A run that trains weights, as far as it has come."""

    summary: RunSummary
    config: Json
    """Of the run; `tuning` stands in it as the run has it."""
    result: Json
    """What `tune run --json` printed; None before the run is finished."""
    steps: tuple[TuningStep, ...]
    validations: tuple[TuningValidation, ...]
    """Readings of the validation split; the first is of the base."""
    warnings: tuple[str, ...]
    """What was said about the set-up before and at the beginning of training."""

    @property
    def id(self) -> str:
        return self.summary.id


def tuning(store: Store, which: str = "latest") -> TuningReport:
    """A run that trains weights, by id or its beginning, or the `latest`; ask again to follow it.

    Raises `UsageError` naming runs.
    """
    newest = store.reader.runs(1, tunes=True) if which == "latest" else []
    if which == "latest" and not newest:
        raise UsageError(f"the store at {store.where} has no training run yet: start one with `promptlearn tune run`")
    row = newest[0] if newest else find_run(store, which)
    summary = summarise(store, row)
    if not summary.is_tuning:
        raise UsageError(f"run {row.id} trained no weights: see it with `promptlearn show {row.id}`")
    said = [event.body for event in store.reader.events(row.id) if event.kind in ("started", "warning")]
    return TuningReport(
        summary=summary,
        config=row.config,
        result=row.result,
        steps=tuple(store.tuning.steps(row.id)),
        validations=tuple(store.tuning.validations(row.id)),
        warnings=tuple(dict.fromkeys(text for body in said for text in body.get("warnings", ()))),
    )


def tuning_samples(store: Store, run: str, step: int) -> list[TuningSample]:
    """What one step of a training run sampled, with rewards and the judges' words."""
    return store.tuning.samples(run, step)
