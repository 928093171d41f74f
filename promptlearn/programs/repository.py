"""A repository to work in: which files it has, a copy for each rollout, and what was changed in a copy.

Knows files and git's ignore rules; nothing about prompts or commands. A copy shares nothing with the repository: no git
worktree, because a worktree's `.git` leads whoever writes in it to the hooks of the original.

Nothing that stands in a copy is believed: its `.git` is never read, links are never followed, what is neither a file
nor a link is only named, and a large file is not read.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from promptlearn.errors import ConfigError, ModelError

Change = Literal["added", "changed", "deleted"]

NEVER = frozenset({".git", ".promptlearn"})
"""Names that are in no copy: the history leads back to the original, and our store changes with every run."""
LARGEST_SHOWN = 1_000_000
"""Bytes of a file beyond which a diff only names it."""
GIT_SECONDS = 60.0
_COMMITTER = {"NAME": "promptlearn", "EMAIL": "promptlearn@localhost", "DATE": "2000-01-01T00:00:00Z"}


@dataclass(frozen=True, slots=True)
class Diff:
    """What is different in a copy."""

    text: str
    """A unified diff in git's form, with `a/` and `b/` before the paths."""
    files: Mapping[str, Change]
    """By path, sorted."""


def find_files(folder: Path) -> tuple[str, ...]:
    """Paths in `folder` that belong to the repository, sorted: what git tracks, and what it does not ignore.

    Works without a repository, too: then every file counts that no .gitignore names. Submodules are left out. Raises
    ConfigError where there is no such folder or no git.
    """
    if not folder.is_dir():
        raise ConfigError(f"program.repo: there is no folder {folder}; name the folder that a command works in")
    if shutil.which("git") is None:
        raise ConfigError("program.repo needs git, which is not on the PATH; install it")
    found = _listed(["git", "-C", str(folder), "ls-files", "-z", "--cached", "--others", "--exclude-standard"])
    if not found:  # no repository, somebody else's, or one that ignores this folder
        with tempfile.TemporaryDirectory(prefix="promptlearn-") as empty:
            _make_git_dir(Path(empty))
            found = _listed(_listing(Path(empty), folder))
    return tuple(sorted(path for path in set(found) if _belongs(folder, path)))


def digest_of(folder: Path, files: Sequence[str]) -> str:
    """SHA-256 (hex) of the files' names, contents, executable bits and link targets: two equal trees are equal."""
    whole = hashlib.sha256()
    for path in files:
        found = (folder / path).lstat()
        if stat.S_ISLNK(found.st_mode):
            kind, content = "link", hashlib.sha256(os.fsencode((folder / path).readlink())).hexdigest()
        else:
            kind = "program" if found.st_mode & stat.S_IXUSR else "file"
            with (folder / path).open("rb") as stream:
                content = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{kind} {content} {path!r}\n".encode())
    return whole.hexdigest()


