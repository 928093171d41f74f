"""One process writes a run: a lock that the operating system takes back when its holder dies.

Knows files, no tables. The lock holds on one machine (`flock`); a team's database on a server does not change that.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from promptlearn.errors import StoreError


class RunLock:
    """Held until `release`, the end of its `with` block, or the end of the process."""

    def __init__(self, path: Path, run: str) -> None:
        """Take the lock at `path`, or raise `StoreError` naming the process that has it."""
        self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.pread(self._handle, 32, 0).decode("ascii", "replace").strip() or "unknown"
            self.release()
            raise StoreError(
                f"run {run} is being written by process {holder}: wait for it, stop it, or start another run"
            ) from error
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
