"""`judge calibrate` and `judge align`: a judge against people's labels, and its prompt learned from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.config import Config
    from promptlearn.examine.agreement import AgreementReport
    from promptlearn.examine.alignment import AlignmentReport
    from promptlearn.job import Job
    from promptlearn.judging.agreement import Agreement
    from promptlearn.store.judge_rows import HumanLabel

_SHOWN = 5
_WIDTH = 160
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Table with the columns output and label (and explanation), and the inputs' columns or the row's id as "
        "example. Labels: the judge's own, pass or fail, or a number on the judge's scale.",
    ),
]
OneJudgeOption = Annotated[
    str, typer.Option("--judge", metavar="NAME", help="Which of the configuration's judges; not needed where one is.")
]
HumanRunOption = Annotated[
    str, typer.Option("--run", metavar="RUN", help="Use the verdicts that people gave on this run's rows.")
]


def register(app: typer.Typer) -> None:
    app.command("calibrate")(calibrate)
    app.command("align")(align)


def calibrate(
    config: ConfigOption = Path("promptlearn.yaml"),
    labels: LabelsOption = None,
    judge: OneJudgeOption = "",
    run: HumanRunOption = "",
    show: Annotated[int, typer.Option(help="How many disagreements to show.", min=0)] = _SHOWN,
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Hold a judge against people's labels: Cohen's kappa with interval, the confusion table, and disagreements.

    Labels come from a table, from a run, and from the store, where a later word on the same output counts.
    """
    from promptlearn.cli.console import print_json
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.progress import RunProgress
    from promptlearn.examine.agreement import examine_agreement

    loaded, job = _opened(config, overrides, store)
    with job.store, RunProgress(None, quiet) as progress:
        wanted = _labels(loaded, job, labels, judge, run)
        report = run_until_interrupted(lambda stopping: examine_agreement(job, wanted, judge, progress, stopping))
    if as_json:
        print_json(report.to_json())
    else:
        _print_agreement(report, show)


def align(
    config: ConfigOption = Path("promptlearn.yaml"),
    labels: LabelsOption = None,
    judge: OneJudgeOption = "",
    run: HumanRunOption = "",
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", metavar="FILE", help="Where the judge's new file goes if it is proven; by default the run's folder."
        ),
    ] = None,
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Learn a judge's own prompt from people's labels, and say how far it agrees with held-out ones before and after.

    Uses the same search, budget and proof as `run`, with models.judge answering and models.meta rewriting. Exit codes
    as `run`: 0 improved, 3 not proven, 4 budget spent.
    """
    from promptlearn.cli.console import print_json
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.progress import RunProgress
    from promptlearn.cli.run import exit_code
    from promptlearn.examine.alignment import align_judge

    loaded, job = _opened(config, overrides, store)
    with job.store, RunProgress(job.budget.task_calls, quiet) as progress:
        wanted = _labels(loaded, job, labels, judge, run)
        report = run_until_interrupted(lambda stopping: align_judge(job, wanted, judge, to, progress, stopping))
    if as_json:
        print_json(report.to_json())
    else:
        _print_alignment(report, to)
    raise typer.Exit(exit_code(report.result))


def _opened(config: Path, overrides: list[str] | None, store: str | None) -> tuple[Config, Job]:
    from promptlearn.assembly import assemble
    from promptlearn.config import load_config

    loaded = load_config(config, tuple(overrides or ()))
    return loaded, assemble(loaded, store)


def _labels(config: Config, job: Job, path: Path | None, judge: str, run: str) -> list[HumanLabel]:
    """What people said, the latest word on each output."""
    from promptlearn.assembly import read_data
    from promptlearn.config import LimitConfig
    from promptlearn.errors import DataError
    from promptlearn.examine.agreement import the_judge
    from promptlearn.examine.labels import latest, read_labels, run_labels
    from promptlearn.report import load_run

    panel = job.panel(job.judge)
    one, alone = the_judge(panel, judge), len(panel.members) == 1  # words on an answer as a whole fit no other
    name = one.name
    inputs = config.data.inputs
    columns = (
        dict(inputs) if isinstance(inputs, dict) else {column: column for column in inputs or job.dataset.variables}
    )
    found: list[HumanLabel] = []
    if path:  # people may have labelled rows that data.limit leaves out of runs
        whole = read_data(config.data.model_copy(update={"limit": LimitConfig()}))
        found += read_labels(path, whole.examples, columns, config.data.expected, one)
    found += run_labels(job.store, load_run(job.store, run).id, name, whole=alone) if run else []
    found = latest([*found, *job.store.judges.labels(name, whole=alone)])
    if not found:
        raise DataError(
            "no labels: name a table with --labels, a run that people have judged with --run, or label outputs in the "
            "dashboard"
        )
    return found


def _print_agreement(report: AgreementReport, show: int) -> None:
    from promptlearn.cli.console import say, short, table

    say(f"{report.source}: {_kappa(report.agreement)}")
    header = ["people say", *(f"judge: {label}" for label in report.labels)]
    rows = [[label, *(str(report.agreement.table[label][other]) for other in report.labels)] for label in report.labels]
    table(header, rows, right=range(1, len(header)))
    if report.not_judged:
        say(f"{report.not_judged} outputs were not judged and are in no figure")
    for one in report.disagreements[:show]:
        say(f"{one.example[:8]}  {short(one.output, _WIDTH)}")
        say(f"  a person says {one.human}: {short(one.human_words, _WIDTH) or '(no words)'}")
        say(f"  the judge says {one.judge}: {short(one.judge_words, _WIDTH)}")
    if len(report.disagreements) > show:
        say(f"… {len(report.disagreements) - show} more disagreements: --show, or --json for all")


def _print_alignment(report: AlignmentReport, to: Path | None) -> None:
    from promptlearn.cli.console import say

    say(f"{report.judge}, on {report.before.n} held-out labels{_left_out(*report.not_judged)}")
    say(f"  before: {_kappa(report.before)}")
    say(f"  after:  {_kappa(report.after)}")
    say(f"{report.result.decision}: {report.path}")
    if report.result.decision == "improved":
        say(f"next: put `use: {report.path}` into judges, and `promptlearn judge canary` to see that it still holds")
        return
    if to is not None:
        say(f"nothing was written to {to}: the judge stays as it is")
    if report.unproven is not None:
        say(f"best of the search, not proven: {report.unproven}")


def _left_out(before: int, after: int) -> str:
    return f" that both have judged (not judged: {before} before, {after} after)" if before or after else ""


def _kappa(agreement: Agreement) -> str:
    agreed = f"{agreement.observed:.0%} of {agreement.n} labels agree"
    if agreement.kappa is None:
        return f"{agreed}; kappa is undefined where only one label is used"
    low, high = agreement.ci95.low, agreement.ci95.high
    return f"Cohen's kappa {agreement.kappa:.2f}, 95 % interval {low:.2f} to {high:.2f}; {agreed}"
