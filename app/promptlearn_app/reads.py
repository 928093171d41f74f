"""What pages ask the store, kept for as long as nothing new is there. Knows `promptlearn.report`, and no widget."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import streamlit as st

from promptlearn import report
from promptlearn.dashboard import desk
from promptlearn.report import RunReport, RunSummary

if TYPE_CHECKING:
    from promptlearn.store import Store

LISTED = 500
"""Runs in a list."""


def where() -> str:
    """The store's path or URL."""
    return os.environ.get("PROMPTLEARN_STORE", "") or ".promptlearn/store.db"


def home() -> Path:
    """The folder in which the dashboard was started."""
    return Path(os.environ.get("PROMPTLEARN_DASHBOARD_HOME", "") or ".").resolve()


def store() -> Store:
    """The store, opened once. Raises `StoreError` where there is none yet."""
    return _opened(where())


@st.cache_resource(show_spinner=False, max_entries=4)
def _opened(place: str) -> Store:
    return desk.open_desk(place)


def runs() -> list[RunSummary]:
    return report.list_runs(store(), LISTED)


def run(which: str) -> RunReport:
    return report.load_run(store(), which)


def exists() -> bool:
    """Whether there is a store with a run in it."""
    return desk.has_store(where()) and bool(runs())


def private_folder() -> Path:
    """Where the dashboard keeps what was uploaded and what runs said: beside the store, for this user only."""
    return desk.private_folder(where())
