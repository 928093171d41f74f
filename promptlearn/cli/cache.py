"""`cache ls`, `cache prune` and `cache clear`: the replies that were paid for, and the space that they take."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import JsonOption, StoreOption, opened_store

if TYPE_CHECKING:
    from promptlearn.store import Store
    from promptlearn.store.cache import Choice
    from promptlearn.store.rows import Removed, ReplyRow

app = typer.Typer(
    help="See and shrink the cache: replies that were paid for and are never paid for again.", rich_markup_mode=None
)

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

SHOWN = 5
"""How many names a message lists."""
_UNITS = {"": 1, "k": 1e3, "m": 1e6, "g": 1e9, "t": 1e12, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SPANS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


@app.command("ls")
def list_all(store: StoreOption = None, as_json: JsonOption = False) -> None:
    """List what is kept for each model: replies, their size and age, and what they cost."""
    from promptlearn.cli.console import count, money, note, print_json, say, table

    with opened_store(store) as found:
        models, size = found.cache.models(), found.cache.size()
        where = found.where
    if as_json:
        print_json({"store": where, "store_bytes": size, "models": [asdict(one) for one in models]})
        return
    if not models:
        note("no reply is kept yet")
        return
    rows = [
        [
            one.model,
            str(one.replies),
            as_size(one.bytes),
            _day(one.oldest),
            _day(one.newest),
            count(one.input_tokens),
            count(one.output_tokens),
            money(one.cost_usd),
        ]
        for one in models
    ]
    table(
        ["model", "replies", "size", "oldest", "newest", "tokens in", "tokens out", "cost"], rows, right=(1, 2, 5, 6, 7)
    )
    say(f"store: {where}, {as_size(size)} with runs and indexes")


@app.command()
def prune(
    older_than: Annotated[
        str | None, typer.Option(metavar="AGE", help="Replies older than this: 90m, 12h, 30d or 8w.")
    ] = None,
    model: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Replies of this model; may be given often.")
    ] = None,
    max_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="The oldest replies, until the rest fits: 500MB, 2GB.")
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove replies by age, model or size; options narrow each other.

    Runs, their rows and decisions stay. A run that asks for a removed reply again pays for it again.
    """
    from promptlearn.errors import UsageError
    from promptlearn.store.cache import Choice

    if older_than is None and not model and max_size is None:
        raise UsageError(
            "say what to remove: --older-than 30d, --model NAME or --max-size 500MB; "
            "`promptlearn cache ls` shows what there is, `promptlearn cache clear` removes everything"
        )
    choice = Choice(
        before=None if older_than is None else _before(older_than),
        models=tuple(model or ()),
        max_bytes=None if max_size is None else as_bytes(max_size),
    )
    with opened_store(store) as found:
        _check_models(found, choice.models)
        _remove(found, choice, dry_run=dry_run, yes=yes, as_json=as_json)


@app.command()
def clear(
    dry_run: DryRunOption = False, yes: YesOption = False, store: StoreOption = None, as_json: JsonOption = False
) -> None:
    """Remove all replies. Runs, their rows and decisions stay."""
    from promptlearn.store.cache import Choice

    with opened_store(store) as found:
        _remove(found, Choice(), dry_run=dry_run, yes=yes, as_json=as_json)


