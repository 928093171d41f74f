"""What the store keeps about judges themselves. Pure data; imports no database."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

from promptlearn.records import Example, Json, Rollout, fingerprint

CheckKind = Literal["canary", "noise", "agreement", "alignment"]
CHECK_KINDS: tuple[CheckKind, ...] = ("canary", "noise", "agreement", "alignment")
SCORE = "(score)"
"""Stands where a judge's name does, for the score that all judges of a configuration make together."""


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
    def answer(self) -> str:
        """Names what was labelled: the inputs, the output, and what happened on the way to it."""
        return fingerprint([dict(self.example.inputs), self.rollout.output, *self._behind()])

    @property
    def item(self) -> str:
        """Names the answer and whose question about it was answered: the latest word counts."""
        return fingerprint([dict(self.example.inputs), self.rollout.output, self.judge, *self._behind()])

    def _behind(self) -> list[Json]:
        """Two agents may say the same, and one of them be right."""
        turns, evidence = self.rollout.turns, self.rollout.evidence
        return [[asdict(turn) for turn in turns], dict(evidence)] if turns or evidence else []


def score_word(score: float) -> str:
    """A person's score in one word. What lies between passing and failing is for the judge's own mark to decide."""
    return "pass" if score >= 1 else "fail" if score <= 0 else "partly"
