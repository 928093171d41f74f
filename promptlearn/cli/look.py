"""`runs`, `show` and `diff`: what is in the store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from promptlearn.cli.options import JsonOption, RunArgument, StoreOption, VersionOption, opened_store

if TYPE_CHECKING:
    from promptlearn.records import Example, Split
    from promptlearn.report import CandidateReport, ExampleReport, Part, RunReport, RunSummary
    from promptlearn.store import Store


def register(app: typer.Typer) -> None:
    for command in (runs, show, diff):
        app.command()(command)


def runs(
    store: StoreOption = None,
    limit: Annotated[int, typer.Option(help="How many, the newest first.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List runs and evaluations, the newest first."""
    from promptlearn.cli.console import as_score, note, print_json, say, table
    from promptlearn.report import list_runs

    with opened_store(store) as found:
        summaries = list_runs(found, limit)
    if as_json:
        print_json([asdict(summary) for summary in summaries])
        return
    if not summaries:
        note("no run yet: start one with `promptlearn run`")
        return
    rows = [
        [one.id, _moment(one), _outcome(one), as_score(one.baseline_score), as_score(one.best_score)]
        for one in summaries
    ]
    table(["run", "started (UTC)", "outcome", "baseline", "best"], rows, right=(3, 4), whole=(0, 1))
    for one in summaries:
        if one.state == "killed":
            say(f"{one.id} was killed: {goes_on_by(one)}")


def _moment(summary: RunSummary) -> str:
    return summary.created_at[:16].replace("T", " ")


def _outcome(summary: RunSummary) -> str:
    """What came of it; for a run that is not finished, also its state."""
    if summary.is_evaluation:
        return "evaluated" if summary.state == "finished" else f"eval {summary.state}"
    if summary.is_tuning:
        return "tuned" if summary.state == "finished" else f"tuning {summary.state}"
    words = [word for word in (summary.decision, summary.state) if word and word != "finished"]
    of = f"judge {summary.aligns.split()[0]}: " if summary.aligns else ""
    return of + (", ".join(words) or summary.state)


def goes_on_by(summary: RunSummary) -> str:
    """How a run goes on that was killed."""
    if summary.is_evaluation:
        return "`promptlearn eval`, given again, pays for nothing twice"
    if summary.is_tuning:
        return "`promptlearn tune run`, given again, goes on with it"
    if summary.aligns:
        return "`promptlearn judge align`, given again, goes on with it"
    return f"`promptlearn resume {summary.id}` goes on with it"


