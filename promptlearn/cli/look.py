"""`runs`, `show`, `diff` and `export`: what is in the store, and how to get a prompt out of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptlearn.cli.options import JsonOption, RunArgument, StoreOption, opened_store

if TYPE_CHECKING:
    from promptlearn.report import CandidateReport, ExampleReport, RunReport
    from promptlearn.store import Store

VersionOption = Annotated[
    str, typer.Option("--version", help="baseline, best, a candidate's number, or the beginning of a digest.")
]


def register(app: typer.Typer) -> None:
    for command in (runs, show, diff, export):
        app.command()(command)


def runs(
    store: StoreOption = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """All runs of the store: state, outcome, score before and after."""
    from promptlearn.cli.console import percent, print_json, table
    from promptlearn.report import list_runs

    with opened_store(store) as found:
        summaries = list_runs(found)[:limit]
    if as_json:
        print_json([asdict(summary) for summary in summaries])
        return
    rows = [
        [
            one.id,
            one.created_at[:16],
            one.state,
            one.decision or "–",
            percent(one.baseline_score),
            percent(one.best_score),
        ]
        for one in summaries
    ]
    table(["run", "started (UTC)", "state", "outcome", "baseline", "best"], rows, right=(4, 5))


def show(
    which: RunArgument = "latest",
    version: VersionOption = "best",
    prompt: Annotated[bool, typer.Option("--prompt", help="Print that version of the prompt alone.")] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="Rules and demonstrations with their sources and worth.")
    ] = False,
    examples: Annotated[bool, typer.Option("--examples", help="Its rows, with the judges' words.")] = False,
    split: Annotated[str | None, typer.Option(help="Rows of one split only.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """One run: its candidates and decisions, and with options its prompt, rules or rows."""
    from promptlearn.report import load_run

    with opened_store(store) as found:
        report = load_run(found, which)
        if prompt:
            _show_prompt(found, report, version, as_json)
        elif rules:
            _show_rules(found, report, version, as_json)
        elif examples:
            _show_examples(found, report, version, split, as_json)
        else:
            _show_run(report, as_json)


def diff(
    which: RunArgument = "latest",
    old: Annotated[str, typer.Option("--from", help="The version before.")] = "baseline",
    new: Annotated[str, typer.Option("--to", help="The version after.")] = "best",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """What changed between two versions of a run's prompt, as a unified diff."""
    from promptlearn.cli.console import note, print_json
    from promptlearn.report import diff as prompt_diff

    with opened_store(store) as found:
        text = prompt_diff(found, which, old, new)
    if as_json:
        print_json({"from": old, "to": new, "diff": text})
    elif text:
        typer.echo(text, nl=False)
    else:
        note(f"{old} and {new} are the same")


