"""What the store gives back about comments and deliveries. Pure data; imports no database."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from promptlearn.comments import Received
from promptlearn.records import Guard, Json, Review, fingerprint

FeedbackState = Literal["pending", "approved", "dismissed"]
FEEDBACK_STATES: tuple[FeedbackState, ...] = ("pending", "approved", "dismissed")
DeliveryState = Literal["waiting", "done", "failed"]


def feedback_ref(host: str, id: str) -> str:
    """What people and files call a comment: 16 hex digits, the same in every store."""
    return fingerprint([host, id])


@dataclass(frozen=True, slots=True)
class FeedbackDecision:
    """What a person decided about a comment, on the text that stood there then."""

    by: str
    at: str
    text: str | None = None
    """The person's own wording of it; None: as it was sanitised."""
    note: str = ""
    digest: str = ""
    """`text_digest` of the sanitised text that it was decided on."""


def text_digest(text: str) -> str:
    """Which text a decision is about."""
    return fingerprint(text)


@dataclass(frozen=True, slots=True)
class FeedbackRow:
    ref: str
    host: str
    received: Received
    state: FeedbackState
    received_at: str
    """When it was stored first; ISO 8601, UTC."""
    changed_at: str
    decision: FeedbackDecision | None = None
    classification: Json = None

    @property
    def text(self) -> str:
        """What may be read: the approver's wording, else the sanitised body."""
        return self.decision.text if self.decision and self.decision.text is not None else self.received.text

    @property
    def usable(self) -> bool:
        """Approved in these very words, and by somebody who is trusted: nothing else reaches a prompt (invariant 9)."""
        if self.state != "approved" or self.decision is None or self.received.dropped:
            return False
        return self.decision.digest == text_digest(self.received.text)

    def review(self) -> Review:
        """As the record that proposers read. What a person worded comes without the comment's suggested change, which
        is no part of what they approved.
        """
        comment = self.received.comment
        worded = self.decision is not None and self.decision.text is not None
        return Review(
            id=self.ref,
            body=self.text,
            author=comment.author.login,
            trusted=not self.received.dropped,
            state="pending" if self.state == "approved" and not self.usable else self.state,
            path=comment.path,
            suggestion=None if worded else next(iter(self.received.suggestions), None),
            url=comment.url or None,
            created_at=comment.created_at or None,
        )


@dataclass(frozen=True, slots=True)
class FeedbackEvent:
    """One change of a comment: `edited`, `approved`, `dismissed`, `pending`; `body` says what stood there before."""

    n: int
    kind: str
    body: Json
    at: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """One webhook: says that a pull request is to be read again, and nothing else."""

    id: str
    host: str
    repo: str
    pull: int
    event: str = ""
    state: DeliveryState = "waiting"
    attempts: int = 0
    error: str = ""
    received_at: str = ""


@dataclass(frozen=True, slots=True)
class GuardRow:
    """What a prompt learned from reviewers, and how far it was kept when it was adopted."""

    scope: str
    """Names the prompt: its file and key."""
    guard: Guard
    rows: int = 0
    """Rows that it applied to."""
    before: int = 0
    """Of these, how many the run's first prompt kept; `after` says it of the shipped one."""
    after: int = 0
    active: bool = True
    at: str = ""
    """ISO 8601, UTC."""

    @property
    def measured(self) -> bool:
        """Whether it was judged on any row; otherwise `before` and `after` say nothing."""
        return self.rows > 0
