"""What `doctor` looks at: is everything here that a run would need, and does each endpoint answer?"""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from promptlearn.assembly import STORE_ENV, open_command, open_module, open_role
from promptlearn.config import Config, ModelConfig, load_config
from promptlearn.errors import ModelError, PromptlearnError, UsageError
from promptlearn.models.base import Model
from promptlearn.records import Message, Role
from promptlearn.store import open_store
from promptlearn.store.place import find_place

EXTRAS = {
    "local": ("xllamacpp",),
    "data": ("pandas", "pyarrow"),
    "litellm": ("litellm",),
    "batch": ("openai",),
    "github": ("githubkit",),
    "postgres": ("psycopg",),
    "dashboard": ("streamlit", "vl_convert"),
    "dspy": ("dspy",),
    "rl": ("torch", "transformers", "peft"),
}
LOW_DISK = 500_000_000
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    ok: bool | None
    """None: not needed, only good to know."""
    detail: str


def examine(
    path: Path, overrides: tuple[str, ...] = (), store: str | None = None, offline: bool = False
) -> list[Finding]:
    """Everything worth knowing about this machine and the configuration at `path`.

    Keys are said to be there, never shown. Nothing is raised and nothing is made: what is wrong is a finding.
    """
    config, finding = _config(path, overrides)
    found = [_python(), *_extras(config), _disk(), finding, _store(store or (config.store if config else None))]
    return [*found, *_program(config), *(_model(role, entry, offline) for role, entry in _entries(config))]


def _config(path: Path, overrides: tuple[str, ...]) -> tuple[Config | None, Finding]:
    if not path.exists():
        return None, Finding("configuration", None, f"none at {path}; make one with `promptlearn init`")
    try:
        return load_config(path, overrides), Finding("configuration", True, str(path))
    except UsageError as error:
        return None, Finding("configuration", False, str(error))


def _entries(config: Config | None) -> Iterator[tuple[Role, ModelConfig]]:
    if config is None:
        return
    if config.command is None:
        yield "task", config.models.task
    if config.models.judge:
        yield "judge", config.models.judge
    if config.models.meta:
        yield "meta", config.models.meta


def _python() -> Finding:
    return Finding("python", sys.version_info >= (3, 11), sys.version.split()[0])


def _extras(config: Config | None) -> Iterator[Finding]:
    local = any(entry.model.startswith("local/") for _, entry in _entries(config))
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


def _store(where: str | None) -> Finding:
    try:
        file = find_place(where or os.environ.get(STORE_ENV)).file
        if file is not None and not file.exists():
            return Finding("store", None, f"none yet; a run makes it at {file}")
        with open_store(where or os.environ.get(STORE_ENV), create=False) as store:
            runs = len(store.reader.runs())
            return Finding("store", file is None or os.access(file, os.W_OK), f"{store.where}, {runs} runs")
    except UsageError as error:
        return Finding("store", False, str(error))


def _program(config: Config | None) -> Iterator[Finding]:
    """Whether a command could be run here under its limits, or a DSPy program loaded; it is not run."""
    if config is None or config.program is None:
        return
    try:
        if config.command is not None:
            name = open_command(config.command).name
        else:
            name = open_module(config.program, open_role("task", config.models.task, 1)).name
        yield Finding("program", True, f"{name}: not called")
    except PromptlearnError as error:
        yield Finding("program", False, str(error))


def _model(role: Role, entry: ModelConfig, offline: bool) -> Finding:
    what = f"models.{role}"
    key = f"key {entry.api_key_env} is set; " if entry.api_key_env and os.environ.get(entry.api_key_env) else ""
    try:
        model = open_role(role, entry, slots=1)
        if offline:
            return Finding(what, True, f"{model.name}: {key}not called")
        seconds = asyncio.run(_greet(model))
    except PromptlearnError as error:
        return Finding(what, False, f"{entry.model}: {error}")
    return Finding(what, True, f"{model.name}: {key}answered in {seconds:.1f} s")


async def _greet(model: Model) -> float:
    """Seconds until a reply was there; one that sends batches is asked directly."""
    model = getattr(model, "direct", model)
    started = time.monotonic()
    try:
        await model.complete([Message("user", "Say hello.")], replace(model.sampling, max_tokens=16))
    except ModelError as error:
        if error.kind != "truncated":  # a model that thinks for longer than that has answered too
            raise
    finally:
        await model.close()
    return time.monotonic() - started
