"""Pause, resume, stop and raise the budget: requests that the run finds in the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptlearn.report import RunReport


def bar(found: RunReport) -> None:
    """The buttons that make sense in the state that the run is in."""
