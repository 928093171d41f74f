"""Whose words count: people who may write to the repository, and those whom the user names. Nothing is thrown away.

Knows what a forge says about authors; no network of its own and no table. Bots, comments on pull requests from forks,
deleted accounts and what was hidden as spam or abuse stay out, unless the policy says otherwise; each such comment is
kept with its reason, so that another policy can judge it anew without asking the forge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from promptlearn.comments import Author, Comment
from promptlearn.forge.base import Forge
from promptlearn.records import fingerprint

if TYPE_CHECKING:
    from promptlearn.store.pulls import Pulls

MAY_WRITE = frozenset({"admin", "maintain", "write"})
ASSOCIATED = frozenset({"OWNER", "MEMBER", "COLLABORATOR"})
"""What stands for write permission where the forge does not tell it. A member who hides the membership is missed."""
REMEMBERED = 7
"""Days after which an author who says something new is asked about again."""
_SHAMEFUL = frozenset({"spam", "abuse", "off-topic", "off_topic", "unknown"})

REASONS: Mapping[str, str] = {
    "empty": "without words",
    "withdrawn": "deleted since",
    "hidden": "hidden as spam, abuse or off topic",
    "deleted": "by an account that is gone",
    "bot": "by a bot or a check",
    "fork": "on a pull request from a fork",
    "permission": "by somebody without write permission",
}
"""Why a comment is not used: `Received.dropped`, and how people read it."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of trust."""

    allowed: frozenset[str] = frozenset()
    """Logins that count whatever they may do, bots too; in lower case."""
    bots: bool = False
    forks: bool = False
    """Whether comments on pull requests from forks count, by people who may write."""

    @classmethod
    def of(cls, logins: Iterable[str] | None, *, bots: bool, forks: bool) -> Policy:
        """`logins` as people write them: in any case, an App's with or without its "[bot]"."""
        return cls(frozenset(login.lower().removesuffix("[bot]") for login in logins or ()), bots, forks)

    @property
    def digest(self) -> str:
        return fingerprint([sorted(self.allowed), self.bots, self.forks])

    def allows(self, author: Author) -> bool:
        return author.kind != "deleted" and author.login.lower() in self.allowed


def needs_permission(comment: Comment, text: str, policy: Policy) -> bool:
    """Whether it depends on what the author may do."""
    return not judge(comment, text, "admin", policy) and bool(judge(comment, text, "none", policy))


def judge(comment: Comment, text: str, permission: str, policy: Policy) -> str:
    """Why a comment is not used, one of `REASONS`; empty where it may be. `permission` is empty where nobody knows."""
    author = comment.author
    if not text.strip() and not comment.suggestions:
        return "empty"
    if comment.minimized in _SHAMEFUL:
        return "hidden"
    if author.kind == "deleted":
        return "deleted"
    if policy.allows(author):
        return ""
    if author.kind == "bot":
        return "" if policy.bots else "bot"
    if comment.fork and not policy.forks:
        return "fork"
    may_write = permission in MAY_WRITE if permission else comment.association in ASSOCIATED
    return "" if may_write else "permission"


class Permissions:
    """What authors may do in a repository: asked once each, and remembered by the store for `REMEMBERED` days."""

    def __init__(self, forge: Forge, pulls: Pulls, repo: str) -> None:
        self._forge = forge
        self._pulls = pulls
        self._repo = repo
        self._since = (datetime.now(UTC) - timedelta(days=REMEMBERED)).isoformat()
        self._known: dict[str, str] = {}
        self.refused = False
        """Whether the forge would not tell."""

    async def of(self, author: Author) -> str:
        """One of `Forge.permission`'s, or nothing where the token may not ask."""
        key = author.id or author.login
        if key not in self._known:
            found = self._pulls.permission(self._forge.host, self._repo, key, self._since)
            self._known[key] = await self._ask(author, key) if found is None else found
        return self._known[key]

    async def _ask(self, author: Author, key: str) -> str:
        if self.refused:
            return ""
        permission = await self._forge.permission(self._repo, author.login)
        if permission is None:
            self.refused = True
            return ""
        await self._pulls.set_permission(self._forge.host, self._repo, key, permission)
        return permission
