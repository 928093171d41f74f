"""`feedback approve`, `edit`, `dismiss` and `reopen`: what a person decides, and as whom."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptlearn.cli.feedback import (
    AuthorOption,
    KindOption,
    PathsOption,
    RefArgument,
    RepoOption,
    SupportOption,
)
from promptlearn.cli.feedback_entries import (
    check_kinds,
    choose,
    document,
    remarks,
    short,
    standing,
    survey_store,
    why_not_used,
)
from promptlearn.cli.options import JsonOption, StoreOption, opened_store

if TYPE_CHECKING:
    from promptlearn.feedback.survey import Entry
    from promptlearn.store import Store
    from promptlearn.store.feedback_rows import FeedbackRow

RefsArgument = Annotated[
    list[str] | None, typer.Argument(metavar="[REF]...", help="Comments: the digits that `feedback list` shows.")
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Say what would be decided, and decide nothing.")]
SeenOption = Annotated[
    str | None,
    typer.Option(
        "--seen",
        metavar="DIGEST",
        help="Decide only if the comment and its rule still read as they did: the `digest` of `feedback show`.",
    ),
]
NoteOption = Annotated[str, typer.Option("--note", metavar="TEXT", help="Why, for those who ask later.")]
RuleOption = Annotated[
    str | None, typer.Option("--rule", metavar="TEXT", help="The rule in your words, in place of the distilled one.")
]


def register(app: typer.Typer) -> None:
    for command in (approve, edit, dismiss, reopen):
        app.command()(command)


def approve(
    refs: RefsArgument = None,
    kinds: KindOption = None,
    min_support: SupportOption = 1,
    repo: RepoOption = None,
    author: AuthorOption = None,
    rule: RuleOption = None,
    seen: SeenOption = None,
    note_text: NoteOption = "",
    auto_approve: Annotated[
        str | None,
        typer.Option(
            "--auto-approve",
            metavar="trusted",
            help="Approve what looks like a rule by people with write permission, unread; the configuration has to say "
            "`reviews: {from: store, auto_approve: trusted}`.",
        ),
    ] = None,
    paths: PathsOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let comments be learned from: those that you name, or with --class all that your filters let through.

    What is approved is the rule that `feedback list` shows, or yours (--rule); an edit of the comment takes it back.
    With filters it lists what they let through and asks; what contradicts another statement, hid something or speaks to
    the program that reads it is left out, for you to look at.

    For example: promptlearn feedback approve --class rule --min-support 2
    """
    from promptlearn.errors import UsageError

    check_kinds(kinds)
    if auto_approve is not None:
        _check_auto_approve(auto_approve, refs, kinds)
        kinds = ["rule"]
    if bool(refs) == bool(kinds):
        raise UsageError("name comments, or say which with --class (and --min-support, --repo, --author); not both")
    if rule is not None and len(refs or ()) != 1:
        raise UsageError("--rule is the wording of one comment; name just that one")
    if seen is not None and len(refs or ()) != 1:
        raise UsageError("--seen is about one comment; name just that one")
    with opened_store(store) as found:
        entries = survey_store(found, paths)
        if refs:
            chosen = [named(found, entries, ref, seen) for ref in refs]
            for entry in chosen:
                _refuse(entry, rule)
        else:
            open_ones = [entry for entry in entries if entry.row.state == "pending" and entry.speaker == entry.ref]
            chosen = choose(open_ones, kinds, min_support, repo, author)
            chosen = _without_doubtful(chosen, as_json)
            if chosen and not dry_run and auto_approve is None:
                _list(chosen, as_json)
                _confirm(f"approve {_count(chosen)}?", yes, as_json)
        by = f"auto-approve {auto_approve} ({person()})" if auto_approve else person()
        decided = [] if dry_run else decide(found, chosen, "approved", by, note_text, rule)
        report(chosen, decided, "approve", as_json)


