"""Options that several commands share, and the store that commands look into."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from promptlearn.store import Store

ConfigOption = Annotated[Path, typer.Option("--config", "-c", metavar="FILE", help="The configuration.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Override a key of the configuration, such as search.seed=3, budget.task_calls=400, "
        "models.task.max_tokens=16 or judges=[exact_match]; may be given often.",
    ),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="PATH|URL",
        envvar="PROMPTLEARN_STORE",
        help="Where runs are kept; by default what promptlearn.yaml says, else .promptlearn/store.db here.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout, errors included.")]
QuietOption = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="Id of a run, its beginning, or `latest`.", show_default=True)
]
VersionOption = Annotated[
    str, typer.Option("--version", help="`baseline`, `best`, a candidate's number, or the beginning of a digest.")
]


def named_store(where: str | None) -> str | None:
    """The store for commands that read no configuration: a promptlearn.yaml here may name it.

    Looking at what is stored needs no valid configuration, nor the quarter of a second that checking one takes.
    """
    file = Path("promptlearn.yaml")
    if where or not file.exists():
        return where
    import yaml

    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError):
        return None
    store = content.get("store") if isinstance(content, dict) else None
    if not isinstance(store, str):
        return None
    return store if "://" in store else str(file.resolve().parent / store)


@contextmanager
def opened_store(where: str | None) -> Iterator[Store]:
    """An existing store, for commands that only look."""
    from promptlearn.store import open_store

    with open_store(named_store(where), create=False) as store:
        yield store


def to_find(store: Store) -> str:
    """The option by which later commands find this store, a space before it; empty where they look there anyway."""
    import shlex

    from promptlearn.assembly import STORE_ENV
    from promptlearn.store.place import find_place

    usual = find_place(os.environ.get(STORE_ENV) or named_store(None))
    return "" if store.where == str(usual) or "://" in store.where else f" --store {shlex.quote(store.where)}"
