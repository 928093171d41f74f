"""`dashboard`: the pages that show runs while they work and afterwards."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from promptlearn.cli.options import QuietOption, StoreOption, named_store


def register(app: typer.Typer) -> None:
    app.command()(dashboard)


def dashboard(
    port: Annotated[
        int | None,
        typer.Option(
            help="Port; by default 8501 or the next free one, 0 takes any.", min=0, max=65535, show_default=False
        ),
    ] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Open no browser.")] = False,
    host: Annotated[
        str, typer.Option(help="Address to listen on; any but this machine's needs a password or a proxy.")
    ] = "127.0.0.1",
    allow_hosts: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="Name that browsers may ask for; may be given often."),
    ] = None,
    proxy_header: Annotated[
        str,
        typer.Option("--proxy-header", metavar="NAME", help="Answer only requests in which a proxy sets this header."),
    ] = "",
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> None:
    """Look at runs in a browser, while they work and afterwards; start, pause and stop them.

    Others than this machine get in with the password in PROMPTLEARN_DASHBOARD_PASSWORD. With a secret in
    PROMPTLEARN_WEBHOOK_SECRET it takes GitHub's webhooks at POST /github too; `promptlearn github serve` reads them.

    For example: promptlearn dashboard --port 8600 --no-browser
    """
    from promptlearn.cli.console import interactive, note, say
    from promptlearn.dashboard.server import PASSWORD_ENV, Settings, check_settings, serve

    settings = Settings(
        store=str(_place(store)),
        host=host,
        port=port,
        allowed_hosts=tuple(allow_hosts or ()),
        password=os.environ.get(PASSWORD_ENV, "").strip(),
        proxy_header=proxy_header,
    )
    check_settings(settings)

    def ready(url: str) -> None:
        say(url)
        if not quiet:
            note("Ctrl-C ends it; runs that it started go on")

    serve(settings, ready, _webhooks(settings.store), open_browser=not no_browser and interactive())


def _webhooks(store: str) -> tuple[Any, ...]:
    """The route for GitHub's deliveries, where a secret is set."""
    from promptlearn.forge.serve import SECRET_ENV, Receiver

    secret = os.environ.get(SECRET_ENV, "").strip()
    if not secret:
        return ()
    from promptlearn.dashboard.webhooks import webhook_route
    from promptlearn.forge.address import find_address
    from promptlearn.store import open_store

    opened = open_store(store, secrets=(secret,))
    return (webhook_route(Receiver(opened.deliveries, find_address(None, os.environ).host, secret)),)


def _place(store: str | None) -> str:
    """The store as a path from the root, or a URL: runs are started from other folders."""
    from promptlearn.store.place import find_place

    named = named_store(store)
    place = find_place(named)
    return str(place.file) if place.file else str(named)
