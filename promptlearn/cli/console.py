"""Where output goes: results on stdout, progress and problems on stderr, colours only where a terminal wants them.

`NO_COLOR` and non-terminals are honoured (by rich). A command that was asked for `--json` prints one document.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


@cache
def stdout() -> Console:
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


@cache
def stderr() -> Console:
    from rich.console import Console

    return Console(stderr=True, highlight=False, soft_wrap=True)


def interactive() -> bool:
    """Whether a person watches stderr; animation is for nobody else."""
    return sys.stderr.isatty() and not os.environ.get("CI") and os.environ.get("TERM") != "dumb"


def print_json(document: Any) -> None:
    sys.stdout.write(json.dumps(document, ensure_ascii=False, indent=2) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line of the result; text from outside is never markup."""
    stdout().print(text, markup=False)


def note(text: str, style: str | None = None) -> None:
    """A line beside the result."""
    stderr().print(text, markup=False, style=style)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """A table on stdout; `right` are the numbers of right-aligned columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        grid.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*(Text(cell) for cell in row))
    stdout().print(grid, soft_wrap=False)


def percent(score: float | None) -> str:
    return "–" if score is None else f"{score:.3f}"


def money(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.4f}" if cost else "$0"
