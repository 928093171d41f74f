"""Which files a repository has, and that copies are equal to it."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from command_bench import write_repo

from promptlearn.errors import ConfigError
from promptlearn.programs.repository import Snapshot, digest_of, find_files

FILES = (".gitignore", "AGENTS.md", "notes.txt", "shop/prices.py")


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return write_repo(tmp_path / "repo")


def git(repo: Path, *words: str) -> None:
    who = ["-c", "user.name=t", "-c", "user.email=t@localhost"]
    subprocess.run(["git", *who, *words], cwd=repo, check=True, capture_output=True)


def test_a_folder_without_git_has_what_it_does_not_ignore(repo: Path) -> None:
    (repo / ".promptlearn").mkdir()
    (repo / ".promptlearn/store.db").touch()
    assert find_files(repo) == FILES


def test_a_repository_has_what_it_tracks_and_what_is_new(repo: Path) -> None:
    (repo / "kept.log").write_text("tracked, though ignored")
    (repo / "gone.txt").touch()
    git(repo, "init", "-q")
    git(repo, "add", "-A", "-f", ".")
    git(repo, "rm", "-r", "-q", "--cached", "build")
    git(repo, "commit", "-q", "-m", "x")
    (repo / "gone.txt").unlink()
    (repo / "new file\nof two lines.txt").touch()
    assert find_files(repo) == tuple(sorted([*FILES, "kept.log", "new file\nof two lines.txt"]))


def test_a_folder_that_an_outer_repository_ignores_still_has_files(repo: Path, tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("repo/\n")
    git(tmp_path, "init", "-q")
    assert find_files(repo) == FILES


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"program\.repo: there is no folder"):
        find_files(tmp_path / "nowhere")


def test_a_missing_git_is_said(repo: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="needs git"):
        find_files(repo)


@pytest.mark.parametrize("has_cp", [True, False])
def test_a_copy_equals_the_repository_and_shares_nothing_with_it(
    repo: Path, tmp_path: Path, has_cp: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (repo / "run.sh").write_text("#!/bin/sh\n")
    (repo / "run.sh").chmod(0o755)
    (repo / "link").symlink_to("notes.txt")
    os.utime(repo / "notes.txt", (1, 1))
    files = find_files(repo)
    area = tmp_path / "area"
    area.mkdir()
    snapshot = Snapshot.take(repo, files, area)
    with monkeypatch.context() as patched:
        if not has_cp:
            patched.setenv("PATH", str(tmp_path))
        asyncio.run(snapshot.copy(area / "1"))
    assert digest_of(area / "1", files) == digest_of(repo, files)
    assert find_files(area / "1") == files
    assert (area / "1/link").is_symlink()
    assert (area / "1/notes.txt").stat().st_mtime == 1
    assert (area / "1/notes.txt").stat().st_ino != (area / "base/notes.txt").stat().st_ino


def test_the_digest_is_of_names_contents_and_executable_bits(repo: Path) -> None:
    first = digest_of(repo, FILES)
    os.utime(repo / "notes.txt", (1, 1))
    assert digest_of(repo, FILES) == first
    assert digest_of(repo, FILES[:-1]) != first
    (repo / "notes.txt").write_text("one\ntwo\nfour!\n")
    assert digest_of(repo, FILES) != first
