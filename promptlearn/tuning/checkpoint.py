"""Checkpoints: a run's weights, optimizer and progress on the disk, whole or not at all.

    FOLDER/000010/learner/       what Learner.save_state wrote
    FOLDER/000010/progress.json  the rest, written last but one
    FOLDER/best-000005/          the adapter of the best validation so far, in PEFT's format

A checkpoint is made under another name and renamed when all of it is on the disk, so a kill at any moment leaves the
one before. Knows files; not when a checkpoint is due.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

from promptlearn.errors import StoreError
from promptlearn.tuning.base import Learner
from promptlearn.tuning.progress import Progress


class Checkpoints:
    """The checkpoints of one run; only the last is kept."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, learner: Learner, progress: Progress) -> Path:
        """Write a checkpoint, then forget older ones and adapters that were the best once. Blocks.

        Raises StoreError where the disk takes no more.
        """
        target = self._folder / f"{progress.step:06}"
        partial = target.with_name(f"{target.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            learner.save_state(partial / "learner")
            (partial / "progress.json").write_text(json.dumps(progress.to_json()), encoding="utf-8")
            _flush(partial)
            shutil.rmtree(target, ignore_errors=True)
            partial.rename(target)
            _flush(self._folder)
        except OSError as error:
            raise StoreError(f"no checkpoint can be written to {target}: {error.strerror}; mend that") from error
        self._forget(keep=target, best=progress.best.step if progress.best else None)
        return target

    def load(self, learner: Learner) -> Progress | None:
        """Put the last checkpoint into the learner; None where there is none yet. Blocks."""
        found = self._all()
        if not found:
            return None
        learner.load_state(found[-1] / "learner")
        return Progress.from_json(json.loads((found[-1] / "progress.json").read_text(encoding="utf-8")))

    def best(self, step: int) -> Path:
        """Where the adapter of a reading that was the best lies, or goes."""
        return self._folder / f"best-{step:06}"

    def _all(self) -> list[Path]:
        """Whole checkpoints, the oldest first."""
        return sorted(path for path in self._folder.glob("*") if re.fullmatch(r"\d{6,}", path.name))

    def _forget(self, keep: Path, best: int | None) -> None:
        kept = {keep, self.best(best)} if best is not None else {keep}
        for path in [*self._all(), *self._folder.glob("best-*")]:
            if path not in kept:
                shutil.rmtree(path, ignore_errors=True)


def _flush(folder: Path) -> None:
    """Everything in it is on the disk afterwards, names included."""
    for path in [*folder.rglob("*"), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
