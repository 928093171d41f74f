"""What people and checks say about a pull request, as a forge tells it, and what we make of it at the door.

Knows no forge, no network and no table. A `Comment` is what was written; `Received` is the comment together with the
text that may be read, and why it may not be used, if it may not. Nothing here is approved: that is for a person to do.
`Kept` and `Progress` are what a pull hears from the store, and tells it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

CommentKind = Literal["inline", "review", "conversation", "check", "note"]
"""On a line or file, the words of a review as a whole, in the conversation, from CI, or added by hand."""
AuthorKind = Literal["user", "bot", "deleted"]
PullState = Literal["open", "closed", "merged"]


@dataclass(frozen=True, slots=True)
class Author:
    login: str = ""
    """Empty where the account was deleted."""
    id: str = ""
    """Stays the same when the login changes."""
    kind: AuthorKind = "user"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A suggested change: the lines that it replaces and the lines that it puts there, each ending in a line end."""

    after: str
    """Empty: the lines go away."""
    before: str | None = None
    """None where the diff does not show them all."""


@dataclass(frozen=True, slots=True)
class Thread:
    """Where an inline comment stands, and what became of it."""

    id: str
    resolved: bool = False
    outdated: bool = False
    resolved_by: str = ""


@dataclass(frozen=True, slots=True)
class Annotation:
    """What a check says about a line."""

    path: str
    message: str
    line: int | None = None
    level: str = ""
    """`failure`, `warning` or `notice`."""
    title: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """How a check ended on a pull request's head."""

    name: str
    conclusion: str
    """`success`, `failure`, `timed_out`, …; empty while it runs."""
    url: str = ""


@dataclass(frozen=True, slots=True)
class PullRequest:
    repo: str
    """`owner/name`."""
    number: int
    id: str
    url: str
    title: str
    author: Author
    state: PullState
    head: str
    """The commit at its head when it was read."""
    updated_at: str
    """ISO 8601 in UTC, as all times."""
    created_at: str = ""
    draft: bool = False
    fork: bool = False
    """Whether its head is in another repository."""
    head_ref: str = ""
    base_ref: str = ""
    labels: tuple[str, ...] = ()
    files: tuple[str, ...] | None = None
    """Paths that it changes; None where nobody asked."""
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Comment:
    """One thing that was said, whole. Texts are as they were written, but for secrets (invariant 10)."""

    id: str
    """The forge's own id: stays the same when the comment, its author or its repository changes its name."""
    kind: CommentKind
    repo: str
    pull: int
    url: str
    body: str
    author: Author
    association: str
    """What the forge calls the author: `OWNER`, `MEMBER`, `COLLABORATOR`, `CONTRIBUTOR`, `NONE`, …"""
    created_at: str
    updated_at: str
    edited_at: str | None = None
    fork: bool = False
    """Whether the pull request comes from another repository."""
    path: str | None = None
    side: str = ""
    """`LEFT`, `RIGHT`, or `FILE` for a comment on a whole file."""
    line: int | None = None
    """Last line in the newest diff; None where it is outdated. `original_*` is what was commented on."""
    start_line: int | None = None
    original_line: int | None = None
    original_start_line: int | None = None
    hunk: str = ""
    """The diff from the hunk's header to the commented line."""
    commit: str | None = None
    """The forge moves this to newer commits. `original_commit` stays: what the author looked at."""
    original_commit: str | None = None
    review: str | None = None
    """Id of the review that it belongs to."""
    verdict: str = ""
    """Of the review: `APPROVED`, `CHANGES_REQUESTED`, `COMMENTED`, `DISMISSED`; of a check: its conclusion."""
    thread: Thread | None = None
    reply_to: str | None = None
    minimized: str = ""
    """Why it is hidden: `spam`, `abuse`, `off-topic`, `outdated`, `resolved`, `duplicate`; empty where it is not."""
    reactions: Mapping[str, int] = field(default_factory=dict)
    """Such as `THUMBS_UP` → 2; those that nobody gave are left out."""
    suggestions: tuple[Suggestion, ...] = ()
    annotations: tuple[Annotation, ...] = ()


SUSPICIOUS = frozenset({"hidden_character", "html_comment", "link_definition", "marker", "padding"})
"""Kinds of removals that honest comments hardly ever have: somebody tried to say what no reader would see."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Something that was taken out of a comment before anybody read it."""

    kind: str
    detail: str


@dataclass(frozen=True, slots=True)
class Received:
    """A comment at the door: what may be read of it, and whether it may be used once a person approves it."""

    comment: Comment
    text: str
    """The sanitised body: what everything but the archive reads."""
    removals: tuple[Removal, ...] = ()
    permission: str = ""
    """What the forge said that the author may do (`admin`, `write`, `read`, `none`); empty where nobody was asked."""
    dropped: str = ""
    """Why it is not used; empty where it may be."""
    head: str = ""
    """The pull request's head when it was received."""
    suggestions: tuple[str, ...] = ()
    """What the comment suggests to write instead, sanitised too."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What storing comments came to. Adds up with `+`."""

    new: int = 0
    edited: int = 0
    """Their words changed; what was decided about them is open again."""
    changed: int = 0
    """Something else about them changed: thread, reactions, trust, a login."""
    unchanged: int = 0

    def __add__(self, other: Kept) -> Kept:
        return Kept(
            self.new + other.new,
            self.edited + other.edited,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a source was read."""

    complete_at: str = ""
    """Everything that changed before this moment (the forge's clock) and after `floor` was read; empty: not yet."""
    floor: str = ""
    """Pull requests not updated since then were left out; empty: none."""
    policy: str = ""
    """Digest of the rules of trust that its comments were judged by."""
    resume: str = ""
    """Where a reading that was interrupted goes on. What follows belongs to that reading: the floor that it goes down
    to, when it began, and what the forge's lists of news said then (URL → ETag)."""
    wanted: str = ""
    started_at: str = ""
    etags: Mapping[str, str] = field(default_factory=dict)
