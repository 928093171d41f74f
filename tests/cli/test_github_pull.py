"""`promptlearn github pull`: what it prints, what it keeps, and what it says when it can not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from github_server import READ, GitHubServer, Limit, World

from promptlearn.cli.main import execute
from promptlearn.store import open_store

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    world = World()
    shop = world.repo("acme/shop")
    ann, robot = world.user("ann", may="write", on=shop), world.user("copilot", kind="Bot")
    for number in (1, 2):
        pull = shop.pull(by=ann, files=["prompts/support.md"])
        pull.comment(f"Say please, {number}.", by=ann)
        pull.say(f"See https://x.example/{number}", by=robot)
    world.pass_time(hours=1)
    made = GitHubServer(world)
    with made.in_thread():
        yield made


@pytest.fixture
def cli(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], server: GitHubServer
) -> Cli:
    monkeypatch.chdir(tmp_path)
    for name in ("GITHUB_TOKEN", "GH_TOKEN", "GITHUB_API_URL", "GH_ENTERPRISE_TOKEN", "GITHUB_APP_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GITHUB_TOKEN", READ)

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = execute(["github", "pull", *arguments, "--base-url", server.url])
        return Outcome(code, *capsys.readouterr())

    return run


def test_it_says_what_came_and_what_is_not_used(cli: Cli) -> None:
    done = cli("acme/shop")
    assert done.code == 0
    assert done.out.splitlines() == [
        "acme/shop: 2 pull requests read; comments: 4 new",
        "not used: 2 by a bot or a check",
        "taken out of comments: 2 × link",
        "5 requests",
        "next: promptlearn feedback list",
    ]
    assert done.err == ""
    again = cli("acme/shop")
    assert again.out.splitlines() == [
        "acme/shop: 0 pull requests read; comments: nothing new",
        "3 requests, 3 of them answered with `not modified`",
    ]


def test_json_is_one_document(cli: Cli, tmp_path: Path) -> None:
    done = cli("acme/shop", "--json", "--bots", "--paths", "prompts/**", "--store", str(tmp_path / "other.db"))
    assert (done.code, done.err) == (0, "")
    assert done.document == {
        "repo": "acme/shop",
        "pull_requests": 2,
        "new": 4,
        "edited": 0,
        "changed": 0,
        "unchanged": 0,
        "outside": 0,
        "judged_anew": 0,
        "dropped": {},
        "removed": {"link": 2},
        "notices": [],
        "requests": 5,
        "conditional_requests": 0,
        "not_modified": 0,
        "waited_s": 0.0,
    }
    with open_store(tmp_path / "other.db") as store:
        assert store.feedback.count() == 4


def test_options_choose_and_trust(cli: Cli) -> None:
    assert cli("acme/shop", "--pr", "2", "--allow", "Copilot[bot]", "--json").document["dropped"] == {}
    assert cli("acme/shop", "--since", "2027-01-01", "--json").document["pull_requests"] == 0
    assert cli("acme/shop", "--label", "none", "--json").document["pull_requests"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("acme",), "'acme' names no repository; write it as OWNER/NAME"),
        (("acme/shop", "--since", "soon"), "'soon' is no date"),
        (("acme/shop", "--token-env", "NOPE"), "the environment variable NOPE is not set"),
        (("acme/shop", "--pr", "0"), "greater than or equal to 1"),
    ],
)
def test_what_the_user_can_mend_is_one_line(cli: Cli, arguments: tuple[str, ...], message: str) -> None:
    done = cli(*arguments)
    assert done.code == 2
    assert message in done.err
    assert done.err.count("\n") == 1


def test_failures_are_one_line_and_notices_are_warnings(cli: Cli, server: GitHubServer) -> None:
    server.scopes = "repo"
    server.world.repos["acme/shop"].hides_checks = True
    assert cli("acme/none").err.startswith("promptlearn: 127.0.0.1")
    done = cli("acme/shop")
    assert "warning: checks can not be read" in done.err
    assert "warning: the token may write (repo)" in done.err
    server.limits["core"] = Limit(left=0, resets_in=3000)
    spent = cli("acme/shop", "--wait", "1", "--json")
    assert (spent.code, spent.document["error"]["type"]) == (1, "ForgeError")
    assert "longer than we may wait (60 s)" in spent.document["error"]["message"]


def test_without_credentials_it_says_what_to_do(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_TOKEN")
    monkeypatch.setenv("PATH", "")
    assert "no credentials for 127.0.0.1" in cli("acme/shop").err


def test_without_the_extra_it_says_what_to_install(server: GitHubServer, tmp_path: Path) -> None:
    arguments = ["github", "pull", "a/b", "--base-url", server.url]
    code = f"""import sys
sys.modules["githubkit"] = None
from promptlearn.cli.main import execute
sys.exit(execute({arguments}))"""
    environ = os.environ | {"GITHUB_TOKEN": READ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert "needs the extra `github`" in done.stderr
    assert "pip install 'promptlearn-optimizer[github]'" in done.stderr
