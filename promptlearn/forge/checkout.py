"""What a git checkout says about itself: where its root is, what a file is called in it, and where it came from.

Knows folders and the answer of `git remote`; no forge and no network.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from promptlearn.errors import UsageError

_GIT_SECONDS = 10
_ORIGIN = re.compile(
    r"(?:[a-z+]+://)?(?:[^@/\s]+@)?(?P<host>[\w.-]+)(?::\d+)?[:/]+(?P<repo>[\w.-]+/[\w.-]+?)(?:\.git)?/?"
)


def find_root(folder: Path) -> Path | None:
    """The root of the checkout around a folder; None where there is none."""
    folder = folder.absolute()
    return next((parent for parent in (folder, *folder.parents) if (parent / ".git").exists()), None)


def path_in_checkout(file: Path, folder: Path) -> str:
    """What a file is called from the root of its checkout.

    A file of another machine is found by the end of its path in the checkout around `folder`. Raises `UsageError`
    where neither is known.
    """
    file = file.absolute()
    root = find_root(file.parent) if file.exists() else None
    if root is not None:
        return file.relative_to(root).as_posix()
    here = find_root(folder)
    ends = ["/".join(file.parts[at:]) for at in range(1, len(file.parts))]
    found = next((end for end in ends if here is not None and (here / end).is_file()), None)
    if found is None:
        raise UsageError(f"{file} stands in no git checkout here; say with --path where it is in the repository")
    return found


def origin(folder: Path, host: str) -> str | None:
    """`owner/name` of the repository on `host` that the checkout around a folder came from; None where it did not."""
    command = ["git", "-C", str(folder), "remote", "get-url", "origin"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=False)  # noqa: S603 - no shell
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _ORIGIN.fullmatch(done.stdout.strip()) if done.returncode == 0 else None
    return found["repo"] if found and found["host"].lower() == host.partition(":")[0].lower() else None
