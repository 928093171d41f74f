"""`run`, `resume` and `demo`: learn a better prompt from a configuration, and say what is proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from promptlearn.cli.options import (
    ConfigOption,
    JsonOption,
    QuietOption,
    RunArgument,
    SetOption,
    StoreOption,
    named_store,
    opened_store,
)
from promptlearn.errors import UsageError

if TYPE_CHECKING:
    from promptlearn.config import Config
    from promptlearn.job import Job
    from promptlearn.report import RunReport
    from promptlearn.result import RunResult

EXIT_NOT_PROVEN, EXIT_BUDGET = 3, 4

DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Check everything and print calls, tokens and cost as a range; no network.")
]


def register(app: typer.Typer) -> None:
    app.command()(run)
    app.command()(resume)
    app.command()(demo)


def run(
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    store: StoreOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a better prompt and prove it on the test split.

    Given again after a kill, a Ctrl-C or a spent budget, the same command goes on where it stopped. Ctrl-C once ends
    the calls under way and saves; twice stops at once.

    For example: promptlearn run --set budget.task_calls=400 --set search.proposers=[demos]
    """
    from promptlearn.config import load_config

    _run(load_config(config, tuple(overrides or ())), store, dry_run, as_json, quiet)


def resume(
    which: RunArgument = "latest",
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Go on with a run that was interrupted or ran out of budget.

    For example: promptlearn resume --set budget.task_calls=2000
    """
    from promptlearn.assembly import assemble
    from promptlearn.config import parse_config, with_overrides
    from promptlearn.report import load_run
    from promptlearn.store.rows import UNFINISHED

    place = named_store(store)
    with opened_store(place) as found:
        report = load_run(found, which)
    _refuse_what_can_not_go_on(report)
    job = assemble(parse_config(with_overrides(dict(report.config), tuple(overrides or ()))), place)
    with job.store:
        if report.summary.state in (*UNFINISHED, "killed") and job.digest() != report.summary.config_digest:
            raise UsageError(
                f"run {report.id} can not go on: its prompt, data, models, judges or search are not what they were; "
                "put them back, or begin another with `promptlearn run` (replies that were paid for are found again)"
            )
        result = _learn(job, quiet)
    _conclude(result, job, as_json)


def _refuse_what_can_not_go_on(report: RunReport) -> None:
    if report.summary.is_evaluation:
        raise UsageError(f"{report.id} is an evaluation; give `promptlearn eval` again, it pays for nothing twice")
    if report.summary.is_tuning:
        raise UsageError(f"run {report.id} trains weights; give `promptlearn tune run` again, it goes on")
    if report.summary.aligns:
        raise UsageError(f"run {report.id} learns a judge's prompt; give `promptlearn judge align` again, it goes on")
    if report.summary.state == "finished":
        raise UsageError(f"run {report.id} is finished; see it with `promptlearn show {report.id}`")
    if not isinstance(report.config, dict) or "data" not in report.config:
        raise UsageError(f"run {report.id} was started from Python; call promptlearn.optimize with the same arguments")


def demo(
    overrides: SetOption = None,
    store: StoreOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Run the shipped example on the embedded model: no key, no network."""
    from promptlearn.assets import asset_dir
    from promptlearn.config import load_config

    config = load_config(Path(str(asset_dir("examples"))) / "support_triage/promptlearn.yaml", tuple(overrides or ()))
    _run(config, store, dry_run, as_json, quiet)


def _run(config: Config, store: str | None, dry_run: bool, as_json: bool, quiet: bool) -> None:
    from promptlearn.assembly import assemble

    job = assemble(config, store)
    with job.store:
        if dry_run:
            from promptlearn.cli.outcome import print_estimate
            from promptlearn.estimate import estimate
            from promptlearn.job import check_job

            check_job(job)
            print_estimate(estimate(job), as_json)
            return
        result = _learn(job, quiet)
    _conclude(result, job, as_json)


def _conclude(result: RunResult, job: Job, as_json: bool) -> NoReturn:
    from promptlearn.cli.outcome import print_result

    print_result(result, job, as_json)
    raise typer.Exit(exit_code(result))


def exit_code(result: RunResult) -> int:
    """0 improved, 4 not proven because the budget ended the search, 3 not proven."""
    if result.decision == "improved":
        return 0
    return EXIT_BUDGET if result.stop_reason == "budget" else EXIT_NOT_PROVEN


def _learn(job: Job, quiet: bool) -> RunResult:
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.progress import RunProgress
    from promptlearn.job import run_job

    with RunProgress(job.budget.task_calls, quiet) as progress:
        return run_until_interrupted(lambda stopping: run_job(job, progress, stopping))