def _remove(store: Store, choice: Choice, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    from promptlearn.cli.console import note
    from promptlearn.store.rows import UNFINISHED

    chosen = store.cache.count(choice)
    waiting = store.reader.runs_in(*UNFINISHED)
    if dry_run or not chosen.replies:
        _print(chosen, None, waiting, as_json)
        return
    _refuse_while_running(store)
    if not yes:
        _warn(waiting)
        _ask(f"remove {_words(chosen)}?", as_json)
    removed = store.cache.remove(choice)
    _print(removed.replies, removed, waiting, as_json)
    if removed.kept:
        note(f"warning: the file keeps its size: {removed.kept}", style="yellow")


def _print(chosen: ReplyRow, removed: Removed | None, waiting: Sequence[str], as_json: bool) -> None:
    from promptlearn.cli.console import print_json, say

    if as_json:
        document = asdict(chosen) | {"dry_run": removed is None, "unfinished_runs": list(waiting)}
        del document["model"]
        print_json(document | {"freed_bytes": removed.freed if removed else 0})
    elif not chosen.replies:
        say("there is nothing to remove")
    elif removed is None:
        say(f"would remove {_words(chosen)}")
        _warn(waiting)
    else:
        smaller = f"; the store is {as_size(removed.freed)} smaller" if removed.freed else ""
        say(f"removed {_words(chosen)}{smaller}")


def _warn(waiting: Sequence[str]) -> None:
    from promptlearn.cli.console import note

    if waiting:
        names = ", ".join(waiting[:SHOWN]) + (" and others" if len(waiting) > SHOWN else "")
        note(f"warning: {names} can still go on, and would pay again for what is removed", style="yellow")


def _words(chosen: ReplyRow) -> str:
    from promptlearn.cli.console import count, money

    tokens = count(chosen.input_tokens + chosen.output_tokens)
    of = f"{chosen.replies} {'reply' if chosen.replies == 1 else 'replies'}"
    cost = "at a cost that is not known" if chosen.cost_usd is None else f"for {money(chosen.cost_usd)}"
    return f"{of} ({as_size(chosen.bytes)}, {tokens} tokens {cost})"


def _refuse_while_running(store: Store) -> None:
    from promptlearn.errors import UsageError

    running = [f"{run} (process {process})" for run, process in store.running().items()]
    if running:
        names = ", ".join(running[:SHOWN]) + (" and others" if len(running) > SHOWN else "")
        raise UsageError(
            f"replies can not be removed while a run is at work, which may need them: {names}; wait for it or stop it"
        )


def _ask(question: str, as_json: bool) -> None:
    from promptlearn.cli.console import note
    from promptlearn.errors import UsageError

    if as_json or not sys.stdin.isatty():
        raise UsageError(f"nobody is there to answer `{question}`: give --yes, or --dry-run to see only")
    if not typer.confirm(question, err=True):
        note("nothing was removed")
        raise typer.Exit(1)


def _check_models(store: Store, names: Sequence[str]) -> None:
    from promptlearn.errors import UsageError

    known = [one.model for one in store.cache.models()] if names else []
    unknown = [name for name in names if name not in known]
    if unknown:
        there = ", ".join(known[:SHOWN]) + (" and others" if len(known) > SHOWN else "")
        raise UsageError(f"no reply of {unknown[0]!r} is kept: there are {there or 'none at all'}")


def _before(age: str) -> str:
    """The moment that long ago, as the store writes it."""
    from promptlearn.errors import UsageError

    match = re.fullmatch(r"(\d+)\s*([mhdw])", age.strip().lower())
    if match is None:
        raise UsageError(f"{age!r} is no age: write a whole number and m, h, d or w, such as 30d")
    try:
        moment = datetime.now(UTC) - timedelta(**{_SPANS[match[2]]: int(match[1])})
    except OverflowError:
        raise UsageError(f"{age!r} is longer ago than any reply; `promptlearn cache ls` shows their age") from None
    return moment.isoformat(timespec="milliseconds")


def as_bytes(size: str) -> int:
    """`500MB`, `1.5 GiB` or `1000` as bytes; raises `UsageError` for what is no size."""
    from promptlearn.errors import UsageError

    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?", size.strip().lower())
    if match is None or match[2] not in _UNITS:
        raise UsageError(f"{size!r} is no size: write a number and kB, MB, GB or TB, such as 500MB")
    return int(float(match[1]) * _UNITS[match[2]])


def as_size(size: int) -> str:
    """Bytes for people, in powers of 1000."""
    amount = float(size)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"


def _day(moment: str | None) -> str:
    return (moment or "")[:10]
