"""What a run was set up with: models, judges, and whether their keys are here. Keys are said to be set, never shown."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import ROLES, Json, Role
from promptlearn.report.names import find_run

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class ModelReport:
    """The model of one role, as the configuration names it."""

    role: Role
    name: str
    base_url: str | None
    key_env: str | None
    """The environment variable that holds its key; None where it needs none."""
    key_is_set: bool | None
    """Here and now; None where no key is named."""


@dataclass(frozen=True, slots=True)
class Setup:
    run: str
    seed: int
    models: tuple[ModelReport, ...]
    judges: tuple[str, ...]
    versions: Mapping[str, str]
    """Package → version that the run was made with."""
    prompt_file: str | None
    data: Json
    budget: Mapping[str, Json]
    """Caps that are set."""


def setup(store: Store, which: str = "latest") -> Setup:
    """How a run was set up; of one that was started from Python, what is known. Raises `UsageError` naming runs."""
    row = find_run(store, which)
    config = row.config if isinstance(row.config, dict) else {}
    budget = {name: value for name, value in (config.get("budget") or {}).items() if value not in (None, {})}
    return Setup(
        run=row.id,
        seed=row.seed,
        models=tuple(_models(config)),
        judges=tuple(_judge(one) for one in config.get("judges") or () if _judge(one)),
        versions=row.versions,
        prompt_file=(config.get("prompt") or {}).get("file") if isinstance(config.get("prompt"), dict) else None,
        data=config.get("data"),
        budget={name: value for name, value in budget.items() if name != "roles"},
    )


def _models(config: Mapping[str, Json]) -> list[ModelReport]:
    named = config.get("models")
    found = []
    for role in ROLES:
        entry = named.get(role) if isinstance(named, dict) else None
        if isinstance(entry, dict) and entry.get("model"):
            key = entry.get("api_key_env")
            is_set = bool(os.environ.get(key)) if key else None
            found.append(ModelReport(role, str(entry["model"]), entry.get("base_url"), key, is_set))
    return found


def _judge(entry: Json) -> str:
    return str(entry.get("use", "")) if isinstance(entry, dict) else str(entry)
