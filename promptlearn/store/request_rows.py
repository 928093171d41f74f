"""What the store gives back about requests, and about pages of rows. Pure data; imports no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from promptlearn.records import Json, Split, Verdict

RequestState = Literal["waiting", "done", "refused"]
Change = Literal["improved", "regressed", "unchanged", "not_judged", "not_run"]
CHANGES: tuple[Change, ...] = ("improved", "regressed", "unchanged", "not_judged", "not_run")
"""What became of an example between two versions; `not_judged`: it was run, and one side has no score."""


@dataclass(frozen=True, slots=True)
class RequestRow:
    """One thing that a person asked of a run."""

    id: str
    run: str
    """Empty where no run is meant yet (`start`)."""
    kind: str
    """`start`, `pause`, `resume`, `stop`, `raise` or `label`."""
    who: str
    at: str
    """ISO 8601, UTC."""
    body: Json = None
    state: RequestState = "waiting"
    note: str = ""
    """What came of it, in words."""
    done_at: str | None = None


@dataclass(frozen=True, slots=True)
class PulseRow:
    """What a run last said about itself."""

    at: str
    body: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class CellRow:
    """One prompt on one example, without its words."""

    prompt: str
    """Digest."""
    example: str
    score: float | None
    failed: bool


@dataclass(frozen=True, slots=True)
class JudgeRow:
    """One judge on one prompt and split, in figures."""

    judge: str
    prompt: str
    split: Split
    verdicts: int
    scored: int
    passed: int
    skipped: int
    mean: float | None


@dataclass(frozen=True, slots=True)
class DisputeRow:
    """Two verdicts on one rollout that are far apart."""

    example: str
    first: Verdict
    second: Verdict


@dataclass(frozen=True, slots=True)
class TotalRow:
    """What one prompt scored on one split, in sums: enough for a mean and its interval."""

    prompt: str
    split: Split
    rollouts: int
    failed: int
    scored: int
    total: float
    squares: float


@dataclass(frozen=True, slots=True)
class AgreementRow:
    """One judge beside people: rollouts that both have a score for, and on how many these are close."""

    judge: str
    pairs: int
    agreed: int
