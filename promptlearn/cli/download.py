"""Progress of a download, on stderr."""

from __future__ import annotations

from types import TracebackType

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from promptlearn.cli.console import interactive, note, stderr


class DownloadProgress:
    """`progress(done, total)` in bytes, as `models.pull.pull` calls it; `total` is None while nobody knows it."""

    def __init__(self, name: str, quiet: bool) -> None:
        self._bar: Progress | None = None
        if interactive() and not quiet:
            columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
            self._bar = Progress(*columns, console=stderr(), transient=True)
            self._task = self._bar.add_task(f"pulling {name}", total=None)
        self._said = quiet
        self._name = name

    def __enter__(self) -> DownloadProgress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, done: int, total: int | None) -> None:
        if self._bar:
            self._bar.update(self._task, completed=done, total=total)
        elif not self._said:
            self._said = True
            note(f"pulling {self._name} …")
