"""What the store gives back: records as they went in, with what the store itself knows about them.

Pure data; imports no database.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from promptlearn.records import Candidate, Example, Json, Rollout, Split, Usage

RunState = Literal["running", "finished", "failed", "interrupted", "budget"]
STATES: tuple[RunState, ...] = ("running", "finished", "failed", "interrupted", "budget")
UNFINISHED: tuple[RunState, ...] = ("running", "interrupted", "budget")
"""States that a run can go on from. `running` without a process that holds its lock is a run that was killed."""
EVALUATION = "eval/"
"""How the configuration's digest of a run begins that measures a prompt and learns nothing."""
HUMAN = "human:"
"""How the name of a verdict begins that a person gave; their name follows, then `@` and the judge it is about."""
TUNING = "tune/"
"""How that of a run begins that trains weights."""
ALIGNS = "align"
"""The one key in the configuration of a run that learns a judge's prompt; it names the judge."""


@dataclass(frozen=True, slots=True)
class RunRow:
    id: str
    created_at: str
    """ISO 8601, UTC."""
    config_digest: str
    config: Json
    """As it was given; it names the variables that hold keys, never keys."""
    state: RunState
    stop_reason: str
    result: Json
    """What `run --json` printed; None until the run is finished."""
    active_seconds: float
    """Seconds that the run was at work, over all its interruptions."""
    versions: Mapping[str, str]
    seed: int


@dataclass(frozen=True, slots=True)
class CandidateRow:
    number: int
    """Order of proposal; 0 is the baseline."""
    candidate: Candidate


@dataclass(frozen=True, slots=True)
class RolloutRow:
    split: Split
    rollout: Rollout


@dataclass(frozen=True, slots=True)
class ExampleRow:
    split: Split
    example: Example


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What one judge says of one prompt on one split."""

    prompt: str
    """Digest."""
    split: Split
    judge: str
    mean: float | None
    """Over the verdicts that have a score; None where none has."""
    n: int
    """Verdicts with a score."""
    unscored: int
    """Verdicts without one: not judged or not asked for, in no mean (invariant 4)."""
    usage: Usage = Usage()
    """What judging cost."""


@dataclass(frozen=True, slots=True)
class FailedRow:
    """How many rollouts of one prompt on one split gave no output."""

    prompt: str
    split: Split
    rollouts: int
    failed: int
    usage: Usage = Usage()
    """What running it cost, failures included."""


@dataclass(frozen=True, slots=True)
class EventRow:
    id: int
    """1, 2, … within the run."""
    kind: str
    body: Json
    at: str


@dataclass(frozen=True, slots=True)
class ReadingRow:
    n: int
    """1 for the first reading of the test split; more means that test was looked at again (invariant 5)."""
    reading: str | None
    at: str


@dataclass(frozen=True, slots=True)
class ReplyRow:
    """What the journal keeps: of one model, or of those that were chosen."""

    model: str
    """As reports call it; empty for several."""
    replies: int
    bytes: int
    """Of questions and answers; the file has indexes beside them."""
    oldest: str | None
    """When the first of them was kept (ISO 8601, UTC); None where there is none. So is the next."""
    newest: str | None
    input_tokens: int
    """What these replies cost when they were paid for, and would cost again."""
    output_tokens: int
    cost_usd: float | None
    """None: the price of one was unknown."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What was taken out of the journal."""

    replies: ReplyRow
    freed: int
    """Bytes by which the store became smaller on the disk."""
    kept: str = ""
    """Why the file kept its size; empty where it did not."""
