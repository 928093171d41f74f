"""A thousand pull requests with twelve thousand comments: how many requests, and how much memory.

The fewest requests that GitHub allows: a page holds at most 100 pull requests (so ten pages; what is said on them fits
into the same requests, because no nested page overflows here), and REST answers for one author at a time what they may
do, the only question about permissions that a token which only reads may ask. So 10 + the number of authors. The pull
adds the first page of the three lists of news, whose ETags make the next pull free: at most a fifth more, from five
authors on.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from github_server import READ, GitHubServer, World

ROOT = Path(__file__).parents[2]
AUTHORS = 24
SAID = "Please say thank you, and promise no date that we can not keep ({n}).\n```suggestion\nBe kind, {n}.\n```"


@dataclass(frozen=True)
class Measured:
    document: Any
    megabytes: float
    """The most memory that the process had."""


def crowd(pulls: int) -> World:
    """So many pull requests, with twelve comments each by one of `AUTHORS`."""
    world, chance = World(), random.Random(7)
    shop = world.repo("acme/shop")
    people = [world.user(f"u{n}", may="write" if n % 3 else "", on=shop) for n in range(AUTHORS)]
    for n in range(pulls):
        pull = shop.pull(by=people[n % AUTHORS], files=["prompts/support.md"])
        review, last = pull.review(by=people[0]), None
        for m in range(9):
            last = pull.comment(
                SAID.format(n=n * 9 + m), by=chance.choice(people), review=review, reply_to=last if m % 3 else None
            )
        for _ in range(3):
            pull.say(f"The answer should name the next step ({n}).", by=chance.choice(people))
        world.pass_time(minutes=1)
    world.pass_time(hours=1)
    return world


def pull(url: str, folder: Path) -> Measured:
    """The command, in a process of its own."""
    command = [sys.executable, "-m", "promptlearn", "github", "pull", "acme/shop", "--base-url", url, "--json"]
    environ = os.environ | {"GITHUB_TOKEN": READ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=folder, env=environ, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        out = process.stdout.read()
        _, process.returncode, used = os.wait4(process.pid, 0)
    return Measured(json.loads(out), used.ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20))


@pytest.mark.slow
def test_a_thousand_pull_requests(tmp_path: Path) -> None:
    measured = {}
    for pulls in (200, 1000):
        server, folder = GitHubServer(crowd(pulls)), tmp_path / str(pulls)
        folder.mkdir()
        with server.in_thread() as url:
            first, second = pull(url, folder), pull(url, folder)
        assert (first.document["pull_requests"], first.document["new"]) == (pulls, pulls * 12)
        fewest = -(-pulls // 100) + AUTHORS
        assert first.document["requests"] == fewest + 3
        measured[pulls] = first.megabytes
        assert (second.document["requests"], second.document["not_modified"]) == (3, 3)
        assert [second.document[name] for name in ("new", "edited", "changed", "unchanged")] == [0, 0, 0, 0]
    assert 10 + AUTHORS + 3 <= 1.2 * (10 + AUTHORS)
    assert measured[1000] < measured[200] + 15, "memory grows with the number of pull requests"