def export(
    which: RunArgument = "latest",
    to: Annotated[Path | None, typer.Option("--to", help="Where to; by default the text goes to stdout.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write it into the prompt file of the run.")] = False,
    version: VersionOption = "best",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a version of the prompt in the form of the run's prompt file; every byte outside the prompt stays."""
    from promptlearn.cli.console import print_json, say
    from promptlearn.errors import UsageError
    from promptlearn.prompt import bind_variables, chat_file, read_prompt
    from promptlearn.report import find_version, load_run
    from promptlearn.report import prompt as stored_prompt

    if to is not None and in_place:
        raise UsageError("--to and --in-place both say where to write; give one of them")
    with opened_store(store) as found:
        report = load_run(found, which)
        digest = find_version(report, version)
        learned = stored_prompt(found, report.id, version)
        baseline = stored_prompt(found, report.id, "baseline")
    source = report.config.get("prompt") if isinstance(report.config, dict) else None
    if source:
        file = read_prompt(Path(source["file"]), key=source.get("key"))
        now = bind_variables(file.prompt, baseline.contract.variables, literals=file.literals)
        if now.learned_text() != baseline.learned_text():
            raise UsageError(
                f"{file.path} has changed since the run, and exporting would undo that; "
                "run again from the new text, or write elsewhere from the run's own files "
                f"(promptlearn show {report.id} --prompt)"
            )
    elif in_place:
        raise UsageError(f"run {report.id} was started from Python and has no prompt file; give --to FILE")
    else:
        file = chat_file(baseline)
    target = file.path if in_place else to
    if target is None:
        typer.echo(file.render_file(learned).decode("utf-8"), nl=False)
        return
    file.write(learned, target)
    if as_json:
        print_json({"run_id": report.id, "digest": digest, "path": str(target)})
    else:
        say(str(target))


def _show_run(report: RunReport, as_json: bool) -> None:
    from promptlearn.cli.console import percent, print_json, say, table

    if as_json:
        print_json(_document(report))
        return
    summary = report.summary
    say(f"run {summary.id}   {summary.state}   {summary.created_at[:16]} UTC")
    if summary.stop_reason:
        say(f"stopped: {summary.stop_reason}")
    if summary.decision:
        scores = f"{percent(summary.baseline_score)} → {percent(summary.best_score)}"
        say(f"{summary.decision}: test score {scores}; test split read {report.test_reads} time(s)")
    rows = [
        [
            str(one.number),
            one.digest[:8],
            one.proposer,
            ",".join(parent[:8] for parent in one.parents),
            _scores(one),
            one.decisions[-1].outcome if one.decisions else "",
            one.decisions[-1].reason if one.decisions else "",
        ]
        for one in report.candidates
    ]
    table(["#", "prompt", "proposer", "parent", "train / validation / test", "outcome", "why"], rows, right=(0,))
    say(f"more: promptlearn show {summary.id} --rules | --examples | --prompt, promptlearn diff {summary.id}")


def _scores(candidate: CandidateReport) -> str:
    from promptlearn.cli.console import percent

    known = {row.split: f"{percent(row.mean)} ({row.n})" for row in candidate.scores}
    return " / ".join(known.get(split, "–") for split in ("train", "validation", "test"))


def _document(report: RunReport) -> dict[str, Any]:
    document = asdict(report)
    document["events"] = len(report.events)
    return document


def _show_prompt(store: Store, report: RunReport, version: str, as_json: bool) -> None:
    from promptlearn.cli.console import print_json
    from promptlearn.report import as_document, find_version
    from promptlearn.report import prompt as stored_prompt

    text = as_document(stored_prompt(store, report.id, version))
    if as_json:
        print_json({"digest": find_version(report, version), "prompt": text})
    else:
        typer.echo(text, nl=not text.endswith("\n"))


def _show_rules(store: Store, report: RunReport, version: str, as_json: bool) -> None:
    from promptlearn.cli.console import print_json, table
    from promptlearn.records import as_text
    from promptlearn.report import prompt as stored_prompt

    found = stored_prompt(store, report.id, version)
    parts = [("rule", rule.text, ", ".join(rule.sources), rule.effect) for rule in found.rules]
    for demo in found.demonstrations:
        shown = " / ".join(as_text(value) for value in demo.inputs.values())
        parts.append(("demonstration", f"{shown} → {demo.output}", demo.source, demo.effect))
    if as_json:
        print_json(
            [
                {"kind": kind, "text": text, "sources": source, "effect": asdict(effect) if effect else None}
                for kind, text, source, effect in parts
            ]
        )
        return
    rows = [
        [
            kind,
            text,
            source or "the user",
            f"{effect.score:+.3f} ({effect.ci95.low:+.3f} to {effect.ci95.high:+.3f}, n={effect.n})"
            if effect
            else "not measured",
        ]
        for kind, text, source, effect in parts
    ]
    table(["kind", "text", "from", "worth (95 % interval)"], rows)


def _show_examples(store: Store, report: RunReport, version: str, split: str | None, as_json: bool) -> None:
    from promptlearn.cli.console import print_json, table
    from promptlearn.errors import UsageError
    from promptlearn.records import SPLITS, as_text
    from promptlearn.report import examples

    chosen = next((name for name in SPLITS if name == split), None)
    if split is not None and chosen is None:
        raise UsageError(f"no split is called {split!r}; possible: {', '.join(SPLITS)}")
    rows = examples(store, report.id, version, chosen)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    table(
        ["example", "split", "input", "expected", "output", "score", "judges"],
        [
            [
                row.id[:8],
                row.split,
                _short(" / ".join(as_text(value) for value in row.inputs.values())),
                _short(as_text(row.expected) if row.expected is not None else ""),
                _short(row.output),
                " ".join("–" if verdict.score is None else f"{verdict.score:g}" for verdict in row.verdicts),
                _words(row),
            ]
            for row in rows
        ],
    )


def _words(row: ExampleReport) -> str:
    if row.error:
        return f"{row.error.kind}: {row.error.message}"
    return "; ".join(v.error.message if v.error else v.explanation for v in row.verdicts)


def _short(text: str, width: int = 60) -> str:
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1] + "…"