def edit(
    ref: RefArgument,
    rule: RuleOption = None,
    seen: SeenOption = None,
    note_text: NoteOption = "",
    paths: PathsOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Approve a comment in words of your own: --rule, or your $EDITOR with the distilled rule in it."""
    from promptlearn.errors import UsageError

    with opened_store(store) as found:
        entry = named(found, survey_store(found, paths), ref, seen)
        words = rule if rule is not None else _from_editor(entry)
        if not words.strip():
            raise UsageError("the rule is empty, so nothing was decided; `feedback dismiss` leaves a comment out")
        _refuse(entry, words)
        decided = decide(found, [entry], "approved", person(), note_text, words)
        report([entry], decided, "approve", as_json)


def dismiss(
    refs: RefsArgument = None,
    kinds: KindOption = None,
    repo: RepoOption = None,
    author: AuthorOption = None,
    seen: SeenOption = None,
    note_text: NoteOption = "",
    paths: PathsOption = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Leave comments out, also those that were approved; a guard that came from them alone goes too."""
    from promptlearn.errors import UsageError

    check_kinds(kinds)
    if bool(refs) == bool(kinds):
        raise UsageError("name comments, or say which with --class (and --repo, --author); not both")
    if seen is not None and len(refs or ()) != 1:
        raise UsageError("--seen is about one comment; name just that one")
    with opened_store(store) as found:
        entries = survey_store(found, paths)
        if refs:
            chosen = [named(found, entries, ref, seen) for ref in refs]
        else:
            chosen = choose([entry for entry in entries if entry.row.state == "pending"], kinds, 1, repo, author)
            if chosen and not dry_run:
                _list(chosen, as_json)
                _confirm(f"dismiss {_count(chosen)}?", yes, as_json)
        decided = [] if dry_run else decide(found, chosen, "dismissed", person(), note_text)
        _let_go(found, decided)
        report(chosen, decided, "dismiss", as_json)


def reopen(ref: RefArgument, paths: PathsOption = None, store: StoreOption = None, as_json: JsonOption = False) -> None:
    """Take back what was decided about a comment."""
    with opened_store(store) as found:
        entry = named(found, survey_store(found, paths), ref)
        decided = decide(found, [entry], "pending", person(), "")
        report([entry], decided, "reopen", as_json)


def person() -> str:
    """Who decides: as git knows them here, else as the system does."""
    try:
        asked = subprocess.run(
            ["git", "config", "--get", "user.name"],  # noqa: S607 - the git of the user's own path
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
        name = asked.stdout.strip() if asked.returncode == 0 else ""
    except (OSError, subprocess.TimeoutExpired):
        name = ""
    return name or os.environ.get("USER") or os.environ.get("LOGNAME") or "unknown"


def _check_auto_approve(wanted: str, refs: Sequence[str] | None, kinds: Sequence[str] | None) -> None:
    from promptlearn.config.reviews import stated_reviews
    from promptlearn.errors import UsageError

    if wanted != "trusted":
        raise UsageError(f"--auto-approve {wanted!r} is not possible; possible: trusted")
    if stated_reviews(Path()).get("auto_approve") != "trusted":
        raise UsageError(
            "--auto-approve needs a promptlearn.yaml here that allows it: "
            "`reviews: {from: store, auto_approve: trusted}`; then nobody reads what a prompt learns from"
        )
    if refs or kinds:
        raise UsageError("--auto-approve approves rules by trusted authors, and takes no comments and no --class")


def named(store: Store, entries: Sequence[Entry], ref: str, seen: str | None = None) -> Entry:
    """The entry of a comment. Raises `UsageError` for one that reads otherwise than it did when it was `seen`."""
    from promptlearn.errors import UsageError

    row = store.feedback.get(ref)
    entry = next(entry for entry in entries if entry.ref == row.ref)
    if seen is not None and seen != entry.digest:
        raise UsageError(
            f"comment {short(entry.ref)} was changed since it was shown, so nothing was decided; look at it again and "
            "decide then"
        )
    return entry


def _refuse(entry: Entry, rule: str | None) -> None:
    """Raises `UsageError` for what may not be approved, however much a person wants it."""
    from promptlearn.errors import UsageError
    from promptlearn.feedback.screen import addresses_machine, objections

    name = short(entry.ref)
    if why := why_not_used(entry):
        raise UsageError(
            f"comment {name} is {why}, so it is not used; `promptlearn github pull --allow LOGIN` trusts its author, "
            "`promptlearn feedback add` says the same in your name"
        )
    own = f"word it yourself: promptlearn feedback edit {name} --rule TEXT"
    if rule is None and entry.suspicions:
        raise UsageError(f"comment {name}: {'; '.join(entry.suspicions)}; look at it with `feedback show`, and {own}")
    words = entry.rule if rule is None else " ".join(rule.split())
    if found := (*objections(words), *filter(None, [addresses_machine(words)])):
        raise UsageError(f"“{words[:80]}” can not be a rule: {'; '.join(found)}; {own}")


def _without_doubtful(chosen: Sequence[Entry], quiet: bool) -> list[Entry]:
    """What can be approved together with others; says what can not."""
    from promptlearn.cli.console import note

    fit = []
    for entry in chosen:
        doubts = [why_not_used(entry), *entry.suspicions, *entry.objections]
        doubts += [f"it contradicts {', '.join(map(short, entry.against))}"] if entry.against else []
        if any(doubts):
            if not quiet:
                note(f"left out: {short(entry.ref)} ({'; '.join(filter(None, doubts))})", style="yellow")
        else:
            fit.append(entry)
    return fit


def decide(
    store: Store, entries: Sequence[Entry], state: Any, by: str, note_text: str, rule: str | None = None
) -> list[FeedbackRow]:
    async def work() -> list[FeedbackRow]:
        decided = []
        for entry in entries:
            words = entry.rule if rule is None else " ".join(rule.split())
            decided.append(
                await store.feedback.decide(
                    entry.ref,
                    state,
                    by,
                    text=words if state == "approved" else None,
                    note=note_text,
                    seen=entry.row.received.text,
                )
            )
        return decided

    found: list[FeedbackRow] = run(work)
    return found


def _let_go(store: Store, dismissed: Sequence[FeedbackRow]) -> None:
    """Guards that came from nothing but these comments are let go."""
    names = {name for row in dismissed for name in (row.ref, row.received.comment.url)}
    kept = {row.guard.id: row.guard for row in store.guards.items()}.values()
    gone = [guard.id for guard in kept if guard.sources and names.issuperset(guard.sources)]

    async def work() -> None:
        for id in gone:
            await store.guards.drop(id)

    if gone:
        run(work)


def report(chosen: Sequence[Entry], decided: Sequence[FeedbackRow], verb: str, as_json: bool) -> None:
    """Say what was decided; `decided` is empty where that was only a try."""
    from dataclasses import replace

    from promptlearn.cli.console import note, print_json, say

    rows = {row.ref: row for row in decided}
    now = [
        replace(entry, row=row, rule=row.text if row.state == "approved" else entry.found.rule)
        for entry in chosen
        if (row := rows.get(entry.ref, entry.row))
    ]
    if as_json:
        print_json([document(entry) | {"decided": bool(decided)} for entry in now])
        return
    if not chosen:
        note("nothing to decide")
    for entry in now:
        by = f" by {entry.row.decision.by}" if entry.row.decision else ""
        what = f"{entry.row.state}{by}" if decided else f"would {verb}"
        say(f"{short(entry.ref)} {what}: {entry.rule or entry.kind}")
        if decided and entry.row.state == "approved" and entry.against:
            note(f"warning: {short(entry.ref)} contradicts {', '.join(map(short, entry.against))}", style="yellow")


def _list(chosen: Sequence[Entry], quiet: bool) -> None:
    from promptlearn.cli.console import table

    if not quiet:
        rows = [[short(entry.ref), entry.kind, standing(entry), entry.rule, remarks(entry)] for entry in chosen]
        table(["ref", "class", "support", "rule", "remarks"], rows)


def _count(chosen: Sequence[Entry]) -> str:
    return f"{len(chosen)} {'comment' if len(chosen) == 1 else 'comments'}"


def _confirm(question: str, yes: bool, as_json: bool) -> None:
    from promptlearn.cli.console import note
    from promptlearn.errors import UsageError

    if yes:
        return
    if as_json or not sys.stdin.isatty():
        raise UsageError(f"nobody is there to answer `{question}`: give --yes, or --dry-run to see only")
    if not typer.confirm(question, err=True):
        note("nothing was decided")
        raise typer.Exit(1)


def _from_editor(entry: Entry) -> str:
    """The rule as a person leaves it in their editor; lines that begin with # are for them."""
    import shlex
    import tempfile

    from promptlearn.errors import UsageError

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UsageError("no editor is named in EDITOR; give the words with --rule TEXT")
    said = "\n".join(f"# {line}" for line in entry.row.received.text.splitlines())
    with tempfile.TemporaryDirectory(prefix="promptlearn-") as folder:
        file = Path(folder) / "rule.txt"
        file.write_text(
            f"{entry.rule}\n\n# The comment, and all lines with a # in front, are left out:\n{said}\n", "utf-8"
        )
        done = subprocess.run([*shlex.split(editor), str(file)], check=False)  # noqa: S603 - the user's own editor
        if done.returncode:
            raise UsageError(f"{editor} ended with {done.returncode}, so nothing was decided")
        lines = file.read_text(encoding="utf-8").splitlines()
    words = " ".join(" ".join(line for line in lines if not line.startswith("#")).split())
    if words == " ".join(entry.rule.split()):
        raise UsageError(
            f"the rule is as it was, so nothing was decided; `promptlearn feedback approve {entry.ref[:8]}` approves it"
        )
    return words


def run(work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    from promptlearn.cli.interrupt import run_until_interrupted

    return run_until_interrupted(lambda stopping: work())
