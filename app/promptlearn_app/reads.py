"""What pages ask the store, kept for as long as nothing new is there. Knows `promptlearn.report`, and no widget."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import streamlit as st

from promptlearn import report
from promptlearn.dashboard import desk
from promptlearn.report import RunReport, RunSummary

if TYPE_CHECKING:
    from promptlearn.records import Rollout, Split, Verdict
    from promptlearn.report import (
        Comparison,
        Examined,
        FailureReport,
        JudgeLabels,
        JudgeReport,
        Overview,
        Remarks,
        Setup,
        TuningReport,
    )
    from promptlearn.store import Store
    from promptlearn.store.feedback_rows import FeedbackState
    from promptlearn.store.judge_rows import JudgeCheck
    from promptlearn.store.request_rows import CellRow, DisputeRow
    from promptlearn.store.rows import EventRow, ExampleRow
    from promptlearn.store.tuning_rows import TuningSample

LISTED = 500
"""Runs in a list."""


def where() -> str:
    """The store's path or URL."""
    return os.environ.get("PROMPTLEARN_STORE", "") or ".promptlearn/store.db"


def home() -> Path:
    """The folder in which the dashboard was started."""
    return Path(os.environ.get("PROMPTLEARN_DASHBOARD_HOME", "") or ".").resolve()


def person() -> str:
    """Who sits in front of the page: as the proxy says that signed them in, else as the machine knows."""
    header = os.environ.get(desk.PROXY_HEADER, "")
    told = st.context.headers.get(header, "") if header else ""
    return " ".join(told.split()) or desk.person()


def store() -> Store:
    """The store, opened once. Raises `StoreError` where there is none yet."""
    return _opened(where())


@st.cache_resource(show_spinner=False, max_entries=4)
def _opened(place: str) -> Store:
    return desk.open_desk(place)


def runs() -> list[RunSummary]:
    return report.list_runs(store(), LISTED)


def run(which: str) -> RunReport:
    """All of a run; of one that has ended it is asked once."""
    moment = _ended(which)
    return report.load_run(store(), which) if moment is None else _run(where(), which, moment)


@st.cache_resource(show_spinner=False, max_entries=20)
def _run(place: str, which: str, moment: str) -> RunReport:
    return report.load_run(_opened(place), which)


def _ended(which: str) -> str | None:
    """What names a run as it is now, where nothing more can happen to it; None for one that works or is unknown."""
    one = next((one for one in runs() if one.id == which), None)
    if one is None or one.state in ("running", "killed"):
        return None
    return f"{one.state}/{one.active_seconds}/{one.stop_reason}"


def exists() -> bool:
    """Whether there is a store with a run in it."""
    return desk.has_store(where()) and bool(runs())


def private_folder() -> Path:
    """Where the dashboard keeps what was uploaded and what runs said: beside the store, for this user only."""
    return desk.private_folder(where())


def shown_place() -> str:
    """The store for people: without a password that a URL may hold."""
    return desk.shown(where())


def changes(found: RunReport, old: str, new: str, split: Split) -> dict[str, int]:
    """How many rows did better, worse, … with one version than with another."""
    return dict(_changes(where(), found.id, _moment(found), old, new, split))


@st.cache_data(show_spinner=False, max_entries=200)
def _changes(place: str, run: str, moment: str, old: str, new: str, split: Split) -> dict[str, int]:
    return {str(change): amount for change, amount in _opened(place).views.changes(run, old, new, split).items()}


def changed(
    found: RunReport, old: str, new: str, split: Split, change: str | None, search: str, offset: int, limit: int
) -> list[tuple[str, str]]:
    """A page of example ids, with what became of each."""
    kind = cast("Any", change)
    return [(id, str(of)) for id, of in store().views.changed(found.id, old, new, split, kind, search, offset, limit)]


def kept_examples(found: RunReport, ids: Sequence[str]) -> dict[str, ExampleRow]:
    return store().views.examples(found.id, ids)


def cells(found: RunReport, prompts: Sequence[str], ids: Sequence[str]) -> list[CellRow]:
    return store().views.cells(found.id, prompts, ids)


def rollout(found: RunReport, version: str, example: str) -> Rollout | None:
    row = store().views.rollout(found.id, version, example)
    return row.rollout if row else None


def verdicts(found: RunReport, rollouts: Sequence[str]) -> dict[str, list[Verdict]]:
    return store().views.verdicts(found.id, rollouts)


def _moment(found: RunReport) -> str:
    """What has to be the same for an answer to be the same."""
    last = found.events[-1].id if found.events else 0
    return f"{found.summary.state}/{last}/{sum(row.rollouts for one in found.candidates for row in one.failures)}"


def judges(found: RunReport) -> tuple[JudgeReport, ...]:
    return report.judges(store(), found.id)


def overview(run: str) -> Overview:
    moment = _ended(run)
    return report.overview(store(), run) if moment is None else _overview(where(), run, moment)


@st.cache_resource(show_spinner=False, max_entries=20)
def _overview(place: str, run: str, moment: str) -> Overview:
    return report.overview(_opened(place), run)


def told(run: str, last: int, limit: int) -> list[EventRow]:
    """The newest events of a run, the newest first."""
    return report.events(store(), run, max(0, last - limit), limit)[::-1]


def failure_modes(found: RunReport, version: str, split: Split) -> FailureReport:
    return _failure_modes(where(), found.id, _moment(found), version, split)


@st.cache_resource(show_spinner=False, max_entries=50)
def _failure_modes(place: str, run: str, moment: str, version: str, split: Split) -> FailureReport:
    return report.failure_modes(_opened(place), run, version, split)


def remarks(state: FeedbackState | None, offset: int, limit: int) -> Remarks:
    return report.remarks(store(), state, None, offset, limit, desk.review_paths(home()))


def compared(runs: Sequence[str], split: Split) -> Comparison:
    return report.compare_runs(store(), runs, split)


def setup(run: str) -> Setup:
    return report.setup(store(), run)


def judge_labels(found: RunReport) -> dict[str, JudgeLabels]:
    return report.judge_labels(store(), found.id)


def examinations() -> list[Examined]:
    """Of every judge that was examined in this store, whatever the run."""
    return report.examinations(store())


def examination_history(judge: str) -> list[JudgeCheck]:
    """All of a judge's examinations, the newest first."""
    return report.examination_history(store(), judge)


def judge_errors(found: RunReport, version: str, judge: str) -> list[Verdict]:
    return store().views.judge_errors(found.id, version, judge)


def disputes(found: RunReport, version: str, people: bool, offset: int, limit: int) -> list[DisputeRow]:
    return store().views.disputes(found.id, version, people, offset, limit)


def tuning(run: str) -> TuningReport | None:
    """A run that trains weights; None for any other."""
    summary = next((one for one in runs() if one.id == run), None)
    return report.tuning(store(), run) if summary is not None and summary.is_tuning else None


def tuning_samples(run: str, step: int) -> list[TuningSample]:
    return report.tuning_samples(store(), run, step)
