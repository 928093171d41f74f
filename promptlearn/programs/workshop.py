"""The place where commands run: a snapshot of the repository, and a room of its own for each rollout.

Knows folders and processes; nothing about prompts, journals or scores. A room holds a copy of the repository, a home
and a folder for temporary files; it is removed when its rollout ends, however that is. The whole place is removed when
the run ends, and what a killed run left is removed by the next.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
import weakref
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from promptlearn.errors import ConfigError
from promptlearn.programs.process import MARK, Bounds, Ended, count_processes, run_process
from promptlearn.programs.repository import Diff, Snapshot, digest_of, remove_tree

PREFIX = "promptlearn-command-"
_LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Room:
    """One rollout's folders. Everything that the command may need is below `folder`."""

    folder: Path
    repo: Path
    example: Path
    """JSON; stdin of the command, and named by PROMPTLEARN_EXAMPLE."""
    written: Mapping[str, bytes]
    """Files that were put in place of the repository's own."""
    since: int
    """Change time (ns) from which on a change in the copy is the command's."""

    def ask(self, example: str) -> None:
        """Put another example in place of the first."""
        _write_new(self.example, example)


class Workshop:
    """Opened by the first room; used in one event loop."""

    def __init__(self, repo: Path | None, files: Sequence[str], digest: str, with_git: bool, bounds: Bounds) -> None:
        """`digest` is what the files of `repo` were like when the run was put together."""
        self._repo = repo
        self._files = tuple(files)
        self._digest = digest
        self._with_git = with_git
        self._bounds = bounds
        self._numbers = count(1)
        self._opening: asyncio.Lock | None = None
        self._snapshot: Snapshot | None = None
        self._running = 0
        self._remove: weakref.finalize[[Path, int], Workshop] | None = None

    @asynccontextmanager
    async def room(self, written: Mapping[str, bytes], example: str) -> AsyncIterator[Room]:
        """A new copy of the repository with these files in it, for as long as the block lasts."""
        snapshot = await self._open()
        folder = snapshot.base.parent / str(next(self._numbers))
        try:
            folder.mkdir()
            repo = folder / "repo"
            await snapshot.copy(repo)
            yield self._furnish(folder, repo, written, example)
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, folder))

    async def run(
        self,
        room: Room,
        words: Sequence[str],
        *,
        env: dict[str, str],
        cwd: str,
        timeout_s: float,
        keep: int,
    ) -> Ended:
        """Run a command in a room; `env` is added to what every command gets. Raises NotStarted and OutOfTime."""
        return await run_process(
            words,
            folder=room.folder,
            cwd=room.repo / cwd,
            env=self._environment(room) | env,
            bounds=self._bounds,
            running=self._running,
            timeout_s=timeout_s,
            stdin=room.example,
            keep=keep,
        )

    async def diff(self, room: Room) -> Diff:
        """What was changed in the room's copy so far."""
        snapshot = await self._open()
        scratch = Path(tempfile.mkdtemp(dir=snapshot.base.parent))
        try:
            return await snapshot.diff(room.repo, room.since, room.written, scratch)
        finally:
            await asyncio.shield(asyncio.to_thread(remove_tree, scratch))

    def close(self) -> None:
        """Remove everything."""
        if self._remove is not None:
            self._remove()
            self._remove = self._snapshot = self._opening = None

    def _furnish(self, folder: Path, repo: Path, written: Mapping[str, bytes], example: str) -> Room:
        for name in ("home", "tmp"):
            (folder / name).mkdir()
        for path, content in written.items():
            (repo / path).parent.mkdir(parents=True, exist_ok=True)
            (repo / path).write_bytes(content)
        asked = folder / "example.json"
        _write_new(asked, example)
        return Room(folder, repo, asked, written, asked.stat().st_ctime_ns)

    def _environment(self, room: Room) -> dict[str, str]:
        """The same for every rollout but for the paths of its room."""
        return {
            "PATH": search_path(),
            "HOME": str(room.folder / "home"),
            "TMPDIR": str(room.folder / "tmp"),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            "PYTHONHASHSEED": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
            MARK: str(room.example),
        }

    async def _open(self) -> Snapshot:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._snapshot is None:
                self._snapshot = await asyncio.to_thread(self._take)
            return self._snapshot

    def _take(self) -> Snapshot:
        _sweep()
        area, lock = _make_area()
        self._remove = weakref.finalize(self, _close, area, lock)
        self._running = count_processes()
        if self._repo is not None and _digest(self._repo, self._files) != self._digest:
            raise ConfigError(f"{self._repo} has changed since this run was put together; give the same command again")
        return Snapshot.take(self._repo, self._files, area, self._with_git)


def _write_new(path: Path, text: str) -> None:
    """A new file, whatever a command has put there."""
    path.unlink(missing_ok=True)
    with path.open("x", encoding="utf-8", errors="surrogatepass") as stream:
        stream.write(text)


def search_path() -> str:
    """PATH for commands: the programs beside the Python that runs this come first, its own `python` and `pytest`."""
    return os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])


def _digest(repo: Path, files: Sequence[str]) -> str:
    try:
        return digest_of(repo, files)
    except OSError:
        return ""


def _make_area() -> tuple[Path, int]:
    """A new folder, and the handle of a lock in it that the system takes back when this process ends, however it does.

    It gets its name once it is locked, so that nobody takes it for one that was left.
    """
    import fcntl

    new = Path(tempfile.mkdtemp(prefix=f"new-{PREFIX}")).resolve()
    handle = os.open(new / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return new.rename(new.with_name(new.name.removeprefix("new-"))), handle


def _close(area: Path, lock: int) -> None:
    remove_tree(area)
    with suppress(OSError):
        os.close(lock)


def _sweep() -> None:
    """Remove what runs left that were killed: places that nobody holds the lock of."""
    import fcntl

    for area in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if area.lstat().st_uid != os.getuid() or area.is_symlink():
                continue
            handle = os.open(area / _LOCK, os.O_RDWR)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                remove_tree(area)
            finally:
                os.close(handle)
