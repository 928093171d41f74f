"""`github pull`: take what people said on pull requests into the store."""

from __future__ import annotations

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptlearn.cli.options import JsonOption, QuietOption, StoreOption, named_store

if TYPE_CHECKING:
    from promptlearn.forge.pull import Request, Summary
    from promptlearn.forge.trust import Policy
    from promptlearn.forge.wire import Traffic

QUIET_LINES = 15.0
"""Seconds between two lines of progress where there is no terminal."""

app = typer.Typer(help="Learn from pull requests on GitHub.", rich_markup_mode=None)

RepoArgument = Annotated[str, typer.Argument(metavar="OWNER/REPO", help="The repository.")]
BaseUrlOption = Annotated[
    str | None,
    typer.Option(
        "--base-url",
        metavar="URL",
        help="Address of a GitHub Enterprise; by default GITHUB_API_URL, else github.com.",
        show_default=False,
    ),
]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="LOGIN", help="Trust this login, a bot too; may be given often."),
]
BotsOption = Annotated[bool, typer.Option("--bots", help="Trust bots and checks.")]
ForksOption = Annotated[bool, typer.Option("--forks", help="Trust reviewers on pull requests from forks too.")]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="MINUTES", min=0, help="Longest wait for one of GitHub's limits.")
]
TokenOption = Annotated[
    str | None, typer.Option("--token-env", metavar="NAME", help="Environment variable that holds the token.")
]


@app.command()
def pull(
    repo: RepoArgument,
    numbers: Annotated[
        list[int] | None, typer.Option("--pr", metavar="N", min=1, help="Only this pull request; may be given often.")
    ] = None,
    since: Annotated[
        str, typer.Option("--since", metavar="DATE", help="Leave out what was not updated since, such as 2026-01-31.")
    ] = "",
    paths: Annotated[
        list[str] | None,
        typer.Option("--paths", metavar="GLOB", help="Only what concerns these files, such as 'prompts/**'."),
    ] = None,
    labels: Annotated[
        list[str] | None, typer.Option("--label", metavar="L", help="Only pull requests with one of these labels.")
    ] = None,
    allow: AllowOption = None,
    bots: BotsOption = False,
    forks: ForksOption = False,
    base_url: BaseUrlOption = None,
    token_env: TokenOption = None,
    wait: WaitOption = 15,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Take reviews, comments, suggestions and check results into the store; they wait there for your approval.

    Given again it asks only for what is new. It only reads: a token that may read pull requests is enough, from
    GITHUB_TOKEN, a GitHub App (GITHUB_APP_ID, GITHUB_APP_PRIVATE_KEY_FILE) or `gh auth login`.

    For example: promptlearn github pull acme/shop --paths 'prompts/**'
    """
    from promptlearn.forge.address import find_address
    from promptlearn.forge.credentials import find_credentials
    from promptlearn.forge.github import check_name
    from promptlearn.forge.pull import Request, parse_since
    from promptlearn.forge.trust import Policy

    address = find_address(base_url, os.environ)
    request = Request(
        check_name(repo), tuple(numbers or ()), parse_since(since), tuple(paths or ()), tuple(labels or ())
    )
    policy = Policy.of(allow, bots=bots, forks=forks)
    credentials = find_credentials(address, os.environ, token_env)
    summary, traffic = _pull(address, credentials, request, policy, wait * 60, named_store(store), quiet or as_json)
    _print(summary, traffic, as_json)


def _pull(
    address: Any, credentials: Any, request: Request, policy: Policy, seconds: float, place: str | None, quiet: bool
) -> tuple[Summary, Traffic]:
    from collections.abc import Callable

    from promptlearn.cli.console import note
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.forge.github import open_github
    from promptlearn.forge.pull import pull as take
    from promptlearn.forge.wire import Patience, tell_nobody
    from promptlearn.store import open_store

    with (
        open_store(place, secrets=credentials.secrets) as store,
        _Progress(request.repo, quiet) as progress,
    ):

        async def work(stopping: Callable[[], bool]) -> tuple[Summary, Traffic]:
            patience = Patience(seconds, tell=tell_nobody if quiet else note)
            async with open_github(address, credentials, request.repo, patience) as forge:
                done = await take(forge, store.feedback, store.pulls, request, policy, progress, stopping)
                return done, forge.traffic

        return run_until_interrupted(work)


class _Progress:
    """What a person sees while pull requests come in: a live line in a terminal, now and then a line elsewhere."""

    def __init__(self, repo: str, quiet: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from promptlearn.cli.console import interactive, stderr

        self._quiet = quiet
        self._last_line = time.monotonic()
        self._bar: Progress | None = None
        if interactive() and not quiet:
            columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
            self._bar = Progress(*columns, TimeElapsedColumn(), console=stderr(), transient=True)
            self._task = self._bar.add_task(f"pull requests of {repo}", total=None)

    def __enter__(self) -> _Progress:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def __call__(self, summary: Summary) -> None:
        from promptlearn.cli.console import note

        if self._bar:
            self._bar.update(self._task, completed=summary.pulls, total=summary.total)
        elif not self._quiet and time.monotonic() - self._last_line > QUIET_LINES:
            self._last_line = time.monotonic()
            of = f" of {summary.total}" if summary.total else ""
            note(f"  … {summary.pulls}{of} pull requests, {summary.kept.new} new comments")


def _print(summary: Summary, traffic: Traffic, as_json: bool) -> None:
    from promptlearn.cli.console import note, print_json, say
    from promptlearn.forge.trust import REASONS

    if as_json:
        print_json(_document(summary, traffic))
        return
    kept = summary.kept
    counts = (
        (kept.new, "new"),
        (kept.edited, "edited"),
        (kept.changed, "changed otherwise"),
        (kept.unchanged, "as before"),
        (summary.outside, "outside the paths"),
        (summary.rejudged, "judged anew"),
    )
    found = ", ".join(f"{count} {name}" for count, name in counts if count)
    say(f"{summary.repo}: {summary.pulls} pull requests read; comments: {found or 'nothing new'}")
    if summary.dropped:
        say("not used: " + ", ".join(f"{count} {REASONS[reason]}" for reason, count in summary.dropped.most_common()))
    if summary.removals:
        taken = (f"{count} × {kind.replace('_', ' ')}" for kind, count in summary.removals.most_common())
        say("taken out of comments: " + ", ".join(taken))
    unchanged = f", {traffic.unchanged} of them answered with `not modified`" if traffic.unchanged else ""
    waited = f", {traffic.waited:.0f} s of waiting" if traffic.waited >= 1 else ""
    say(f"{traffic.requests} requests{unchanged}{waited}")
    for notice in summary.notices:
        note(f"warning: {notice}")
    if kept.new or kept.edited:
        say("next: promptlearn feedback list")


def _document(summary: Summary, traffic: Traffic) -> dict[str, Any]:
    kept = summary.kept
    return {
        "repo": summary.repo,
        "pull_requests": summary.pulls,
        "new": kept.new,
        "edited": kept.edited,
        "changed": kept.changed,
        "unchanged": kept.unchanged,
        "outside": summary.outside,
        "judged_anew": summary.rejudged,
        "dropped": dict(summary.dropped),
        "removed": dict(summary.removals),
        "notices": summary.notices,
        "requests": traffic.requests,
        "conditional_requests": traffic.conditional,
        "not_modified": traffic.unchanged,
        "waited_s": round(traffic.waited, 1),
    }
