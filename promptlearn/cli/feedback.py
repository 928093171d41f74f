"""`feedback list`, `show` and `guards`: what reviewers said, what it is, and what became of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptlearn.cli.feedback_entries import (
    check_kinds,
    check_state,
    choose,
    document,
    remarks,
    short,
    standing,
    survey_store,
    trust,
    why_not_used,
)
from promptlearn.cli.options import JsonOption, StoreOption, opened_store

if TYPE_CHECKING:
    from promptlearn.feedback.survey import Entry

app = typer.Typer(help="See what reviewers said, and decide what may be learned from it.", rich_markup_mode=None)

RefArgument = Annotated[str, typer.Argument(metavar="REF", help="A comment: the digits that `feedback list` shows.")]
KindOption = Annotated[
    list[str] | None,
    typer.Option(
        "--class",
        metavar="CLASS",
        help="rule, one_off, question, praise, nit or out_of_scope; may be given often.",
    ),
]
SupportOption = Annotated[
    int, typer.Option("--min-support", metavar="N", min=1, help="Said by N authors or on N pull requests at least.")
]
RepoOption = Annotated[str | None, typer.Option("--repo", metavar="OWNER/REPO", help="Said in this repository.")]
PathsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--paths",
        metavar="GLOB",
        help="Which files are prompts, such as 'prompts/**'; by default what `reviews.paths` says, else any.",
    ),
]
AuthorOption = Annotated[str | None, typer.Option("--author", metavar="LOGIN", help="Said by this person.")]


@app.command("list")
def list_comments(
    kinds: KindOption = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="STATE", help="pending, approved or dismissed.")
    ] = None,
    min_support: SupportOption = 1,
    repo: RepoOption = None,
    number: Annotated[int | None, typer.Option("--pr", metavar="N", min=1, help="Said on this pull request.")] = None,
    author: AuthorOption = None,
    paths: PathsOption = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also what is dismissed, not used, or says what another comment says.")
    ] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what was said: one line for each statement, what most people say first.

    Comments that say the same are one statement, and the oldest speaks for all. What is no rule is listed too, so that
    you can correct it: `feedback edit REF --rule TEXT` makes a rule of anything.

    For example: promptlearn feedback list --class rule --min-support 2
    """
    from promptlearn.cli.console import print_json

    check_kinds(kinds)
    check_state(state)
    with opened_store(store) as found:
        entries = survey_store(found, paths)
    chosen = [
        entry
        for entry in choose(entries, kinds, min_support, repo, author)
        if (state is None or entry.row.state == state)
        and (number is None or entry.row.received.comment.pull == number)
        and (everything or (state is not None and entry.row.state == state) or _is_open(entry, entries))
    ]
    if as_json:
        print_json([document(entry) for entry in chosen])
        return
    _print(chosen, entries)


