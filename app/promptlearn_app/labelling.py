"""A person's own verdict on an answer, kept beside the judges' and never in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from promptlearn.records import Rollout, Verdict

if TYPE_CHECKING:
    from promptlearn.report import RunReport


def label_form(found: RunReport, rollout: Rollout, verdicts: Sequence[Verdict]) -> None:
    """Where a person says what they think of it."""