class Snapshot:
    """The repository as it was when the run began, and copies of it. Everything is below `area`, which is its own."""

    def __init__(self, area: Path, files: Sequence[str]) -> None:
        self.base = area / "base"
        self.files = frozenset(files)
        self._git_dir = area / "empty.git"
        self._clones = True

    @classmethod
    def take(cls, folder: Path | None, files: Sequence[str], area: Path, with_git: bool = False) -> Snapshot:
        """Copy `files` of `folder` (None: a repository without files) into `area`.

        `with_git`: the copies are repositories of their own, with one commit.
        """
        snapshot = cls(area, files)
        snapshot.base.mkdir()
        if folder is not None:
            for path in files:
                target = snapshot.base / path
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(folder / path, target, follow_symlinks=False)
        _make_git_dir(snapshot._git_dir)
        if with_git:
            _commit(snapshot.base)
        return snapshot

    async def copy(self, to: Path) -> None:
        """A copy that shares no file with the snapshot; blocks of the disk only, where it can do that."""
        if self._clones:
            code = await _run(["cp", "-R", "-p", "--reflink=auto", str(self.base), str(to)])
            if code == 0:
                return
            self._clones = False  # not GNU's
            await asyncio.to_thread(shutil.rmtree, to, ignore_errors=True)
        await asyncio.to_thread(shutil.copytree, self.base, to, symlinks=True)

    async def diff(self, copy: Path, since: int, written: Mapping[str, bytes], scratch: Path) -> Diff:
        """What was changed in `copy` after `since`, a change time (ns) of its file system.

        `written` are files that were put there in place of the snapshot's, as they were then. `scratch` is a new
        folder. Raises ModelError where there is no copy any more.
        """
        found = await asyncio.to_thread(self._changes, copy, since, written)
        if not found:
            return Diff("", {})
        await asyncio.to_thread(self._lay_out, found, copy, written, scratch)
        text = await asyncio.to_thread(_git_diff, scratch)
        return Diff(text, dict(sorted(found.items())))

    def _changes(self, copy: Path, since: int, written: Mapping[str, bytes]) -> dict[str, Change]:
        if not stat.S_ISDIR(copy.lstat().st_mode):
            raise ModelError("program", "the command replaced its copy of the repository by something else")
        known = self.files | written.keys()
        found: dict[str, Change] = {}
        for path in known:
            there = _lstat(copy, path)
            if there is None:
                found[path] = "deleted"
            elif there.st_ctime_ns > since and not self._same(copy, path, there, written):
                found[path] = "changed"
        new = _listed(_listing(self._git_dir, copy))
        found.update((path, "added") for path in new if path not in known and not _hidden(path))
        return found

    def _same(self, copy: Path, path: str, there: os.stat_result, written: Mapping[str, bytes]) -> bool:
        if path in written:
            return stat.S_ISREG(there.st_mode) and _is(copy / path, written[path])
        before = (self.base / path).lstat()
        kind = stat.S_IFMT(before.st_mode) | before.st_mode & stat.S_IXUSR
        if kind != stat.S_IFMT(there.st_mode) | there.st_mode & stat.S_IXUSR:
            return False
        if stat.S_ISLNK(there.st_mode):
            return (copy / path).readlink() == (self.base / path).readlink()
        return before.st_size == there.st_size and _equal(copy / path, self.base / path)

    def _lay_out(self, found: Mapping[str, Change], copy: Path, written: Mapping[str, bytes], scratch: Path) -> None:
        """Only what is different, in two folders that `git diff` compares."""
        before, after = scratch / "a", scratch / "b"
        before.mkdir(parents=True)
        after.mkdir()
        for path, change in found.items():
            if path in written:
                target = before / path
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(written[path])
            elif change != "added":
                _show(self.base, path, before)
            if change != "deleted":
                _show(copy, path, after)


def remove_tree(folder: Path) -> None:
    """Remove a folder, also one whose own folders were made read-only."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError:
        for parent, folders, _ in os.walk(folder):
            for name in folders:
                with suppress(OSError):
                    if not Path(parent, name).is_symlink():
                        Path(parent, name).chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)


def _belongs(folder: Path, path: str) -> bool:
    """Whether it is a file or a link that is there, and not one of ours."""
    found = None if _hidden(path) else _lstat(folder, path)
    return found is not None and (stat.S_ISREG(found.st_mode) or stat.S_ISLNK(found.st_mode))


def _hidden(path: str) -> bool:
    return not NEVER.isdisjoint(path.split("/"))


def _lstat(folder: Path, path: str) -> os.stat_result | None:
    """None where it is not there, or only by way of a link."""
    *parents, _ = path.split("/")
    try:
        for number in range(len(parents)):
            if not stat.S_ISDIR((folder / "/".join(parents[: number + 1])).lstat().st_mode):
                return None
        return (folder / path).lstat()
    except OSError:
        return None


def _is(file: Path, content: bytes) -> bool:
    return file.stat().st_size == len(content) and file.read_bytes() == content


def _equal(one: Path, other: Path) -> bool:
    with one.open("rb") as first, other.open("rb") as second:
        while (block := first.read(1 << 20)) == second.read(1 << 20):
            if not block:
                return True
    return False


def _show(folder: Path, path: str, to: Path) -> None:
    found = _lstat(folder, path.rstrip("/"))
    if found is None:
        return
    target = to / path
    target.parent.mkdir(parents=True, exist_ok=True)
    if stat.S_ISLNK(found.st_mode):
        target.symlink_to((folder / path).readlink())
    elif not stat.S_ISREG(found.st_mode):
        target.with_name(target.name + ".not-shown").write_text("neither a file nor a link\n", encoding="utf-8")
    elif found.st_size > LARGEST_SHOWN:
        target.write_text(f"[{found.st_size:,} bytes, too many to show]\n", encoding="utf-8")
    else:
        try:
            shutil.copyfile(folder / path, target)
            target.chmod(0o755 if found.st_mode & stat.S_IXUSR else 0o644)
        except OSError as error:
            target.write_text(f"[can not be read: {error.strerror}]\n", encoding="utf-8")


def _environment() -> dict[str, str]:
    """For git where it looks at what somebody else has written: no configuration but its own defaults."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C",
        "HOME": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_CEILING_DIRECTORIES": tempfile.gettempdir(),
    }


