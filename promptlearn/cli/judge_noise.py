"""`judge noise`: how much of a score is the judge's mood."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.judge import opened_job
from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.examine.noise import NoiseReport


def register(app: typer.Typer) -> None:
    app.command("noise")(noise)


def noise(
    config: ConfigOption = Path("promptlearn.yaml"),
    rollouts: Annotated[int, typer.Option(help="How many answers of your prompt are judged.", min=2)] = 12,
    repeats: Annotated[int, typer.Option(help="How often each of them is judged.", min=2)] = 4,
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how often your judges change their minds about the same answer.

    Prints how often a second judgement flips, which share of a score's variance is the judge's, and the noise floor:
    the difference of two mean scores that the judge's mood alone may make. `run` calls nothing below it an improvement.
    """
    from promptlearn.cli.console import print_json
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.progress import RunProgress
    from promptlearn.examine.noise import examine_noise, noise_document

    job = opened_job(config, overrides, store)
    with job.store, RunProgress(None, quiet) as progress:
        report = run_until_interrupted(lambda stopping: examine_noise(job, rollouts, repeats, progress, stopping))
    if as_json:
        print_json(noise_document(report))
    else:
        _print_noise(report)


def _print_noise(report: NoiseReport) -> None:
    from promptlearn.cli.console import as_score, say, table
    from promptlearn.store.judge_rows import SCORE

    found = {**report.noise.judges, SCORE: report.noise.score}
    rows = [
        [
            report.sources.get(name, "the score of all"),
            "–" if noise.flip_rate is None else f"{noise.flip_rate:.1%}",
            "–" if noise.judge_share is None else f"{noise.judge_share:.0%}",
            *(as_score(noise.floor(count)) for count in report.rows.values()),
        ]
        for name, noise in found.items()
    ]
    floors = [f"floor, {count} {split} rows" for split, count in report.rows.items()]
    table(["judge", "flips", "judge's share", *floors], rows, right=(1, 2, *range(3, 3 + len(floors))))
    of = report.noise.score
    if of.judgements == report.rollouts * report.repeats:
        judged = f"each judged {report.repeats} times"
    else:
        judged = f"{of.rollouts} of them different to a judge and judged at least twice, {of.judgements} times in all"
    say(f"{report.rollouts} answers, {judged}; {report.usage.calls} judge calls")
    if of.not_judged:
        say(f"{of.not_judged} judgements failed and are in no figure; most often: {report.noise.trouble}")
