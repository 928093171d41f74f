"""`pause`, `stop` and `raise`: what a person asks of a run that works in another process."""

from __future__ import annotations

import getpass
import time
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import JsonOption, RunArgument, StoreOption, opened_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from promptlearn.store import Store
    from promptlearn.store.request_rows import RequestRow

PATIENCE = 10.0
"""Seconds that a command waits for the run's answer."""


def register(app: typer.Typer) -> None:
    app.command()(pause)
    app.command("unpause")(unpause)
    app.command()(stop)
    app.command("raise")(raise_budget)


def pause(which: RunArgument = "latest", store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Let a run that works begin no new call until `promptlearn unpause`. A pause uses up no minutes."""
    from promptlearn import control

    _ask(store, lambda found: control.pause(found, which, _who()), as_json)


def unpause(which: RunArgument = "latest", store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Let a paused run go on. (A run that ended goes on with `promptlearn resume`.)"""
    from promptlearn import control

    _ask(store, lambda found: control.resume(found, which, _who()), as_json)


def stop(which: RunArgument = "latest", store: StoreOption = None, as_json: JsonOption = False) -> None:
    """End a run's calls and save, as Ctrl-C does; `promptlearn resume` goes on from there."""
    from promptlearn import control

    _ask(store, lambda found: control.stop(found, which, _who()), as_json)


def raise_budget(
    caps: Annotated[list[str], typer.Argument(metavar="CAP=VALUE...", help="Such as task_calls=800 or usd=5.")],
    which: Annotated[
        str, typer.Option("--run", metavar="RUN", help="Id of a run, its beginning, or `latest`.")
    ] = "latest",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Raise caps of a run that works.

    For example: promptlearn raise task_calls=800
    """
    from promptlearn import control

    wanted = dict(_cap(one) for one in caps)
    _ask(store, lambda found: control.raise_budget(found, which, _who(), wanted), as_json)


def _cap(text: str) -> tuple[str, float]:
    from promptlearn.errors import UsageError

    name, _, value = text.partition("=")
    try:
        return name.removeprefix("budget."), float(value)
    except ValueError:
        raise UsageError(f"{text!r} is no cap: write it as task_calls=800") from None


def _ask(where: str | None, ask: Callable[[Store], RequestRow], as_json: bool) -> None:
    """Leave a request, and wait a little for what the run makes of it."""
    from dataclasses import asdict

    from promptlearn.cli.console import print_json, say

    with opened_store(where) as store:
        request = ask(store)
        until = time.monotonic() + PATIENCE
        while request.state == "waiting" and time.monotonic() < until:
            time.sleep(0.2)
            request = next(one for one in store.requests.items(request.run) if one.id == request.id)
    if as_json:
        print_json(asdict(request))
    elif request.state == "waiting":
        say(f"run {request.run} has not answered yet; it looks about once a second")
    else:
        say(f"run {request.run}: {request.note}")


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "somebody"
