"""One process writes a run: a lock that the operating system takes back when its holder dies.

Knows files, no tables. The lock holds on one machine (`flock`); a team's database on a server does not change that.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from promptlearn.errors import StoreError

TRIES = 5
"""How often a lock is asked for, 10 ms apart: somebody who only looks whether it is held has it for a moment."""


def holder(path: Path) -> str | None:
    """The process that holds the lock at `path`, as text; None where nobody does."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        return None if _take(handle, fcntl.LOCK_SH, 1) else _holder(handle)
    finally:
        os.close(handle)


def _take(handle: int, kind: int, tries: int) -> bool:
    for left in reversed(range(tries)):
        try:
            fcntl.flock(handle, kind | fcntl.LOCK_NB)
        except OSError:
            if left:
                time.sleep(0.01)
        else:
            return True
    return False


def _holder(handle: int) -> str:
    return os.pread(handle, 32, 0).decode("ascii", "replace").strip() or "unknown"


class RunLock:
    """Held until `release`, the end of its `with` block, or the end of the process."""

    def __init__(self, path: Path, run: str) -> None:
        """Take the lock at `path`, or raise `StoreError` naming the process that has it."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        if not _take(self._handle, fcntl.LOCK_EX, TRIES):
            holder = _holder(self._handle)
            self.release()
            raise StoreError(
                f"run {run} is being written by process {holder}: wait for it, stop it, or start another run"
            )
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the lock back; twice is once. The file stays: removing it would let two processes in."""
        if self._handle >= 0:
            os.close(self._handle)
            self._handle = -1

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()
