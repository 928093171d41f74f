"""What a GitHub knows, for `github_server`: people, repositories, pull requests and what is said on them.

    world = World()
    shop = world.repo("acme/shop")
    ann = world.user("ann", may="write", on=shop)
    pull = shop.pull(by=ann, files=["prompts/support.md"])
    comment = pull.comment("Say please.", by=ann, path="prompts/support.md", line=3)
    world.pass_time(hours=1)
    comment.edit("Say please and thank you.")

Time stands still but for `pass_time`, and the server tells this time. Knows no HTTP.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Literal, TypeVar

from github_git import Git

T = TypeVar("T")
START = datetime(2026, 6, 1, 12, 0, 0, tzinfo=UTC)


@dataclass(slots=True, eq=False)
class User:
    login: str
    id: str
    typename: Literal["User", "Bot", "Mannequin"] = "User"
    gone: bool = False
    """The account was deleted: comments stay, without an author."""


@dataclass(slots=True, eq=False)
class Said:
    """What all comments have."""

    world: World
    id: str
    number: int
    """The id that REST uses."""
    pull: Pull
    by: User
    body: str
    created_at: str
    updated_at: str
    association: str = "NONE"
    edited_at: str | None = None
    minimized: str | None = None
    reactions: dict[str, int] = field(default_factory=dict)

    @property
    def author(self) -> User | None:
        return None if self.by.gone else self.by

    @property
    def url(self) -> str:
        return f"{self.pull.url}#{type(self).__name__.lower()}-{self.number}"

    def edit(self, body: str, touch: bool = False) -> None:
        """Change the words. GitHub does not promise that the pull request's own `updated_at` moves."""
        self.body = body
        self.updated_at = self.edited_at = self.world.now
        if touch:
            self.pull.updated_at = self.world.now

    def minimize(self, reason: str) -> None:
        self.minimized = reason


@dataclass(slots=True, eq=False)
class ReviewComment(Said):
    typename = "PullRequestReviewComment"
    thread: Thread = field(default=None, repr=False)  # type: ignore[assignment]
    review: Review = field(default=None, repr=False)  # type: ignore[assignment]
    hunk: str = ""
    commit: str = ""
    original_commit: str = ""
    reply_to: ReviewComment | None = None
    state: str = "SUBMITTED"

    @property
    def url(self) -> str:
        return f"{self.pull.url}#discussion_r{self.number}"


@dataclass(slots=True, eq=False)
class IssueComment(Said):
    typename = "IssueComment"

    @property
    def url(self) -> str:
        return f"{self.pull.url}#issuecomment-{self.number}"


@dataclass(slots=True, eq=False)
class Review(Said):
    typename = "PullRequestReview"
    state: str = "COMMENTED"
    commit: str = ""

    @property
    def url(self) -> str:
        return f"{self.pull.url}#pullrequestreview-{self.number}"


@dataclass(slots=True, eq=False)
class Thread:
    typename = "PullRequestReviewThread"
    id: str
    path: str
    line: int | None
    original_line: int | None
    start_line: int | None
    comments: list[ReviewComment] = field(default_factory=list)
    resolved_by: User | None = None
    outdated: bool = False
    whole_file: bool = False


@dataclass(slots=True, eq=False)
class CheckRun:
    typename = "CheckRun"
    id: str
    number: int
    name: str
    conclusion: str | None
    title: str | None = None
    summary: str | None = None
    annotations: list[dict[str, Any]] = field(default_factory=list)
    at: str = ""


@dataclass(slots=True, eq=False)
class Status:
    typename = "StatusContext"
    id: str
    context: str
    state: str
    description: str
    by: User | None
    at: str = ""


