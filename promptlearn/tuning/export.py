"""Export: a run's best adapter under a name of the user's choosing.

Knows where a run keeps its adapters and what llama.cpp reads; trains nothing.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptlearn.errors import ConfigError, UsageError
from promptlearn.records import Json
from promptlearn.tuning.checkpoint import Checkpoints

if TYPE_CHECKING:
    from promptlearn.report import TuningReport


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    step: int
    """0: the base was best, so the adapter changes nothing."""
    folder: Path
    gguf: Path | None
    why_not: str = ""
    """Why there is no GGUF file."""

    def to_json(self) -> dict[str, Json]:
        return {"step": self.step, "adapter": str(self.folder), "gguf": str(self.gguf) if self.gguf else None}


def export_adapter(run_dir: Path, report: TuningReport, to: Path) -> Exported:
    """Copy the adapter of the best reading so far to the folder `to`. Raises UsageError where there is none, or `to` is
    taken.
    """
    base = base_name(report.config or {})
    best = next((reading for reading in reversed(report.validations) if reading.best), None)
    source = Checkpoints(run_dir / "checkpoints").best(best.step) if best is not None else None
    if best is None or source is None or not source.is_dir():
        raise UsageError(f"run {report.id} has no adapter yet; see `promptlearn tune status {report.id}`")
    if to.exists():
        raise UsageError(f"{to} exists; name another folder with --to")
    shutil.copytree(source, to)
    try:
        gguf = None if base is None else write_gguf(to, base, to / "adapter.gguf")
    except ConfigError as error:
        return Exported(best.step, to, None, str(error))
    return Exported(best.step, to, gguf)


def base_name(config: Mapping[str, Json]) -> str | None:
    """What a stored configuration trains; None for a run from Python that brought weights of its own."""
    chosen = (config.get("tuning") or {}).get("base")
    task = ((config.get("models") or {}).get("task") or {}).get("model") or ""
    return chosen or (task if task.startswith("local/") else None)


def write_gguf(adapter: Path, base: str, target: Path) -> Path:
    """The adapter of the model `base` as llama.cpp reads it. Raises ConfigError for an architecture it can not have."""
    from promptlearn.tuning.local import require_torch

    require_torch()
    from promptlearn.tuning.local.export import export_gguf
    from promptlearn.tuning.local.loading import load_config

    return export_gguf(adapter, load_config(base), target)
