"""What a person sees while a comparison works: which arm and seed it is at, and how that run goes on.

Of trainings side by side one line comes after the other, each with its training's name.
"""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from promptlearn.cli.console import note
from promptlearn.cli.progress import RunProgress
from promptlearn.cli.tune_progress import TuneProgress, event_line
from promptlearn.runlog import Event


class CompareProgress:
    """An observer for `compare`; use it as a context manager."""

    def __init__(self, quiet: bool = False, at_once: int = 1) -> None:
        """`at_once` trainings may be under way together."""
        self._quiet = quiet
        self._at_once = at_once
        self._steps: dict[str, int] = {}
        """Of the trainings under way, by name, where there may be several."""
        self._open = ExitStack()
        self._run: RunProgress | TuneProgress = RunProgress(None, quiet=True)

    def __enter__(self) -> CompareProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def __call__(self, name: str, event: Event) -> None:
        if event.kind == "begun":
            self._begin(name, event)
        elif event.kind == "ended":
            if self._steps.pop(name, None) is None:
                self._open.close()
        elif name not in self._steps:
            self._run(event)
        elif not self._quiet and (line := event_line(event, self._steps[name])):
            note(f"[{name}] {line}")

    def _begin(self, name: str, event: Event) -> None:
        if not self._quiet:
            note(f"— {name}")
        if event.body.get("stage", "prompt") == "prompt":  # a reading of the test split is of no stage
            self._run = self._open.enter_context(RunProgress(None, self._quiet))
        elif self._at_once > 1:
            self._steps[name] = event.body["steps"]
        else:
            self._run = self._open.enter_context(TuneProgress(event.body["steps"], self._quiet))
