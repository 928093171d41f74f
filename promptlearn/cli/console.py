"""Where output goes: results on stdout, progress and problems on stderr, colours only where a terminal wants them.

`NO_COLOR` and non-terminals are honoured (by rich). A command that was asked for `--json` prints one document.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

UNFOLDED = 10_000
"""Width of a table that goes into a file or a pipe: one line per row, so that grep and diff find it."""
PROSE = 120
"""Of one whose cells are prose: folded there too."""
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


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
    unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    sys.stdout.write(json.dumps(document, ensure_ascii=not unicode, indent=2) + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line of the result; text from outside is never markup."""
    stdout().print(visible(text), markup=False, emoji=False)


def note(text: str, style: str | None = None) -> None:
    """A line beside the result."""
    stderr().print(visible(text), markup=False, emoji=False, style=style)


def table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    right: Sequence[int] = (),
    whole: Sequence[int] = (0,),
    width: int = UNFOLDED,
) -> None:
    """A table on stdout; `right` are the numbers of right-aligned columns, `whole` those that are never folded, `width`
    is for one that goes into a file or a pipe.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for index, name in enumerate(columns):
        justify, fixed = "right" if index in right else "left", index in right or index in whole
        grid.add_column(name, justify=justify, overflow="fold", no_wrap=fixed)  # type: ignore[arg-type]
    for row in rows:
        grid.add_row(*(Text(visible(cell)) for cell in row))
    console = stdout()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(highlight=False, width=width)
    console.print(grid, soft_wrap=False)


def as_score(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def money(cost: float | None) -> str:
    return "unknown" if cost is None else f"${cost:.4f}" if cost else "$0"


def count(amount: int) -> str:
    """A number of calls or tokens in a few characters: 9999, 51k, 2.0M."""
    if amount < 10_000:
        return str(amount)
    return f"{amount / 1000:.0f}k" if amount < 999_500 else f"{amount / 1e6:.1f}M"


def counted(number: int, thing: str) -> str:
    """1 row, 2 rows."""
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def short(text: str, width: int = 60) -> str:
    """One line, cut where it is longer."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"


def span(low: str, high: str) -> str:
    return low if low == high else f"{low} – {high}"


def visible(text: str) -> str:
    """Without control characters: what a model or a table says must not steer the terminal."""
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)
