"""What a person asks for on a page, done by the `promptlearn` command as a process of its own.

So a page does exactly what the command line does, with the same checks, and never holds a token or a model. A run that
was started here goes on when the dashboard ends. Knows processes and files; not what the commands do.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import uuid4

from promptlearn.config import DEFAULT_CONFIG
from promptlearn.errors import UsageError
from promptlearn.records import Json, fingerprint
from promptlearn.redaction import redact

ASK_SECONDS = 60
CONFIG_SUFFIXES = (".yaml", ".yml")
DATA_SUFFIXES = (".csv", ".tsv", ".jsonl", ".json", ".parquet")
PROMPT_SUFFIXES = (".md", ".txt", ".yaml", ".yml", ".json")
MAX_CONFIGS = 50
_SKIPPED = {"node_modules", "site-packages", "__pycache__"}
_RUN = re.compile(r"^(?:going on with )?run ([0-9A-Za-z_-]+): ", re.MULTILINE)
_LOGS = "dashboard"
_ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command that ended said."""

    exit_code: int
    document: Json
    """What `--json` printed; None where that was nothing."""
    message: str
    """One line for a person where it failed; empty where it did not."""

    @property
    def ok(self) -> bool:
        return self.exit_code == 0


@dataclass(frozen=True, slots=True)
class Started:
    """A run that works as a process of its own."""

    pid: int
    log: Path

    def run(self) -> str | None:
        """Its id, as soon as it has one."""
        found = _RUN.search(self.said())
        return found[1] if found else None

    def said(self) -> str:
        """What it has said so far, without what looks like a key."""
        return redact(self.log.read_text(encoding="utf-8", errors="replace")) if self.log.exists() else ""

    def failed(self) -> str:
        """Why it ended before it had an id; empty while it works."""
        lines = [line.removeprefix("promptlearn: ") for line in self.said().splitlines() if line.strip()]
        return lines[-1] if lines and not self.run() and not _alive(self.pid) else ""


def ask(arguments: Sequence[str], store: str, home: Path, seconds: float = ASK_SECONDS) -> Answer:
    """Run a command to its end. An argument that a person wrote must come as `--option=text` or stand behind `--`."""
    command = [sys.executable, "-m", "promptlearn", *arguments]
    try:
        done = subprocess.run(  # noqa: S603 - our own command; what a person wrote stands behind `=` or `--`
            command, cwd=home, env=_environment(store), capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return Answer(1, None, f"no answer within {seconds:.0f} s; give `promptlearn {arguments[0]}` in a terminal")
    try:
        document = json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError:
        document = None
    lines = [line for line in done.stderr.splitlines() if line.startswith("promptlearn: ")]
    failed = lines[-1].removeprefix("promptlearn: ") if lines else "it failed without a word"
    return Answer(done.returncode, document, redact(failed) if done.returncode else "")


def start_run(config: Path, store: str, home: Path, folder: Path, overrides: Sequence[str] = ()) -> Started:
    """Start a run from a configuration; `folder` takes its log."""
    options = [f"--set={one}" for one in overrides]
    return _start(["run", f"--config={config}", *options], store, home, folder, fingerprint(str(config), 8))


def resume_run(run: str, store: str, home: Path, folder: Path, overrides: Sequence[str] = ()) -> Started:
    """Go on with a run that was interrupted or ran out of budget."""
    options = [f"--set={one}" for one in overrides]
    return _start(["resume", *options, "--", run], store, home, folder, run)


def find_configs(home: Path) -> list[Path]:
    """The configurations in a folder and two levels below it, relative to it; promptlearn.yaml first in each level."""
    found = []
    for pattern in ("*.yaml", "*/*.yaml", "*/*/*.yaml"):
        for path in sorted(home.glob(pattern), key=lambda path: (path.name != DEFAULT_CONFIG, path)):
            hidden = any(part.startswith(".") or part in _SKIPPED for part in path.relative_to(home).parts)
            if not hidden and path.is_file() and _is_config(path):
                found.append(path.relative_to(home))
            if len(found) == MAX_CONFIGS:
                return found
    return found


def config_inside(home: Path, name: str) -> Path:
    """The configuration of that name in the dashboard's folder. Raises `UsageError` for any other file."""
    path = (home / name).resolve()
    if not path.is_relative_to(home.resolve()) or path.suffix not in CONFIG_SUFFIXES or not path.is_file():
        raise UsageError(f"{name}: no configuration in the dashboard's folder")
    return path


def keep_upload(folder: Path, prompt: str, data_name: str, data: bytes) -> tuple[Path, Path]:
    """Keep what was uploaded under names of our own; returns the prompt's and the table's path, side by side.

    Raises `UsageError` for a table of another kind.
    """
    suffix = Path(data_name).suffix.lower()
    if suffix not in DATA_SUFFIXES:
        raise UsageError(f"{suffix or 'a file without ending'}: possible are {', '.join(DATA_SUFFIXES)}")
    place = folder / "uploads" / fingerprint([prompt, sha256(data).hexdigest()], 12)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths = place / "prompt.md", place / f"examples{suffix}"
    paths[0].write_text(prompt, encoding="utf-8", newline="")
    paths[1].write_bytes(data)
    return paths


def _start(arguments: list[str], store: str, home: Path, folder: Path, name: str) -> Started:
    logs = folder / _LOGS
    logs.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = logs / f"{name}-{uuid4().hex}.log"
    with log.open("xb") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command; what a person wrote stands behind `=` or `--`
            [sys.executable, "-m", "promptlearn", *arguments],
            cwd=home,
            env=_environment(store),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=out,
            start_new_session=True,
        )
    _children[process.pid] = process
    return Started(process.pid, log)


_children: dict[int, subprocess.Popen[bytes]] = {}
"""Runs that this process started; asked for their end, so that none stays behind as a zombie."""


def _alive(pid: int) -> bool:
    process = _children.get(pid)
    return process is not None and process.poll() is None


def _environment(store: str) -> dict[str, str]:
    """The same promptlearn as this one, on the same store, without a person who watches."""
    found = os.pathsep.join(filter(None, [str(_ROOT), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PROMPTLEARN_STORE": store, "PYTHONPATH": found, "NO_COLOR": "1", "CI": "true"}


def _is_config(path: Path) -> bool:
    """Whether a YAML file looks like a configuration of ours: it has `prompt:`, `data:` and `models:` or `program:`."""
    try:
        text = path.read_text(encoding="utf-8-sig")[:20_000]
    except (OSError, UnicodeDecodeError):
        return False
    keys = set(re.findall(r"^([a-z_]+)\s*:", text, re.MULTILINE))
    return {"prompt", "data"} <= keys and bool(keys & {"models", "program"})
