"""Export: a run's best adapter under a name of the user's choosing.

Knows where a run keeps its adapters and what llama.cpp reads; trains nothing.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
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
    """None where llama.cpp has no such architecture."""

    def to_json(self) -> dict[str, Json]:
        return {"step": self.step, "adapter": str(self.folder), "gguf": str(self.gguf) if self.gguf else None}


def export_adapter(run_dir: Path, report: TuningReport, to: Path) -> Exported:
    """Copy the adapter of the best reading so far to the folder `to`. Raises UsageError where there is none, or `to` is
    taken.
    """
    best = next((reading for reading in reversed(report.validations) if reading.best), None)
    source = Checkpoints(run_dir / "checkpoints").best(best.step) if best is not None else None
    if best is None or source is None or not source.is_dir():
        raise UsageError(f"run {report.id} has no adapter yet; see `promptlearn tune status {report.id}`")
    if to.exists():
        raise UsageError(f"{to} exists; name another folder with --to")
    shutil.copytree(source, to)
    made = run_dir / "adapter.gguf"
    gguf = None
    if made.is_file():
        gguf = Path(shutil.copyfile(made, to / "adapter.gguf"))
    return Exported(best.step, to, gguf)
