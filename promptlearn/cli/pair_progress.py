"""What a person sees while pairs of answers are compared: a bar in a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time

from rich.progress import TaskID, TextColumn, TimeElapsedColumn

from promptlearn.cli.console import note
from promptlearn.cli.live import Live
from promptlearn.cli.progress import QUIET_LINES


class PairProgress(Live):
    """Called with how many pairs are judged, of how many; use it as a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        super().__init__(quiet, TextColumn("{task.completed:.0f}/{task.total:.0f} pairs"), TimeElapsedColumn())
        self._last_line = time.monotonic()
        self._task: TaskID | None = None

    def __call__(self, done: int, of: int) -> None:
        if self._bars:
            if self._task is None:
                self._task = self._bars.add_task("asking the judge", total=of)
            self._bars.update(self._task, completed=done)
        elif not self._quiet and time.monotonic() - self._last_line > QUIET_LINES:
            self._last_line = time.monotonic()
            note(f"  … {done} of {of} pairs judged")
