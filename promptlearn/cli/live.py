"""Live: bars that redraw themselves on stderr while somebody watches in a terminal, and nothing elsewhere.

What progress displays have in common; what they say is theirs.
"""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn

from promptlearn.cli.console import interactive, stderr


class Live:
    """Base of an observer that is used as a context manager; `_bars` is None where nobody watches."""

    def __init__(self, quiet: bool, *columns: ProgressColumn) -> None:
        """`columns` stand behind the description and the bar."""
        self._quiet = quiet
        self._bars: Progress | None = None
        if interactive() and not quiet:
            words, bar = TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)
            self._bars = Progress(SpinnerColumn(), words, bar, *columns, console=stderr(), transient=True)

    def __enter__(self) -> Self:
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()
