"""`tune run|status|export`: train a LoRA adapter on the judges' verdicts, watch it, take it away."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from promptlearn.cli.options import (
    ConfigOption,
    JsonOption,
    QuietOption,
    RunArgument,
    SetOption,
    StoreOption,
    opened_store,
)

if TYPE_CHECKING:
    from promptlearn.job import Job
    from promptlearn.report import TuningReport
    from promptlearn.store import Store
    from promptlearn.tuning.result import TuneResult

EXIT_NOT_BETTER, EXIT_BUDGET = 3, 4
SHOWN = 20
"""Steps that `status` shows."""
LOOK = 1.0
"""Seconds between two looks of `status --follow`."""

app = typer.Typer(help="Train a LoRA adapter with the judges' verdict as reward: run, status, export.")


@app.command()
def run(
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    store: StoreOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check everything, warn, and print how many calls it takes.")
    ] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train an adapter for the configuration's prompt; validation chooses the best.

    The reward is the verdict of the configuration's judges on train rows; the test split is not touched. Needs the
    extra `rl`. Given again after a kill, a Ctrl-C or a spent budget, the same command goes on where it stopped.

    For example: promptlearn tune run --set tuning.steps=20 --set tuning.learning_rate=2e-4
    """
    from promptlearn.assembly import assemble
    from promptlearn.config import load_config

    loaded = load_config(config, tuple(overrides or ()))
    job = assemble(loaded, store)
    with job.store:
        if dry_run:
            _preview(job, loaded.tuning, as_json)
            return
        result = _train(job, loaded.tuning, quiet)
    _print_result(result, as_json)
    if result.state == "budget":
        raise typer.Exit(EXIT_BUDGET)
    raise typer.Exit(0 if result.improved else EXIT_NOT_BETTER)


