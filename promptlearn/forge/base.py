"""What the rest of promptlearn needs of a forge, so that GitLab and others can take GitHub's place.

A forge reads pull requests in batches, small enough that any number of them passes through a little memory, and says
which of them changed. It changes nothing: who writes is another object, with another token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from promptlearn.comments import Comment, PullRequest


@dataclass(frozen=True, slots=True)
class Scope:
    """Which pull requests of a repository, and what about them."""

    repo: str
    """`owner/name`."""
    labels: tuple[str, ...] = ()
    """With any of these; empty: all."""
    files: bool = False
    """Whether to ask which files they change."""


@dataclass(frozen=True, slots=True)
class Done:
    """A pull request that was read to its end."""

    asked_at: str
    """By the forge's clock."""
    ids: frozenset[str] | None
    """Of everything that people said on it; None where not all of it could be read."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Some of what was asked for."""

    pulls: tuple[PullRequest, ...] = ()
    """Those that `comments` belong to; one may come again with more."""
    comments: tuple[Comment, ...] = ()
    done: Mapping[int, Done] = field(default_factory=dict)
    """The pull requests that are now read to their ends, by number."""
    cursor: str = ""
    """Everything in front of this is read: where to go on after a kill. Empty: nowhere new."""
    total: int | None = None
    """Pull requests that there are, as far as the forge said."""
    notices: tuple[str, ...] = ()
    """What could not be read, and what is not as it should be."""


@dataclass(frozen=True, slots=True)
class Changes:
    """What the forge's lists of news say."""

    at: str
    """The forge's clock when it was asked."""
    numbers: Mapping[int, str]
    """Pull request of the scope → when it changed last (ISO 8601)."""
    commented: Mapping[int, str]
    """Pull request, of the scope or not → when a comment on it was written or edited last."""
    etags: Mapping[str, str]
    """URL → ETag of what was new, to be kept once the changes are read."""


class Forge(Protocol):
    """A session for reading; see `forge.github.GitHub`. Every method may raise `ForgeError`."""

    @property
    def host(self) -> str:
        """Such as `github.com`."""

    @property
    def identity(self) -> str:
        """Names the token without giving it away: ETags are good for one token alone."""

    def now(self) -> str:
        """The forge's clock (ISO 8601, UTC)."""

    async def changes(self, scope: Scope, since: str, etags: Mapping[str, str]) -> Changes:
        """What changed since then. With `since` empty it only learns the ETags."""

    def everything(self, scope: Scope, since: str = "", resume: str = "") -> AsyncIterator[Batch]:
        """All pull requests that were updated since then, the newest update first, or from a batch's cursor on."""

    def some(self, scope: Scope, numbers: Sequence[int]) -> AsyncIterator[Batch]:
        """The pull requests with these numbers; the scope's labels do not matter."""

    async def permission(self, repo: str, login: str) -> str | None:
        """What a user may do there: `admin`, `maintain`, `write`, `triage`, `read` or `none`. None: we may not know."""
