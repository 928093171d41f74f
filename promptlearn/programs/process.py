"""One process under limits: started in a cage, its output kept in files, everything it left behind killed.

Knows processes; nothing about prompts, examples or repositories. Never through a shell. The limits keep an accident
small (a loop without end, a file without end, a process that stays). They are no sandbox: a command may read and write
what the user may.
"""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from promptlearn.errors import ConfigError

CAGE = Path(__file__).with_name("cage.py")
MARK = "PROMPTLEARN_EXAMPLE"
"""An environment variable whose value no other process has: by it a process is found that left its group."""
_NONE = -1
_FORK = "import os; child = os.fork(); child and os.waitpid(child, 0)"
_SWEEPS = 5
"""Looks for stragglers at most: one that starts another while it is looked for is found by the next look."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one process may take; None is no limit. Each process that it starts gets the same again."""

    cpu_s: float | None = 600
    """Seconds of processor time; SIGXCPU ends it."""
    memory_mb: int | None = 4096
    """Private memory that can be written to, in MiB; what is only reserved does not count. Linux."""
    file_mb: int | None = 512
    """Size of any one file that it writes, in MiB."""
    processes: int | None = 1024
    """More processes and threads than the user has when the run begins; has no power over root."""
    network: bool = True
    """False: none but a loopback interface of its own. Linux."""

    def check(self) -> None:
        """Raises ConfigError for a limit that this system can not set; starts one process to find out."""
        if os.name != "posix":
            raise ConfigError(f"program.command needs limits on processes, which {sys.platform} does not have")
        if self.memory_mb is not None and sys.platform != "linux":
            raise ConfigError(
                f"program.limits.memory_mb can not be kept on {sys.platform}; set it to null to run without that limit"
            )
        if not self.network and sys.platform != "linux":
            raise ConfigError(f"program.network: false can not be kept on {sys.platform}; run it in a container")
        self._try()

    def _try(self) -> None:
        read, write = os.pipe()
        try:
            words = [*self.words(write, count_processes()), sys.executable, "-I", "-S", "-c", _FORK]
            quiet = subprocess.DEVNULL
            done = subprocess.run(  # noqa: S603
                words, pass_fds=(write,), stdin=quiet, stdout=quiet, stderr=quiet, check=False, timeout=60
            )
            os.close(write)
            write = -1
            said = os.read(read, 4096).decode()
        finally:
            for descriptor in (read, write):
                if descriptor >= 0:
                    os.close(descriptor)
        if said:
            key = "program.network: false" if not self.network else "program.limits"
            raise ConfigError(f"{key} can not be kept here: {said}; leave it out, or run in a container that allows it")
        if done.returncode:
            raise ConfigError(
                "a program under program.limits can not start another; raise processes (this user may have more "
                "processes than can be seen from here), or set it to null"
            )

    @property
    def warnings(self) -> tuple[str, ...]:
        if self.processes is None or os.getuid() != 0:
            return ()
        return ("commands run as root, whose number of processes can not be limited; run as another user if you can",)

    def words(self, report: int, running: int) -> list[str]:
        """The command line in front of a command; `running` is how many processes the user has now."""
        bounds = [
            _NONE if self.cpu_s is None else math.ceil(self.cpu_s),
            _NONE if self.memory_mb is None else self.memory_mb << 20,
            _NONE if self.file_mb is None else self.file_mb << 20,
            _NONE if self.processes is None else self.processes + running,
            int(self.network),
        ]
        return [sys.executable, "-I", "-S", str(CAGE), str(report), str(os.getpid()), *map(str, bounds)]


class NotStarted(Exception):
    """The command could not be started; the message says why."""


class OutOfTime(Exception):
    """The command ran past its time and was killed."""


