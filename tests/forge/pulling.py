"""One pull against a `GitHubServer`, as the command line does it, with a clock that waits for nobody."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from github_server import READ, GitHubServer

from promptlearn.comments import Received
from promptlearn.forge.address import find_address
from promptlearn.forge.credentials import Credentials, find_credentials
from promptlearn.forge.github import open_github
from promptlearn.forge.pull import Request, Summary, pull
from promptlearn.forge.trust import Policy
from promptlearn.forge.wire import Patience, Traffic
from promptlearn.store import Store


@dataclass
class Waits:
    """Waiting that takes no time: the server's clock goes on instead."""

    server: GitHubServer
    seconds: list[float] = field(default_factory=list)
    told: list[str] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        if seconds:
            self.seconds.append(seconds)
            self.server.world.pass_time(seconds=seconds)
            for limit in filter(None, self.server.limits.values()):
                limit.resets_in -= seconds
                if limit.resets_in <= 0:
                    limit.left, limit.resets_in = 5000, 3600

    def patience(self, seconds: float = 900) -> Patience:
        return Patience(seconds, self.sleep, self.told.append)


@dataclass
class Pulled:
    summary: Summary
    traffic: Traffic
    waits: Waits


def credentials(server: GitHubServer, token: str = READ) -> Credentials:
    return find_credentials(find_address(server.url, {}), {"GITHUB_TOKEN": token})


async def pulled(
    server: GitHubServer,
    store: Store,
    repo: str = "acme/shop",
    *,
    token: str = READ,
    policy: Policy | None = None,
    patience: float = 900,
    stopping: Callable[[], bool] = lambda: False,
    **request: Any,
) -> Pulled:
    waits = Waits(server)
    address = find_address(server.url, {})
    async with open_github(address, credentials(server, token), repo, waits.patience(patience)) as forge:
        summary = await pull(forge, store.feedback, store.pulls, Request(repo, **request), policy, stopping=stopping)
        return Pulled(summary, forge.traffic, waits)


def stored(store: Store) -> dict[str, Received]:
    """What the store holds, by the words of it."""
    return {row.received.comment.body: row.received for row in store.feedback.items()}
