"""`github propose` from a checkout: from a real run to a pull request on a real server."""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from github_server import WRITE, GitHubServer
from github_world import Pull, World
from shop import write_shop

from promptlearn.cli.main import execute

REPO = "acme/shop"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """A checkout with a run that improved."""
    for name in ("GITHUB_REPOSITORY", "GITHUB_API_URL", "GITHUB_TOKEN", "PROMPTLEARN_WRITE_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    folder = write_shop(tmp_path / "prompts")
    monkeypatch.chdir(folder)
    assert execute(["run", "--quiet"]) == 0
    capsys.readouterr()
    return folder


@pytest.fixture
def server(shop: Path) -> Iterator[GitHubServer]:
    running = GitHubServer(World())
    running.world.repo(REPO).git.commit({"prompts/prompt.md": (shop / "prompt.md").read_bytes()})
    with running.in_thread():
        yield running


def test_a_dry_run_needs_no_token_and_no_network(shop: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (shop / "prompt.md").read_bytes()
    assert execute(["github", "propose", "--dry-run"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("branch: promptlearn/prompt-")
    assert "--- a/prompts/prompt.md\n+++ b/prompts/prompt.md\n" in shown
    assert "### Scores on the test split" in shown
    assert "a comment on pull request" in shown
    assert execute(["github", "propose", "--dry-run", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"] == ["prompts/prompt.md"]
    assert document["body"] in shown
    assert document["diff"] in shown
    assert (shop / "prompt.md").read_bytes() == before


def test_from_a_run_to_a_draft_pull_request(
    shop: Path, server: GitHubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROMPTLEARN_WRITE_TOKEN", WRITE)
    arguments = ["github", "propose", "--repo", REPO, "--base-url", server.url, "--json"]
    assert execute(arguments) == 0
    opened = json.loads(capsys.readouterr().out)
    (pull,) = server.world.repo(REPO).pulls.values()
    assert (opened["action"], opened["url"], opened["base"]) == ("opened", pull.url, "main")
    assert isinstance(pull, Pull)
    assert pull.draft
    written = server.world.repo(REPO).git.file("prompts/prompt.md", opened["branch"])
    assert execute(["export", "--in-place"]) == 0
    assert (shop / "prompt.md").read_bytes() == written
    capsys.readouterr()
    assert execute(arguments[:-1]) == 0
    assert capsys.readouterr() == (f"{pull.url}\n", "pull request 1 into main already says this\n")


def test_the_token_for_reading_is_not_taken(
    shop: Path, server: GitHubServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 9."""
    monkeypatch.setenv("GITHUB_TOKEN", WRITE)
    assert execute(["github", "propose", "--repo", REPO, "--base-url", server.url]) == 2
    assert "put one into PROMPTLEARN_WRITE_TOKEN" in capsys.readouterr().err
    assert server.requests == []


def test_what_can_not_be_is_said_in_a_line(
    shop: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PROMPTLEARN_WRITE_TOKEN", WRITE)
    for arguments, said in (
        (["--path", "/etc/passwd"], "--path /etc/passwd: write it from the root of the repository"),
        (["--path", "../x"], "--path ../x: write it from the root of the repository"),
        ([], "this folder is no checkout from github.com; say with --repo OWNER/REPO"),
        (["--repo", "shop"], "'shop' names no repository"),
        (["zzz"], "has no run 'zzz'"),
    ):
        assert execute(["github", "propose", *arguments]) == 2
        assert said in capsys.readouterr().err
