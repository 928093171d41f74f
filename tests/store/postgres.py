"""A PostgreSQL server for the tests of one process: a real one, in a folder of its own, on a socket and no port.

Started at its first use and stopped with the process; nothing is there to start where PostgreSQL is not installed.
PROMPTLEARN_TEST_POSTGRESQL names a database to use instead (postgresql+psycopg://user@host/test).
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

GIVEN = os.environ.get("PROMPTLEARN_TEST_POSTGRESQL")


def _programs() -> Path | None:
    """The folder of `initdb` and `pg_ctl`; Debian keeps them off the PATH."""
    found = shutil.which("initdb")
    folders = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((folder for folder in folders if (folder / "initdb").exists() and (folder / "pg_ctl").exists()), None)


AVAILABLE = bool(GIVEN or _programs())


@cache
def server() -> str:
    """The URL of a database on a server that runs."""
    if GIVEN:
        return GIVEN
    programs = _programs()
    assert programs is not None, "PostgreSQL is not installed"
    user = "postgres" if os.geteuid() == 0 else None  # which it refuses to run as root
    folder = Path(tempfile.mkdtemp(prefix="pl-pg-"))
    if user:
        shutil.chown(folder, user)
    data = folder / "data"

    def call(*command: str | Path) -> None:
        subprocess.run(command, user=user, check=True, cwd=folder, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)

    call(programs / "initdb", "--no-sync", "--auth=trust", "--username=postgres", "--pgdata", data)
    options = f"-k {folder} -c listen_addresses='' -c fsync=off"
    call(programs / "pg_ctl", "start", "--wait", "--pgdata", data, "--log", folder / "log", "--options", options)

    def stop() -> None:
        call(programs / "pg_ctl", "stop", "--mode=immediate", "--pgdata", data)
        shutil.rmtree(folder)

    atexit.register(stop)
    return f"postgresql://postgres@/postgres?host={folder}"
