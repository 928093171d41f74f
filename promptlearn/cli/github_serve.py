"""`github serve`: takes GitHub's webhooks in, and reads the pull requests that they name again."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.github import AllowOption, BaseUrlOption, BotsOption, ForksOption, TokenOption
from promptlearn.cli.options import QuietOption, StoreOption, named_store

if TYPE_CHECKING:
    from collections.abc import Callable

    from promptlearn.forge.address import Address
    from promptlearn.forge.credentials import Credentials
    from promptlearn.forge.serve import ReadAgain, Tell
    from promptlearn.forge.trust import Policy
    from promptlearn.store import Store


def register(app: typer.Typer) -> None:
    app.command()(serve)


def serve(
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", help="Port to listen on; 0 takes a free one.", min=0, max=65535)
    ] = 8787,
    repos: Annotated[
        list[str] | None,
        typer.Option("--repo", metavar="OWNER/REPO", help="Only this repository; may be given often. By default any."),
    ] = None,
    allow_unsigned: Annotated[
        bool, typer.Option("--allow-unsigned", help="Do without a secret, for a try on this machine alone.")
    ] = False,
    allow: AllowOption = None,
    bots: BotsOption = False,
    forks: ForksOption = False,
    base_url: BaseUrlOption = None,
    token_env: TokenOption = None,
    store: StoreOption = None,
    quiet: QuietOption = False,
) -> None:
    """Take webhooks at POST /github, and read each pull request again that one names.

    The webhook's secret stands in PROMPTLEARN_WEBHOOK_SECRET. What is to be read is on the disk before the answer, so
    that a restart goes on with it. Ctrl-C ends the reading under way first. Comments are read with the token that
    `promptlearn github pull` takes, and trusted by the same rules.
    """
    from promptlearn.cli.console import note
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.forge.address import find_address
    from promptlearn.forge.credentials import find_credentials
    from promptlearn.forge.github import check_name
    from promptlearn.forge.serve import SECRET_ENV, check_secret
    from promptlearn.forge.trust import Policy
    from promptlearn.store import open_store

    secret = os.environ.get(SECRET_ENV, "").strip()
    check_secret(secret, host, allow_unsigned)
    names = [check_name(repo) for repo in repos or ()]
    address = find_address(base_url, os.environ)
    credentials = find_credentials(address, os.environ, token_env)
    policy = Policy.of(allow, bots=bots, forks=forks)

    def tell(text: str) -> None:
        if not quiet:
            note(text)

    with open_store(named_store(store), secrets=(secret, *credentials.secrets)) as opened:
        read_again = _reading(opened, address, credentials, policy, tell)
        run_until_interrupted(
            lambda stopping: _serve(opened, address, secret, names, (host, port), read_again, tell, stopping)
        )


async def _serve(
    store: Store,
    address: Address,
    secret: str,
    repos: list[str],
    place: tuple[str, int],
    read_again: ReadAgain,
    tell: Tell,
    stopping: Callable[[], bool],
) -> None:
    from promptlearn.cli.console import say
    from promptlearn.forge.serve import Receiver, Worker, listening, make_app

    worker = Worker(store.deliveries, read_again, tell)
    receiver = Receiver(store.deliveries, address.host, secret, repos, worker.wake)
    async with listening(make_app(receiver), *place) as url:
        say(f"{url}/github")
        await worker.run(stopping)


def _reading(store: Store, address: Address, credentials: Credentials, policy: Policy, tell: Tell) -> ReadAgain:
    """What reads one pull request again, with the token for reading."""
    from promptlearn.forge.github import open_github
    from promptlearn.forge.pull import Request, pull
    from promptlearn.forge.webhooks import PullRef
    from promptlearn.forge.wire import Patience

    async def read_again(of: PullRef) -> None:
        async with open_github(address, credentials, of.repo, Patience(tell=tell)) as forge:
            await pull(forge, store.feedback, store.pulls, Request(of.repo, numbers=(of.number,)), policy)

    return read_again