def _make_git_dir(folder: Path) -> None:
    """A repository without anything, through which git lists files by its ignore rules."""
    _git(["init", "--quiet", "--bare", "--template=", str(folder)])


def _commit(folder: Path) -> None:
    """Make the folder a repository with one commit that is the same for the same files."""
    who = {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in _COMMITTER.items()}
    _git(["-C", str(folder), "init", "--quiet", "--template=", "--initial-branch=main"])
    _git(["-C", str(folder), "add", "--all", "--force"])
    _git(["-C", str(folder), "commit", "--quiet", "--allow-empty", "--no-verify", "--message=start"], **who)


def _listing(git_dir: Path, folder: Path) -> list[str]:
    where = [f"--git-dir={git_dir}", f"--work-tree={folder}", "-C", str(folder)]
    return ["git", *where, "ls-files", "-z", "--others", "--exclude-standard"]


def _listed(words: Sequence[str]) -> list[str]:
    """Paths that git prints; none where it refuses."""
    done = subprocess.run(  # noqa: S603
        words, env=_environment(), capture_output=True, check=False, timeout=GIT_SECONDS, stdin=subprocess.DEVNULL
    )
    return [os.fsdecode(path) for path in done.stdout.split(b"\0") if path] if done.returncode == 0 else []


def _git(words: Sequence[str], **more: str) -> None:
    done = subprocess.run(  # noqa: S603
        ["git", *words],  # noqa: S607
        env=_environment() | more,
        capture_output=True,
        check=False,
        timeout=GIT_SECONDS,
        stdin=subprocess.DEVNULL,
    )
    if done.returncode:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise ConfigError(f"program.repo: git {words[-1]} failed: {said}")


def _git_diff(scratch: Path) -> str:
    options = ["--no-index", "--no-color", "--no-ext-diff", "--no-textconv", "--no-prefix", "--no-renames"]
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "-c", "core.quotePath=false", "diff", *options, "--", "a", "b"],  # noqa: S607
            cwd=scratch,
            env=_environment() | {"GIT_DIR": os.devnull},
            capture_output=True,
            check=False,
            timeout=GIT_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        raise ModelError("program", f"git diff took longer than {GIT_SECONDS:g} s over the changes") from None
    if done.returncode > 1:
        said = " ".join(done.stderr.decode("utf-8", "replace").split())
        raise ModelError("program", f"git diff failed over what the command changed: {said}")
    return done.stdout.decode("utf-8", "replace")


async def _run(words: Sequence[str]) -> int:
    quiet = asyncio.subprocess.DEVNULL
    try:
        process = await asyncio.create_subprocess_exec(*words, stdin=quiet, stdout=quiet, stderr=quiet)
    except OSError:
        return -1
    try:
        return await process.wait()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
