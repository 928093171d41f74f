"""`batch`: many experiments from one file, side by side, and the table that compares them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import JsonOption, QuietOption, SetOption

if TYPE_CHECKING:
    from promptlearn.experiments import Batch, BatchReport
    from promptlearn.experiments.outcome import Outcome
    from promptlearn.experiments.preview import BatchPreview, Preview
    from promptlearn.result import Measure


def register(app: typer.Typer) -> None:
    app.command()(batch)


def batch(
    experiments: Annotated[Path, typer.Argument(metavar="FILE", help="The experiments.")] = Path("experiments.yaml"),
    only: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Only this experiment, or a pattern; may be given often.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(metavar="I/N", help="Only the I-th of N equal parts, for jobs of a cluster.")
    ] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Run nothing: show what the stores have, such as the results of all shards.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Run finished experiments again; known replies are not paid for again.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything and print what each experiment takes; no network.")
    ] = False,
    fail_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="OUTCOME",
            help="Outcome that ends the command with another code than 0: regressed, not_proven or failed; may be "
            "given often; by default what the file says, else regressed and failed.",
        ),
    ] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="PATH", help="Write the table as CSV.")] = None,
    junit: Annotated[
        Path | None, typer.Option("--junit", metavar="PATH", help="Write JUnit XML, a test case per experiment.")
    ] = None,
    overrides: SetOption = None,
    store: Annotated[
        list[str] | None,
        typer.Option(
            "--store",
            metavar="PATH|URL",
            help="Where runs are kept; with --table it may be given often. By default PROMPTLEARN_STORE, else what the "
            "files say, else .promptlearn/store.db here.",
        ),
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run the experiments of a file side by side and compare them.

    They share one budget, one pool of calls and one cache. Given again, the command goes on where it stopped; finished
    experiments are taken from the store. Exit codes: 0 fine, 1 an experiment failed, 3 another unwanted outcome.

    For example: promptlearn batch experiments.yaml --only 'support/*' --set budget.usd=5 --junit results.xml
    """
    from promptlearn.errors import UsageError
    from promptlearn.experiments import BatchReport, open_batch

    if len(store or ()) > 1 and not table:
        raise UsageError("several stores can be shown together, with --table; a batch writes into one")
    _check(fail_on, (csv, junit))
    where = store[0] if store else None
    with open_batch(experiments, overrides or (), where, only or (), shard, create=not table) as opened:
        if dry_run:
            _print_preview(opened, as_json)
            return
        outcomes = _stored(opened, store or []) if table else _run(opened, again, quiet)
        report = BatchReport.of(opened, outcomes, fail_on)
    _write(report, csv, junit)
    _print_report(report, as_json)
    raise typer.Exit(report.exit_code)


def _check(fail_on: list[str] | None, files: tuple[Path | None, ...]) -> None:
    """What is wrong with the arguments is said before anything is paid for."""
    from typing import get_args

    from promptlearn.errors import UsageError
    from promptlearn.experiments.file import Unwanted

    possible = get_args(Unwanted)
    for name in fail_on or ():
        if name not in possible:
            raise UsageError(f"--fail-on {name} is no outcome; possible: {', '.join(possible)}")
    for file in files:
        if file is not None and not file.absolute().parent.is_dir():
            raise UsageError(f"there is no folder for {file}; make it, or name another file")


def _run(opened: Batch, again: bool, quiet: bool) -> tuple[Outcome, ...]:
    from promptlearn.cli.batch_progress import BatchProgress
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.errors import Interrupted
    from promptlearn.experiments import run_batch

    with BatchProgress(len(opened.entries), quiet) as progress:
        outcomes = run_until_interrupted(lambda stopping: run_batch(opened, progress, stopping, again))
    stopped = sum(outcome.state == "interrupted" for outcome in outcomes)
    if stopped:
        done = len(outcomes) - stopped
        raise Interrupted(f"stopped; {done} of {len(outcomes)} experiments have ended; give the same command again")
    return outcomes


