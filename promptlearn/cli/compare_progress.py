"""What a person sees while a comparison works: which arm and seed it is at, and how that run goes on."""

from __future__ import annotations

from contextlib import ExitStack
from types import TracebackType

from promptlearn.cli.console import note
from promptlearn.cli.progress import RunProgress
from promptlearn.cli.tune_progress import TuneProgress
from promptlearn.runlog import Event


class CompareProgress:
    """An observer for `compare`; use it as a context manager."""

    def __init__(self, quiet: bool = False) -> None:
        self._quiet = quiet
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
            if not self._quiet:
                note(f"— {name}")
            if event.body.get("stage", "prompt") != "prompt":  # a reading of the test split is of no stage
                self._run = self._open.enter_context(TuneProgress(event.body["steps"], self._quiet))
            else:
                self._run = self._open.enter_context(RunProgress(None, self._quiet))
        elif event.kind == "ended":
            self._open.close()
        else:
            self._run(event)
