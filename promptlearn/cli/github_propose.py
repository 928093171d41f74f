"""`github propose`: a pull request with the learned prompt. The one command that writes to GitHub."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.github import BaseUrlOption
from promptlearn.cli.options import JsonOption, RunArgument, StoreOption, opened_store
from promptlearn.errors import UsageError

if TYPE_CHECKING:
    from promptlearn.forge.address import Address
    from promptlearn.forge.propose import Proposal, Submission
    from promptlearn.forge.winner import Winner

WORDS = {
    "opened": "opened",
    "updated": "updated",
    "unchanged": "already says this",
    "nothing": "nothing to propose: the base branch already says what was learned",
}


def register(app: typer.Typer) -> None:
    app.command()(propose)


def propose(
    which: RunArgument = "latest",
    repo: Annotated[
        str | None,
        typer.Option(
            "--repo",
            metavar="OWNER/REPO",
            envvar="GITHUB_REPOSITORY",
            help="Where to; by default where this checkout came from.",
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="BRANCH", help="What to merge into; by default the default branch.")
    ] = None,
    paths: Annotated[
        list[str] | None,
        typer.Option(
            "--path",
            metavar="FILE",
            help="File from the root of the repository, by default the run's prompt file or files; may be given often. "
            "CLAUDE.md, AGENTS.md and .cursor/rules/*.mdc get a block between markers.",
        ),
    ] = None,
    ready: Annotated[bool, typer.Option("--ready", help="Ready for review instead of a draft.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Propose what was closed without merging once more.")] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print branch, diff and text for the files of this checkout; needs no token."),
    ] = False,
    base_url: BaseUrlOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open a draft pull request with the prompt that a run has proven to be better.

    Writes with the token in PROMPTLEARN_WRITE_TOKEN alone (contents and pull requests: write), never with the one that
    comments are read with. Given again it updates the same pull request; it never merges, and it refuses a file that is
    not what the run began with.
    """
    from promptlearn.forge.address import find_address
    from promptlearn.forge.winner import find_winner

    with opened_store(store) as found:
        winner = find_winner(found, which)
    files = _paths(winner, paths)
    if dry_run:
        _print_proposal(_local_proposal(winner, files), as_json)
        return
    address = find_address(base_url, os.environ)
    done = _submit(winner, files, address, repo or _origin(address), base, draft=not ready, again=again)
    _print_submission(done, winner, as_json)


def _paths(winner: Winner, paths: list[str] | None) -> list[str]:
    from promptlearn.forge.checkout import path_in_checkout

    if paths:
        return [_inside(path) for path in dict.fromkeys(paths)]
    if not winner.own_files:
        raise UsageError(f"run {winner.run} was started from Python and names no file; say with --path which to change")
    return [path_in_checkout(file, Path.cwd()) for file in winner.own_files]


def _inside(path: str) -> str:
    pure = Path(path)
    if pure.is_absolute() or ".." in pure.parts or not pure.name:
        raise UsageError(f"--path {path}: write it from the root of the repository, such as prompts/support.md")
    return pure.as_posix()


def _origin(address: Address) -> str:
    from promptlearn.forge.checkout import origin

    found = origin(Path.cwd(), address.host)
    if found is None:
        raise UsageError(f"this folder is no checkout from {address.host}; say with --repo OWNER/REPO where to propose")
    return found


def _local_proposal(winner: Winner, files: list[str]) -> Proposal:
    from promptlearn.forge.checkout import find_root
    from promptlearn.forge.propose import make_proposal

    own = next(iter(winner.own_files), None)
    folder = find_root(own.parent if own and own.exists() else Path.cwd()) or Path.cwd()
    found = {name: folder / name for name in files}
    bases = {name: path.read_bytes() if path.is_file() else None for name, path in found.items()}
    return make_proposal(winner, bases, f"in {folder}")


def _submit(
    winner: Winner, files: list[str], address: Address, repo: str, base: str | None, *, draft: bool, again: bool
) -> Submission:
    from promptlearn.cli.console import note
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.forge.credentials import find_credentials
    from promptlearn.forge.propose import submit
    from promptlearn.forge.wire import Patience, connect
    from promptlearn.forge.writing import TOKEN_ENV, Writer

    if not os.environ.get(TOKEN_ENV, "").strip():
        raise UsageError(
            f"no token to write with: put one into {TOKEN_ENV} (`contents` and `pull requests`: write; GITHUB_TOKEN is "
            "not taken on purpose, as it is what comments are read with), or look first with --dry-run"
        )
    credentials = find_credentials(address, os.environ, TOKEN_ENV)

    async def work() -> Submission:
        async with connect(address, credentials, repo, writes=True, patience=Patience(tell=note)) as wire:
            return await submit(Writer(wire, repo), winner, files, base, draft=draft, again=again)

    return run_until_interrupted(lambda stopping: work())


def _print_proposal(proposal: Proposal, as_json: bool) -> None:
    from promptlearn.cli.console import note, print_json, say

    diff = "".join(change.diff() for change in proposal.changes)
    if as_json:
        print_json(
            {
                "branch": proposal.branch,
                "title": proposal.title,
                "body": proposal.body,
                "files": [change.path for change in proposal.changes],
                "diff": diff,
            }
        )
        return
    if not proposal.changes:
        note(WORDS["nothing"])
        return
    say(f"branch: {proposal.branch}\ntitle:  {proposal.title}\n\n{diff}\n{proposal.body}".rstrip("\n"))
    note("dry run: nothing was sent; the base branch may differ from this checkout")


def _print_submission(done: Submission, winner: Winner, as_json: bool) -> None:
    from promptlearn.cli.console import note, print_json, say

    if as_json:
        print_json({"run_id": winner.run, **asdict(done)})
    elif done.url is None:
        note(WORDS[done.action])
    else:
        say(done.url)
        note(f"pull request {done.number} into {done.base} {WORDS[done.action]}")