@app.command()
def status(
    which: RunArgument = "latest",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Print new steps until the run ends.")] = False,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a training run's steps and validation as far as they have come.

    With --follow one line per step until it ends (with --json, one document per line).
    """
    from promptlearn.cli.console import print_json
    from promptlearn.report import tuning

    with opened_store(store) as found:
        report = tuning(found, which)
        if follow:
            _follow(found, report.id, as_json)
        elif as_json:
            print_json(_document(report))
        else:
            _show(report)


@app.command()
def export(
    which: RunArgument = "latest",
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FOLDER", help="Where the adapter goes; by default adapter-RUN here.")
    ] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a run's best adapter out: a folder in PEFT's format, and adapter.gguf for llama.cpp in it."""
    from promptlearn.cli.console import note, print_json, say
    from promptlearn.report import tuning
    from promptlearn.tuning.export import export_adapter

    with opened_store(store) as found:
        report = tuning(found, which)
        exported = export_adapter(found.run_dir(report.id), report, to or Path(f"adapter-{report.id}"))
    if as_json:
        print_json({"run_id": report.id, **exported.to_json()})
        return
    say(f"adapter of step {exported.step}: {exported.folder}")
    if exported.gguf is not None:
        say(f"for llama.cpp: {exported.gguf}")
    elif exported.why_not:
        note(f"warning: {exported.why_not}", style="yellow")
    if not exported.step:
        note("warning: no step was better than the base on validation, so this adapter changes nothing", style="yellow")


def _train(job: Job, tuning: Any, quiet: bool) -> TuneResult:
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.tune_progress import TuneProgress
    from promptlearn.tuning.run import train

    with TuneProgress(tuning.steps, quiet) as progress:
        return run_until_interrupted(lambda stopping: train(job, tuning, observer=progress, stopping=stopping))


def _preview(job: Job, tuning: Any, as_json: bool) -> None:
    from promptlearn.cli.console import note, print_json, say
    from promptlearn.tuning.lint import lint, planned_calls
    from promptlearn.tuning.run import check

    check(job, tuning)
    warnings, calls = (*job.warnings, *lint(job, tuning)), planned_calls(job, tuning)
    if as_json:
        counts = {f"{role}_calls": count for role, count in calls.items()}
        print_json({"dry_run": True, **counts, "warnings": list(warnings)})
        return
    said = " and ".join(f"{count} {role} calls" for role, count in calls.items() if count)
    said += f" ({tuning.steps * tuning.groups} of models.{tuning.ranking.model} for rankings)" if tuning.ranking else ""
    say(f"{tuning.steps} steps of {tuning.groups} × {tuning.group} samples: up to {said}")
    for warning in warnings:
        note(f"warning: {warning}", style="yellow")


def _print_result(result: TuneResult, as_json: bool) -> None:
    from promptlearn.cli.console import as_score, count, money, note, print_json, say

    if as_json:
        print_json(result.to_json())
        return
    usage = result.usage["task"]
    unpriced = result.gpu_cost_usd is None
    price = "price unknown: tuning.gpu_usd_per_hour is not set" if unpriced else money(result.gpu_cost_usd)
    say(
        f"validation {as_score(result.baseline)} → {as_score(result.best)} at step {result.best_step} "
        f"of {result.steps}; stopped: {result.stop_reason}"
    )
    say(
        f"{usage.calls} task calls, {count(usage.input_tokens)} tokens in, {count(usage.output_tokens)} out; "
        f"device {result.gpu_s:.0f} s ({price}), {result.wall_s:.0f} s in all"
    )
    if not result.improved:
        note("no step was better than the base on validation, so the adapter changes nothing", style="yellow")
    say(f"adapter: {result.adapter}")
    if result.gguf is not None:
        say(f"for llama.cpp: {result.gguf}")
    say(f"next: promptlearn tune export {result.run_id} --to FOLDER   (or tune status {result.run_id})")


def _show(report: TuningReport) -> None:
    from promptlearn.cli.console import as_score, note, say, table
    from promptlearn.cli.look import goes_on_by
    from promptlearn.cli.tune_progress import validation_line

    say(f"run {report.id}   {report.summary.state}   {report.summary.created_at[:16].replace('T', ' ')} UTC")
    if report.summary.state == "killed":
        say(f"no process works on it any more: {goes_on_by(report.summary)}")
    if report.summary.stop_reason:
        say(f"stopped: {report.summary.stop_reason}")
    for warning in report.warnings:
        note(f"warning: {warning}", style="yellow")
    names = ("step", "reward", "spread", "entropy", "KL", "gradient", "ESS", "stale", "dropped", "failed", "tokens/s")
    rows = [
        [
            str(step.step),
            as_score(step.reward),
            as_score(step.spread),
            as_score(step.entropy),
            as_score(step.kl),
            as_score(step.grad_norm),
            as_score(step.effective_sample_size),
            str(step.staleness),
            f"{step.dropped}/{step.groups}",
            f"{step.failed}/{step.samples}",
            f"{step.tokens_per_s:.0f}",
        ]
        for step in report.steps[-SHOWN:]
    ]
    table(names, rows, right=range(len(names)))
    for reading in report.validations:
        say(validation_line(asdict(reading)).strip())


def _follow(store: Store, run: str, as_json: bool) -> None:
    """Print what is new until the run is no longer at work."""
    import json

    from promptlearn.cli.console import say
    from promptlearn.cli.tune_progress import step_line, validation_line

    last, readings = 0, 0
    while True:
        # Asked first: what is written before the run ends is seen by the questions behind it.
        row, at_work = store.reader.run(run), run in store.running()
        news: list[tuple[str, dict[str, Any]]] = []
        news += [("step", asdict(step)) for step in store.tuning.steps(run, after=last)]
        found = store.tuning.validations(run)
        news += [("validation", asdict(reading)) for reading in found[readings:]]
        last = max([last, *(body["step"] for kind, body in news if kind == "step")])
        readings = len(found)
        for kind, body in sorted(news, key=lambda one: (one[1]["step"], one[0])):
            said = step_line(body) if kind == "step" else validation_line(body)
            say(json.dumps({"kind": kind, **body}) if as_json else said)
        if row is None or row.state != "running" or not at_work:
            return
        time.sleep(LOOK)


def _document(report: TuningReport) -> dict[str, Any]:
    return {
        "run_id": report.id,
        "state": report.summary.state,
        "stop_reason": report.summary.stop_reason,
        "steps": [asdict(step) for step in report.steps],
        "validation": [asdict(reading) for reading in report.validations],
        "warnings": list(report.warnings),
        "result": report.result,
    }
