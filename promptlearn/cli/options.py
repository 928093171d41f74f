"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptlearn.store import Store

ConfigOption = Annotated[Path, typer.Option("--config", "-c", help="The configuration.", show_default=True)]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as search.seed=3; may be given often."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="PATH|URL",
        envvar="PROMPTLEARN_STORE",
        help="Where runs are kept; by default .promptlearn/store.db here.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RunArgument = Annotated[str, typer.Argument(metavar="[RUN]", help="Id of a run, its beginning, or `latest`.")]


@contextmanager
def opened_store(where: str | None) -> Iterator[Store]:
    """An existing store, for commands that only look."""
    from promptlearn.store import open_store

    with open_store(where, create=False) as store:
        yield store
