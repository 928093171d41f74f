"""`github serve` as a process of its own: takes deliveries, reads, and forgets nothing when it is killed."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from github_server import READ, GitHubServer
from github_world import Pull, World

from promptlearn.cli.main import execute
from promptlearn.forge.webhooks import sign
from promptlearn.store import open_store

SECRET = "a long secret"
Serving = tuple[subprocess.Popen[str], str]


@pytest.fixture
def server() -> Iterator[GitHubServer]:
    running = GitHubServer(World())
    with running.in_thread():
        yield running


@pytest.fixture
def pull(server: GitHubServer) -> Pull:
    """With one comment by somebody who may write."""
    repo = server.world.repo("acme/shop")
    ann = server.world.user("ann", may="write", on=repo)
    made = repo.pull(by=ann, files=["prompts/support.md"])
    made.comment("Say please.", by=ann, path="prompts/support.md")
    return made


@contextmanager
def serving(folder: Path, server: GitHubServer) -> Iterator[Serving]:
    """The process and the address that it listens on; killed in the end."""
    command = [sys.executable, "-m", "promptlearn", "github", "serve", "--port", "0", "--base-url", server.url]
    more = {"PROMPTLEARN_WEBHOOK_SECRET": SECRET, "GITHUB_TOKEN": READ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = subprocess.Popen(
        command, cwd=folder, env=os.environ | more, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.communicate()


def deliver(url: str, pull: Pull, delivery: str, secret: str = SECRET) -> int:
    payload: dict[str, Any] = {
        "action": "created",
        "repository": {"id": 1, "full_name": pull.repo.name},
        "pull_request": {"number": pull.number},
    }
    raw = json.dumps(payload).encode()
    headers = {
        "Content-Type": "application/json",
        "X-GitHub-Event": "pull_request_review_comment",
        "X-GitHub-Delivery": delivery,
        "X-Hub-Signature-256": sign(secret, raw),
    }
    try:
        with urllib.request.urlopen(urllib.request.Request(url, raw, headers), timeout=5) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def texts(folder: Path) -> list[str]:
    with open_store(folder / ".promptlearn/store.db", create=False) as store:
        return [row.text for row in store.feedback.items()]


def wait_for(so: Callable[[], bool]) -> None:
    until = time.monotonic() + 20
    while not so():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_delivery_leads_to_a_reading(tmp_path: Path, server: GitHubServer, pull: Pull) -> None:
    with serving(tmp_path, server) as (process, url):
        assert url.endswith("/github")
        assert deliver(url, pull, "a", secret="wrong") == 401
        assert deliver(url, pull, "a") == 202
        wait_for(lambda: texts(tmp_path) == ["Say please."])
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=10)[1]
        assert process.returncode == 0
    assert "acme/shop#1 was read again, for 1 delivery" in said
    assert SECRET not in said
    assert READ not in said


def test_what_was_taken_before_a_kill_is_read_after_it(tmp_path: Path, server: GitHubServer, pull: Pull) -> None:
    server.fail(status=502, times=10**6)
    with serving(tmp_path, server) as (process, url):
        assert deliver(url, pull, "a") == 202
        process.kill()
    server.faults.clear()
    assert texts(tmp_path) == []
    with serving(tmp_path, server):
        wait_for(lambda: texts(tmp_path) == ["Say please."])
        with open_store(tmp_path / ".promptlearn/store.db", create=False) as store:
            wait_for(lambda: store.deliveries.waiting() == [])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no secret: put the webhook's secret into PROMPTLEARN_WEBHOOK_SECRET"),
        (["--allow-unsigned", "--host", "0.0.0.0"], "believes anybody who can reach 0.0.0.0"),
        (["--allow-unsigned", "--repo", "shop"], "'shop' names no repository"),
    ],
)
def test_a_server_that_would_believe_anybody_does_not_start(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PROMPTLEARN_WEBHOOK_SECRET", raising=False)
    assert execute(["github", "serve", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