def show(
    which: RunArgument = "latest",
    version: VersionOption = "best",
    prompt: Annotated[bool, typer.Option("--prompt", help="Print that version of the prompt alone.")] = False,
    rules: Annotated[
        bool, typer.Option("--rules", help="Rules and demonstrations with their sources and worth.")
    ] = False,
    failures: Annotated[
        bool, typer.Option("--failures", help="How it fails on the train rows, the dearest kind of mistake first.")
    ] = False,
    pareto: Annotated[
        bool,
        typer.Option("--pareto", help="Its prompts by quality, cost, latency and length, and those no other beats."),
    ] = False,
    examples: Annotated[bool, typer.Option("--examples", help="Its rows, with the judges' words.")] = False,
    split: Annotated[
        Literal["train", "validation", "test"] | None, typer.Option(help="With --examples: rows of one split only.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a run: its candidates and decisions, and what each proposer earned.

    Or one prompt of it: with --prompt its text, with --rules what each part is worth, with --failures how it fails,
    with --examples its rows. With --pareto all prompts by each objective.
    """
    from promptlearn.cli.tradeoffs import show_tradeoffs
    from promptlearn.errors import UsageError
    from promptlearn.report import load_run

    if prompt + rules + failures + examples + pareto > 1:
        raise UsageError(
            "--prompt, --rules, --failures, --examples and --pareto each print something else; give one of them"
        )
    if (version != "best" and not (prompt or rules or failures or examples)) or (split and not examples):
        raise UsageError("--version goes with --prompt, --rules, --failures or --examples, and --split with --examples")

    with opened_store(store) as found:
        if prompt:
            _show_prompt(found, which, version, as_json)
        elif rules:
            _show_rules(found, which, version, as_json)
        elif failures:
            _show_failures(found, which, version, as_json)
        elif pareto:
            show_tradeoffs(found, which, as_json)
        elif examples:
            _show_examples(found, which, version, split, as_json)
        else:
            _show_run(load_run(found, which), as_json)


def diff(
    which: RunArgument = "latest",
    old: Annotated[str, typer.Option("--from", help="The version before.")] = "baseline",
    new: Annotated[str, typer.Option("--to", help="The version after.")] = "best",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the difference between two versions of a run's prompt."""
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


def _show_run(report: RunReport, as_json: bool) -> None:
    from promptlearn.cli.console import as_score, print_json, say, table
    from promptlearn.report import lead_of

    if as_json:
        print_json(_document(report))
        return
    summary = report.summary
    say(f"run {summary.id}   {summary.state}   {_moment(summary)} UTC")
    if summary.state == "killed":
        say(f"no process works on it any more: {goes_on_by(summary)}")
    if summary.aligns:
        say(f"learned the prompt of judge {summary.aligns} from people's labels")
    if summary.stop_reason:
        say(f"stopped: {summary.stop_reason}")
    if summary.decision:
        scores = f"{as_score(summary.baseline_score)} → {as_score(summary.best_score)}"
        lead = f"{led}; " if (led := lead_of(report.result)) else ""
        say(f"{summary.decision}: {lead}test score {scores}; test split read {report.test_reads} time(s)")
    if summary.is_tuning:
        say(f"it trains weights: promptlearn tune status {summary.id}")
        return
    for warning in report.warnings:
        say(f"warning: {warning}")
    for alarm in report.alarms:
        say(alarm)
    numbers = {one.digest: str(one.number) for one in report.candidates}
    judges = list(dict.fromkeys(row.judge for one in report.candidates for row in one.scores))
    rows = [_candidate(one, numbers, judges, _sizes(report)) for one in report.candidates]
    table(["#", "prompt", "from", "train", "val.", "test", "outcome"], rows, right=(0, 3, 4, 5), whole=(1,))
    if len(judges) > 1:
        say(f"scores: {' / '.join(judges)}")
    _show_earnings(report)
    more = f"promptlearn show {summary.id} --rules   (or --failures, --pareto, --examples, --prompt)"
    say(f"more: {more}, promptlearn diff {summary.id}")


def _show_earnings(report: RunReport) -> None:
    """What each proposer earned, by which its share of the drafts is set."""
    from promptlearn.cli.console import as_score, table
    from promptlearn.report import earnings

    if not (found := earnings(report.events)):
        return
    rows = [
        [
            one.proposer,
            "?" if one.asked is None else str(one.asked),
            str(one.drafts),
            str(one.candidates),
            as_score(one.gain),
            str(one.calls),
            "?" if one.usd is None else f"{one.usd:.4f}",
            f"{one.rate:.3g}",
        ]
        for one in found
    ]
    heads = ["proposer", "asked", "made", "run", "gain", "calls", "US$", f"expected gain per {found[0].per}"]
    table(heads, rows, right=(1, 2, 3, 4, 5, 6, 7))


def _show_failures(store: Store, run: str, version: str, as_json: bool) -> None:
    from promptlearn.cli.console import PROSE, note, print_json, short, table
    from promptlearn.report import failure_modes

    found = failure_modes(store, run, version)
    if as_json:
        print_json(asdict(found))
        return
    if not found.modes:
        note("that version failed on no train row")
        return
    rows = [
        [
            str(len(one.mode.examples)),
            f"{one.mode.cost:.3g}",
            one.mode.title,
            "general" if one.mode.general else "one case",
            f"{one.fixed} of {one.rerun}",
            short(one.mode.evidence[0]) if one.mode.evidence else "",
        ]
        for one in found.modes
    ]
    heads = ["examples", "score lost", "failure mode", "kind", "mended by the best", "for example"]
    table(heads, rows, right=(0, 1), width=PROSE)


def _sizes(report: RunReport) -> dict[str, int]:
    """Rows of each split, as the run said at its beginning."""
    started: Any = next((event.body for event in report.events if event.kind == "started"), {})
    return dict(started.get("rows", {}))


def _candidate(
    one: CandidateReport, numbers: Mapping[str, str], judges: Sequence[str], sizes: Mapping[str, int]
) -> list[str]:
    scores = {split: _means(one, split, judges, sizes) for split in ("train", "validation", "test")}
    parents = ", ".join(f"#{numbers.get(parent, parent[:8])}" for parent in one.parents)
    whence = f"{one.proposer} of {parents}" if parents else one.proposer
    where = f", in {' and '.join(one.changed)}" if one.changed else ""
    last = one.fate
    return [
        str(one.number),
        one.digest[:8],
        whence + where,
        *scores.values(),
        f"{last.outcome}: {last.reason}" if last else "",
    ]


def _means(one: CandidateReport, split: str, judges: Sequence[str], sizes: Mapping[str, int]) -> str:
    """Each judge's mean over a split; with the number of rows that it is over, where those are not all."""
    from promptlearn.cli.console import as_score

    known = {row.judge: row for row in one.scores if row.split == split}
    if not known:
        return "–"
    means = "/".join(as_score(known[judge].mean) if judge in known else "–" for judge in judges)
    n = max(row.n for row in known.values())
    return f"{means} (n={n})" if n < sizes.get(split, 0) else means


def _document(report: RunReport) -> dict[str, Any]:
    from promptlearn.report import earnings

    document = asdict(report)
    document["events"] = len(report.events)
    document["earnings"] = [asdict(one) for one in earnings(report.events)]
    return document


def _show_prompt(store: Store, run: str, version: str, as_json: bool) -> None:
    from promptlearn.cli.console import print_json
    from promptlearn.report import as_document, locate
    from promptlearn.report import prompt as stored_prompt

    text = as_document(stored_prompt(store, run, version))
    if as_json:
        print_json({"digest": locate(store, run, version).digest, "prompt": text})
    else:
        typer.echo(text, nl=not text.endswith("\n"))


def _show_rules(store: Store, run: str, version: str, as_json: bool) -> None:
    from promptlearn.cli.console import PROSE, note, print_json, table
    from promptlearn.report import locate, parts

    found = parts(store, run, version)
    if as_json:
        print_json([_part_document(part) for part in found])
        return
    if not found:
        note("that version has no rules and no demonstrations")
        return
    known = {row.example.id: row.example for row in store.reader.examples(locate(store, run, version).run)}
    rows = [[_kind(part), part.text, _sources(part, known), _worth(part)] for part in found]
    table(["kind", "text", "from", "worth (95 % interval)"], rows, width=PROSE)


def _part_document(part: Part) -> dict[str, Any]:
    sources = ", ".join(origin.name for origin in part.origins)
    effect = asdict(part.effect) if part.effect else None
    return {
        "kind": _kind(part),
        "text": part.text,
        "sources": sources,
        "effect": effect,
        "measured_in": part.measured_in,
    }


def _kind(part: Part) -> str:
    return f"{part.kind} of {part.of}" if part.of else part.kind


def _sources(part: Part, known: Mapping[str, Example]) -> str:
    from promptlearn.report import sources_in_words

    names = [origin.name for origin in part.origins]
    if part.kind == "demonstration" and names and names[0] in known:  # its words stand beside it
        return f"row {names[0][:8]}"
    return sources_in_words(names, known) or "the user"


def _worth(part: Part) -> str:
    effect = part.effect
    if effect is None:
        return "not measured"
    where = "" if part.measured_in is None else f", in #{part.measured_in}"
    return f"{effect.score:+.3f} ({effect.ci95.low:+.3f} to {effect.ci95.high:+.3f}, n={effect.n}{where})"


def _show_examples(store: Store, run: str, version: str, split: Split | None, as_json: bool) -> None:
    from promptlearn.cli.console import note, print_json, short, table
    from promptlearn.records import as_text
    from promptlearn.report import examples

    rows = examples(store, run, version, split)
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    if not rows:
        note("that version was run on no rows" + (f" of {split}" if split else ""))
        return
    table(
        ["example", "split", "input", "expected", "output", "score", "judges"],
        [
            [
                row.id[:8],
                row.split,
                short(" / ".join(as_text(value) for value in row.inputs.values())),
                short(as_text(row.expected) if row.expected is not None else ""),
                short(row.output),
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
