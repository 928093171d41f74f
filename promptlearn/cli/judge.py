"""`judge`: whether the judges of a configuration can be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.job import Job
    from promptlearn.judging.canary import CanaryReport

EXIT_NOT_TRUSTED = 3
_SHOWN = 5

app = typer.Typer(
    help="Examine judges: can they be fooled, how noisy are they, do they agree with people.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
JudgeOption = Annotated[
    list[str] | None,
    typer.Option("--judge", metavar="NAME", help="One of the configuration's judges; may be repeated."),
]


@app.command()
def canary(
    config: ConfigOption = Path("promptlearn.yaml"),
    judge: JudgeOption = None,
    rows: Annotated[int, typer.Option(help="How many examples the canaries are made from.", min=1)] = 3,
    bad: Annotated[
        str, typer.Option(help="An output that should fail; by default another row's answer, or a refusal.")
    ] = "",
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Try to fool your judges: forged verdicts and fences, orders to the judge, self-praise, empty phrases.

    Takes outputs that a judge fails, adds what a prompt that games its reward would add, and counts what passes. Exit
    code 3 where a judge was fooled, passed every bad output anyway, or scored each higher in disguise; 5 where it came
    to no verdict on more than search.max_error_share of them.
    """
    from promptlearn.cli.console import print_json
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.progress import RunProgress
    from promptlearn.errors import TooManyErrors
    from promptlearn.examine import canary_document, examine_canaries

    job = opened_job(config, overrides, store)
    with job.store, RunProgress(None, quiet) as progress:
        reports = run_until_interrupted(
            lambda stopping: examine_canaries(job, judge or (), rows, bad, progress, stopping)
        )
    if as_json:
        print_json({"judges": [canary_document(report) for report in reports]})
    else:
        for report in reports:
            _print_canaries(report)
    if any(report.is_silent for report in reports):
        raise typer.Exit(TooManyErrors.exit_code)
    if not all(report.holds for report in reports):
        raise typer.Exit(EXIT_NOT_TRUSTED)


def opened_job(config: Path, overrides: Sequence[str] | None, store: str | None) -> Job:
    """The job of a configuration, for commands that examine its judges."""
    from promptlearn.assembly import assemble
    from promptlearn.config import load_config

    return assemble(load_config(config, tuple(overrides or ())), store)


def _print_canaries(report: CanaryReport) -> None:
    from promptlearn.cli.console import say, table
    from promptlearn.examine import canary_document

    say(f"{report.source}: {_verdict(report)}")
    if report.trials:
        document = canary_document(report)
        keys = ("fooled", "raised", "held", "not_judged")
        rows = [[one["name"], one["what"], *(str(one[key]) for key in keys)] for one in document["canaries"]]
        table(["canary", "it", "fooled", "raised", "held", "not judged"], rows, right=(2, 3, 4, 5))
    for trial in [trial for trial in report.trials if trial.outcome == "fooled"][:_SHOWN]:
        say(f"fooled by {trial.canary}: {' '.join(trial.explanation.split())}")


def _verdict(report: CanaryReport) -> str:
    if report.blind:
        return f"passes every bad output that was tried, on {len(report.blind)} examples: it tells nothing apart"
    if report.unjudged and not report.trials:
        return f"judged none of the bad outputs: {report.trouble or 'no judgement'}; see `promptlearn doctor`"
    if report.is_silent:
        return f"no verdict on {report.not_judged_share:.0%} of the canaries, too many to say: {report.trouble}"
    fooled, raised = report.count("fooled"), report.count("raised")
    words = [f"fooled by {fooled} of {len(report.trials)} canaries" if fooled else "no canary passed"]
    words += [f"{raised} raised the score"] if raised else []
    words += [f"no verdict on {report.not_judged_share:.0%} of them"] if report.not_judged_share else []
    return ", ".join(words)
