"""What `doctor` looks at: is everything here that a run would need, and does each endpoint answer?"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from promptlearn.assembly import open_role
from promptlearn.config import Config, ModelConfig
from promptlearn.errors import PromptlearnError
from promptlearn.records import Message, Role

EXTRAS = {"local": ("xllamacpp",), "data": ("pandas", "pyarrow")}
LOW_DISK = 500_000_000


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    ok: bool | None
    """None: not needed, only good to know."""
    detail: str


def examine(config: Config | None, offline: bool) -> list[Finding]:
    """Everything worth knowing about this machine and this configuration; keys are said to be there, never shown."""
    found = [_python(), *_extras(config), _disk()]
    if config is None:
        return [*found, Finding("configuration", None, "none here; make one with `promptlearn init`")]
    for role, entry in _entries(config):
        found.append(_model(role, entry, offline))
    return found


def _entries(config: Config) -> Iterator[tuple[Role, ModelConfig]]:
    yield "task", config.models.task
    if config.models.judge:
        yield "judge", config.models.judge
    if config.models.meta:
        yield "meta", config.models.meta


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])


def _extras(config: Config | None) -> Iterator[Finding]:
    local = config is not None and any(entry.model.startswith("local/") for _, entry in _entries(config))
    for extra, modules in EXTRAS.items():
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if not missing:
            yield Finding(f"extra [{extra}]", True, "installed")
        else:
            needed = extra == "local" and local
            advice = f"missing {', '.join(missing)}: pip install 'promptlearn-optimizer[{extra}]'"
            yield Finding(f"extra [{extra}]", False if needed else None, advice)


def _disk() -> Finding:
    free = shutil.disk_usage(Path.cwd()).free
    return Finding("disk", free > LOW_DISK, f"{free / 1e9:.1f} GB free here")


def _model(role: Role, entry: ModelConfig, offline: bool) -> Finding:
    what = f"models.{role} {entry.model}"
    key = f"key {entry.api_key_env} is set; " if entry.api_key_env and os.environ.get(entry.api_key_env) else ""
    try:
        model = open_role(role, entry, slots=1)
        if offline:
            return Finding(what, True, f"{key}not called")
        sampling = replace(model.sampling, max_tokens=16)

        async def call() -> float:
            try:
                return (await model.complete([Message("user", "Say hello.")], sampling)).seconds
            finally:
                await model.close()

        seconds = asyncio.run(call())
    except PromptlearnError as error:
        return Finding(what, False, str(error))
    return Finding(what, True, f"{key}answered in {seconds:.1f} s")