@dataclass(slots=True, eq=False)
class Pull:
    typename = "PullRequest"
    world: World
    repo: Repo
    id: str
    number: int
    by: User
    title: str
    head: str
    head_ref: str
    base_ref: str
    created_at: str
    updated_at: str
    body: str = ""
    state: str = "OPEN"
    draft: bool = False
    fork: bool = False
    labels: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    threads: list[Thread] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    comments: list[IssueComment] = field(default_factory=list)
    checks: list[CheckRun | Status] = field(default_factory=list)

    @property
    def author(self) -> User | None:
        return None if self.by.gone else self.by

    @property
    def url(self) -> str:
        return f"https://github.example/{self.repo.name}/pull/{self.number}"

    def review(self, body: str = "", *, by: User, state: str = "COMMENTED") -> Review:
        """A review's own words."""
        made = Review(**self._said("PRR", by, body), state=state, commit=self.head)
        self.reviews.append(made)
        return self._touched(made)

    def comment(
        self,
        body: str,
        *,
        by: User,
        path: str = "",
        line: int | None = 3,
        start: int | None = None,
        hunk: str = "@@ -1,2 +1,3 @@\n # Support\n \n+Be helpful.",
        reply_to: ReviewComment | None = None,
        review: Review | None = None,
    ) -> ReviewComment:
        """A comment on a line (`line=None`: on the whole file), in a thread of its own or in answer to another."""
        if reply_to:
            thread = reply_to.thread
        else:
            name = path or (self.files[0] if self.files else "README.md")
            thread = Thread(self.world.node("PRRT"), name, line, line, start, whole_file=line is None)
            self.threads.append(thread)
        made = ReviewComment(
            **self._said("PRRC", by, body),
            thread=thread,
            review=review or self.review(by=by),
            hunk="" if thread.whole_file else hunk,
            commit=self.head,
            original_commit=self.head,
            reply_to=reply_to,
        )
        thread.comments.append(made)
        return self._touched(made)

    def say(self, body: str, *, by: User) -> IssueComment:
        """A comment in the conversation."""
        made = IssueComment(**self._said("IC", by, body))
        self.comments.append(made)
        return self._touched(made)

    def check(
        self, name: str, conclusion: str | None = "SUCCESS", annotations: Sequence[str] = (), **more: Any
    ) -> CheckRun:
        """A check run on the head; an annotation for each message, on lines 1, 2, …"""
        listed = [
            {"path": "prompts/support.md", "line": line, "level": "FAILURE", "title": None, "message": text}
            for line, text in enumerate(annotations, start=1)
        ]
        made = CheckRun(
            self.world.node("CR"), self.world.count(), name, conclusion, annotations=listed, at=self.world.now, **more
        )
        self.checks.append(made)
        return made

    def status(self, context: str, state: str, description: str, by: User | None = None) -> Status:
        made = Status(self.world.node("SC"), context, state, description, by, self.world.now)
        self.checks.append(made)
        return made

    def force_push(self) -> None:
        """Another head. GitHub moves comments and reviews along; what was commented on is outdated."""
        self.head = self.world.sha("head")
        for thread in self.threads:
            thread.outdated, thread.line = True, None
            for comment in thread.comments:
                comment.commit = self.head
        for review in self.reviews:
            review.commit = self.head
        self.updated_at = self.world.now

    def _said(self, prefix: str, by: User, body: str) -> dict[str, Any]:
        now = self.world.now
        return {
            "world": self.world,
            "id": self.world.node(prefix),
            "number": self.world.count(),
            "pull": self,
            "by": by,
            "body": body,
            "created_at": now,
            "updated_at": now,
            "association": self.repo.associations.get(by.id, "NONE"),
        }

    def _touched(self, made: T) -> T:
        self.updated_at = self.world.now
        return made


@dataclass(slots=True, eq=False)
class Repo:
    typename = "Repository"
    world: World
    name: str
    default_branch: str = "main"
    pulls: dict[int, Pull] = field(default_factory=dict)
    permissions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """User id → permission and role."""
    associations: dict[str, str] = field(default_factory=dict)
    hides_permissions: bool = False
    """Tokens may not ask what users may do."""
    hides_checks: bool = False
    git: Git = field(default_factory=Git)

    def pull(self, *, by: User, title: str = "Change", files: Sequence[str] = ("README.md",), **more: Any) -> Pull:
        """An open pull request; numbers count up."""
        number = max(self.pulls, default=0) + 1
        now = self.world.now
        made = Pull(
            self.world,
            self,
            self.world.node("PR"),
            number,
            by,
            title,
            more.pop("head", "") or self.world.sha("head"),
            more.pop("head_ref", f"branch-{number}"),
            more.pop("base_ref", self.default_branch),
            now,
            now,
            files=list(files),
            **more,
        )
        self.pulls[number] = made
        return made

    def newest(self) -> list[Pull]:
        """By the last update, the newest first."""
        return sorted(self.pulls.values(), key=lambda pull: (pull.updated_at, pull.number), reverse=True)

    def review_comments(self) -> Iterator[ReviewComment]:
        for pull in self.pulls.values():
            for thread in pull.threads:
                yield from thread.comments

    def issue_comments(self) -> Iterator[IssueComment]:
        for pull in self.pulls.values():
            yield from pull.comments


class World:
    def __init__(self) -> None:
        self.clock = START
        self.repos: dict[str, Repo] = {}
        self.renamed: dict[str, str] = {}
        """Old name of a repository → new one."""
        self.users: list[User] = []
        self._count = count(1)

    @property
    def now(self) -> str:
        return self.clock.strftime("%Y-%m-%dT%H:%M:%SZ")

    def pass_time(self, **amount: float) -> None:
        self.clock += timedelta(**amount)

    def count(self) -> int:
        return next(self._count)

    def node(self, prefix: str) -> str:
        """A node id."""
        return f"{prefix}_kwDO{self.count():07d}"

    def sha(self, text: str) -> str:
        return hashlib.sha1(f"{text}{self.count()}".encode()).hexdigest()

    def repo(self, name: str) -> Repo:
        return self.repos.setdefault(name.lower(), Repo(self, name))

    def find(self, name: str) -> Repo | None:
        """By its name or an old one."""
        lowered = name.lower()
        return self.repos.get(self.renamed.get(lowered, lowered))

    def rename(self, repo: Repo, name: str) -> None:
        self.renamed[repo.name.lower()] = name.lower()
        self.repos[name.lower()] = self.repos.pop(repo.name.lower())
        repo.name = name

    def user(
        self,
        login: str,
        *,
        may: str = "",
        on: Repo | None = None,
        association: str = "",
        kind: Literal["User", "Bot", "Mannequin"] = "User",
    ) -> User:
        """Somebody; `may` is their role on a repository."""
        made = User(login, self.node(kind[0]), kind)
        self.users.append(made)
        if on is not None:
            base = {"maintain": "write", "triage": "read"}.get(may, may)
            if may:
                on.permissions[made.id] = (base, may)
            on.associations[made.id] = association or ("COLLABORATOR" if may else "NONE")
        return made