@app.command()
def show(ref: RefArgument, paths: PathsOption = None, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Show a comment: its words, what was taken out of them, what they are taken for and why, and who says the same."""
    from promptlearn.cli.console import print_json

    with opened_store(store) as found:
        row = found.feedback.get(ref)
        entries = survey_store(found, paths)
        events = found.feedback.events(row.ref)
    entry = next(one for one in entries if one.ref == row.ref)
    if as_json:
        history = [{"kind": event.kind, "at": event.at, "before": event.body} for event in events]
        print_json(document(entry) | {"events": history, "criterion": _criterion(entry)})
        return
    _print_entry(entry, entries)
    _print_events(events)


@app.command()
def guards(
    drop: Annotated[
        list[str] | None, typer.Option("--drop", metavar="ID", help="Let this guard go; may be given often.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """List what prompts learned from reviewers, which later runs may not lose."""
    from dataclasses import asdict

    from promptlearn.cli.console import note, print_json, table
    from promptlearn.cli.interrupt import run_until_interrupted

    async def let_go() -> None:
        for id in drop or ():
            await found.guards.drop(id)

    with opened_store(store) as found:
        if drop:
            run_until_interrupted(lambda stopping: let_go())
        rows = found.guards.items()
    if as_json:
        print_json([asdict(row) | {"id": row.guard.id, "measured": row.measured} for row in rows])
        return
    if not rows:
        note("no prompt has learned anything from reviewers that is guarded")
        return
    table(
        ["guard", "prompt", "rule", "kept before", "kept", "rows", "run"],
        [
            [
                row.guard.id,
                row.scope,
                row.guard.rule,
                str(row.before) if row.measured else "not measured",
                str(row.after) if row.measured else "not measured",
                str(row.rows),
                row.guard.run,
            ]
            for row in rows
        ],
        right=(3, 4, 5),
    )


def _is_open(entry: Entry, entries: Sequence[Entry]) -> bool:
    """Whether anybody has to look at it: it may count, and nobody has decided about it or what says the same."""
    if entry.row.received.dropped or entry.row.state == "dismissed":
        return False
    if entry.row.state == "approved":
        return True
    approved = {one.ref for one in entries if one.row.usable}
    return entry.speaker == entry.ref and not approved.intersection(entry.same)


def _print(chosen: Sequence[Entry], entries: Sequence[Entry]) -> None:
    from promptlearn.cli.console import note, table

    if not entries:
        note("nothing was said yet: `promptlearn github pull OWNER/REPO` reads comments, `feedback import` a file")
        return
    rows = [
        [
            short(entry.ref),
            entry.row.state,
            entry.kind,
            standing(entry),
            entry.row.received.comment.author.login or "–",
            trust(entry) or "no",
            entry.rule if entry.kind == "rule" or entry.row.state == "approved" else _words(entry),
            remarks(entry) or entry.found.reason,
        ]
        for entry in chosen
    ]
    table(["ref", "state", "class", "support", "author", "trust", "rule or words", "why"], rows)
    counts = Counter(entry.kind for entry in entries if not entry.row.received.dropped)
    dropped = Counter(why_not_used(entry) for entry in entries if entry.row.received.dropped)
    words = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in counts.most_common())
    unused = ", ".join(f"{count} {why}" for why, count in dropped.most_common())
    shown = f"{len(chosen)} of {len(entries)} comments shown: {words or 'none that count'}"
    note(f"{shown}; not used: {unused}" if unused else shown)


def _words(entry: Entry) -> str:
    line = " ".join(entry.row.received.text.split())
    return line if len(line) <= 100 else line[:99] + "…"


def _print_entry(entry: Entry, entries: Sequence[Entry]) -> None:
    from promptlearn.cli.console import say

    row, comment = entry.row, entry.row.received.comment
    where = f"{comment.path}:{comment.line or comment.original_line or ''}".rstrip(":") if comment.path else ""
    say(f"{entry.ref}  {row.state}")
    say(f"author:  {comment.author.login or '(deleted)'} ({row.received.permission or comment.association.lower()})")
    said = [comment.url or f"{comment.repo} {comment.pull or ''}".strip(), where, comment.created_at]
    say(f"said:    {', '.join(filter(None, said))}")
    if why_not_used(entry):
        say(f"not used: {why_not_used(entry)}")
    say(f"class:   {entry.kind}: {entry.found.reason} ({entry.found.by})")
    say(f"rule:    {entry.rule or '–'}")
    say(f"checked: {_criterion(entry)}")
    say(f"digest:  {entry.digest}")
    say(f"support: {standing(entry)}")
    others = [one for one in entries if one.ref in entry.same and one.ref != entry.ref]
    for title, refs in (("same", [one.ref for one in others]), ("against", list(entry.against))):
        for one in (found for found in entries if found.ref in refs):
            say(f"{title + ':':<8} {short(one.ref)} {one.row.received.comment.author.login}: {one.rule}")
    for words in (*entry.suspicions, *entry.objections):
        say(f"careful: {words}")
    for removal in row.received.removals:
        say(f"removed: {removal.kind.replace('_', ' ')}: {removal.detail}")
    say("")
    say(row.received.text)
    if comment.hunk:
        say("")
        say("\n".join(comment.hunk.splitlines()[-8:]))


def _criterion(entry: Entry) -> str:
    """How the rule can be checked in answers."""
    from promptlearn.judging.rule_checks import find_checks, is_whole

    checks = find_checks(entry.rule)
    if not checks:
        return "by models.judge, where there is one"
    parts = ", ".join(f"“{check.part}”" for check in checks)
    rest = "" if is_whole(entry.rule, checks) else "; all of it by models.judge, where there is one"
    return f"by code: {parts}{rest}"


def _print_events(events: Sequence[Any]) -> None:
    from promptlearn.cli.console import say

    if events:
        say("")
    for event in events:
        by = f" by {event.body['by']}" if event.body.get("by") else ""
        text = event.body.get("text")
        words = f": {' '.join(text.split())}" if text else ""
        before = ", before" if event.kind == "edited" else ""
        say(f"{event.at[:16].replace('T', ' ')} {event.kind}{by}{before}{words}")