@dataclass(frozen=True, slots=True)
class Captured:
    """What a process wrote, decoded; where it was too long, its beginning and its end."""

    text: str
    left_out: int = 0
    """Bytes of the middle."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that came to an end by itself, or by a limit that it ran into."""

    code: int
    """Exit code; a negative one is the signal that ended it."""
    stdout: Captured
    stderr: Captured
    seconds: float

    @property
    def reason(self) -> str:
        """`stop` for exit code 0, else `exit 3` or `SIGXCPU`."""
        if self.code >= 0:
            return f"exit {self.code}" if self.code else "stop"
        with suppress(ValueError):
            return signal.Signals(-self.code).name
        return f"signal {-self.code}"


async def run_process(
    words: Sequence[str],
    *,
    folder: Path,
    cwd: Path,
    env: Mapping[str, str],
    bounds: Bounds,
    running: int,
    timeout_s: float,
    stdin: Path,
    keep: int,
) -> Ended:
    """Run `words` in `cwd` to their end; `env` is all of their environment, `stdin` a file.

    `folder` is where output goes meanwhile; at most `keep` bytes of each stream are returned. Raises NotStarted and
    OutOfTime. However this ends, also by cancellation, nothing that the command started is left.
    """
    read, write = os.pipe()
    started = time.monotonic()
    try:
        with stdin.open("rb") as asked, _fresh(folder / "stdout") as out, _fresh(folder / "stderr") as err:
            try:
                process = await asyncio.create_subprocess_exec(
                    *bounds.words(write, running),
                    *words,
                    stdin=asked,
                    stdout=out,
                    stderr=err,
                    cwd=cwd,
                    env=dict(env),
                    pass_fds=(write,),
                    start_new_session=True,
                )
            except OSError as error:
                raise NotStarted(f"{words[0]} can not be started: {error.strerror}") from None
            os.close(write)
            write = -1
            code = await _ended(process, timeout_s, env.get(MARK, ""))
            complaint = os.read(read, 4096).decode("utf-8", "replace")
            if complaint:
                raise NotStarted(complaint)
            return Ended(code, _captured(out, keep), _captured(err, keep), time.monotonic() - started)
    finally:
        for descriptor in (read, write):
            if descriptor >= 0:
                os.close(descriptor)


async def _ended(process: asyncio.subprocess.Process, timeout_s: float, mark: str) -> int:
    """The exit code, once nothing of it is left."""
    try:
        return await asyncio.wait_for(process.wait(), timeout_s)
    except TimeoutError:
        raise OutOfTime(f"ran past {timeout_s:g} s and was killed") from None
    finally:
        _kill_all(process.pid, mark)
        await process.wait()


def count_processes() -> int:
    """Processes and threads of this user (Linux; zero elsewhere, where the limit is on top of nothing known)."""
    total, uid = 0, os.getuid()
    for entry in Path("/proc").glob("[0-9]*") if sys.platform == "linux" else ():
        with suppress(OSError):
            if entry.stat().st_uid == uid:
                total += sum(1 for _ in (entry / "task").iterdir())
    return total


def _kill_all(group: int, mark: str) -> None:
    """The process group, and whoever left it but kept the environment (Linux)."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
    if not mark or sys.platform != "linux":
        return
    for _ in range(_SWEEPS):
        if not _kill_marked(f"{MARK}={mark}".encode()):
            return


def _kill_marked(wanted: bytes) -> int:
    killed = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    os.kill(int(entry.name), signal.SIGKILL)
                    killed += 1
    return killed


def _fresh(path: Path) -> IO[bytes]:
    """A new file. It is read through this handle: what stands under its name later is the command's doing."""
    path.unlink(missing_ok=True)
    return path.open("x+b")


def _captured(stream: IO[bytes], keep: int) -> Captured:
    size = os.fstat(stream.fileno()).st_size
    stream.seek(0)
    if size <= keep:
        return Captured(stream.read(size).decode("utf-8", "replace"))
    head = stream.read(keep - keep // 2)
    stream.seek(size - keep // 2)
    tail = stream.read(keep // 2)
    left_out = size - len(head) - len(tail)
    first, last = head.decode("utf-8", "replace"), tail.decode("utf-8", "replace")
    return Captured(f"{first}\n[… {left_out:,} bytes left out …]\n{last}", left_out)
