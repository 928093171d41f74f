"""What the store keeps about judges themselves. Pure data; imports no database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptlearn.records import Example, Json, Rollout, fingerprint

CheckKind = Literal["canary", "noise", "agreement", "alignment"]
CHECK_KINDS: tuple[CheckKind, ...] = ("canary", "noise", "agreement", "alignment")


@dataclass(frozen=True, slots=True)
class JudgeCheck:
    """How one judge stood one examination."""

    kind: CheckKind
    judge: str
    source: str
    """`name@version` of the judge's file, and its model."""
    body: Json
    """What the command printed about this judge with `--json`; `docs/judges.md` names the keys."""
    id: str = ""
    at: str = ""
    """ISO 8601, UTC; given by the store, as `id` is."""


@dataclass(frozen=True, slots=True)
class HumanLabel:
    """What a person says about one output, for judges to be held against."""

    example: Example
    rollout: Rollout
    label: str
    """One of the judge's labels, `pass` or `fail`, or a number on the judge's scale."""
    explanation: str = ""
    person: str = ""
    judge: str = ""
    """The judge whose question the person answered; empty: the answer as a whole."""
    at: str = ""
    score: float | None = None
    """0 to 1, whatever the judge's scale, where the person gave one; `label` is the word for it (`score_word`)."""

    @property
    def item(self) -> str:
        """The same for the same output to the same inputs: the latest word on it counts."""
        return fingerprint([dict(self.example.inputs), self.rollout.output, self.judge])


def score_word(score: float) -> str:
    """A person's score in one word. What lies between passing and failing is for the judge's own mark to decide."""
    return "pass" if score >= 1 else "fail" if score <= 0 else "partly"