def _stored(opened: Batch, stores: list[str]) -> tuple[Outcome, ...]:
    """What is known of each experiment; the batch's own store is the first of `stores`."""
    from contextlib import ExitStack

    from promptlearn.experiments.outcome import stored
    from promptlearn.store import open_store

    with ExitStack() as stack:
        others = [stack.enter_context(open_store(where, create=False)) for where in stores[1:]]
        return tuple(stored([opened.store, *others], entry) for entry in opened.entries)


def _write(report: BatchReport, csv: Path | None, junit: Path | None) -> None:
    if csv is not None:
        _write_csv(report, csv)
    if junit is not None:
        from promptlearn.experiments.junit import junit as as_junit

        junit.write_bytes(as_junit(report))


def _write_csv(report: BatchReport, path: Path) -> None:
    from csv import DictWriter

    rows = report.values()
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = DictWriter(stream, list(rows[0]) if rows else ["name"])
        writer.writeheader()
        writer.writerows(rows)


def _print_report(report: BatchReport, as_json: bool) -> None:
    from promptlearn.cli.console import money, note, print_json, say, table

    if as_json:
        print_json(report.to_json())
        return
    if not report.outcomes:
        note(f"shard {report.shard} has no experiment")
        return
    columns = ["experiment", "rows", "before", "after", "outcome", "rank", "calls", "cached", "cost"]
    table(columns, [_line(report, outcome) for outcome in report.ranked()], right=(1, 6, 7, 8))
    for outcome in report.outcomes:
        if outcome.error is not None:
            note(f"{outcome.name}: {outcome.error.message}", style="red")
    counts = ", ".join(f"{count} {word.replace('_', ' ')}" for word, count in sorted(report.counts().items()))
    total = report.total
    say(f"{len(report.outcomes)} experiments: {counts}")
    say(f"{total.calls} calls paid for, {total.cached_calls} answered from the cache, cost {money(total.cost_usd)}")
    runs = [outcome for outcome in report.ranked() if outcome.run and outcome.state == "finished"]
    if runs:
        say(f"next: promptlearn show {runs[0].run}")


def _line(report: BatchReport, outcome: Outcome) -> list[str]:
    from promptlearn.cli.console import money

    place, total, ended = report.place(outcome.name), outcome.total, outcome.state == "finished"
    return [
        outcome.name,
        str(outcome.before.n) if outcome.before else "–",
        _score(outcome.before),
        _score(outcome.after),
        (outcome.decision or outcome.state).replace("_", " "),
        str(place) if place else "–",
        str(total.calls) if ended else "–",
        str(total.cached_calls) if ended else "–",
        money(total.cost_usd) if ended else "–",
    ]


def _score(measure: Measure | None) -> str:
    from promptlearn.cli.console import as_score

    if measure is None:
        return "–"
    return f"{as_score(measure.score)} ({measure.ci95.low:.2f} – {measure.ci95.high:.2f})"


def _print_preview(opened: Batch, as_json: bool) -> None:
    from promptlearn.cli.console import count, note, print_json, say, span, table
    from promptlearn.experiments.preview import BatchPreview

    preview = BatchPreview.of(opened)
    if as_json:
        print_json(preview.to_json())
        return
    columns = ["experiment", "what", "test rows", "calls", "tokens", "cost", "budget"]
    table(columns, [_preview_line(one) for one in preview.experiments], right=(2, 3, 4, 5))
    for warning in preview.warnings:
        note(f"warning: {warning}", style="yellow")
    calls = span(count(preview.calls.low), count(preview.calls.high))
    say(f"{len(preview.experiments)} experiments, {calls} calls, {_cost(preview)}; calls in common are paid for once")


def _preview_line(one: Preview) -> list[str]:
    from promptlearn.cli.console import count, span

    return [
        one.entry.name,
        "finished" if one.finished else "learn" if one.entry.learns else "measure",
        str(len(one.entry.job.dataset.test)),
        span(count(one.calls.low), count(one.calls.high)),
        span(count(one.tokens.low), count(one.tokens.high)),
        _cost(one),
        ", ".join(f"{key} {value:g}" for key, value in one.budget.items()),
    ]


def _cost(preview: Preview | BatchPreview) -> str:
    from promptlearn.cli.console import money, span

    cost = preview.cost_usd
    return span(money(cost[0]), money(cost[1])) if cost else "cost unknown"
