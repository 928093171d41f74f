"""`judge compare`: whose answers a judge prefers, of two versions of a prompt."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, RunArgument, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.examine.preference import PreferenceReport

_SHOWN = 5


def register(app: typer.Typer) -> None:
    app.command("compare")(compare)


def compare(
    which: RunArgument = "latest",
    old: Annotated[str, typer.Option("--from", help="A version of the run's prompt.")] = "baseline",
    new: Annotated[str, typer.Option("--to", help="The version that is held against it.")] = "best",
    rows: Annotated[int, typer.Option(help="How many pairs of answers.", min=1)] = 20,
    split: Annotated[Literal["train", "validation", "test"], typer.Option(help="Rows of this split.")] = "validation",
    criteria: Annotated[
        str, typer.Option(metavar="TEXT", help="What makes an answer better; by default `scoring.criteria`.")
    ] = "",
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Ask models.judge which of two versions answers better, in both orders, on answers that the run has kept.

    A preference tells good from better where scores have one word for both. It proves nothing, and ships nothing.
    """
    import os
    from dataclasses import replace

    from promptlearn.assembly import STORE_ENV, known_secrets, metered_model
    from promptlearn.cli.console import print_json
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.pair_progress import PairProgress
    from promptlearn.config import load_config
    from promptlearn.errors import ConfigError
    from promptlearn.examine.preference import examine_preference, preference_document
    from promptlearn.judging import RelativeJudge
    from promptlearn.store import open_store

    settings = load_config(config, tuple(overrides or ()))
    wanted = criteria or settings.scoring.criteria
    secrets = known_secrets((settings.models.judge,))
    where = store or os.environ.get(STORE_ENV) or settings.store
    with open_store(where, create=False, secrets=secrets) as found:

        async def work(stopping: Callable[[], bool]) -> PreferenceReport:
            model = metered_model(settings, ("judge",), found, stopping)
            if model is None:
                raise ConfigError("judge compare needs models.judge: name the model that it asks")
            judge = RelativeJudge(model, wanted, secrets=secrets) if wanted else RelativeJudge(model, secrets=secrets)
            try:
                with PairProgress(quiet) as progress:
                    examined = await examine_preference(found, judge, which, (old, new), split, rows, progress)
                return replace(examined, usage=model.usage)
            finally:
                await model.close()

        report = run_until_interrupted(work)
    if as_json:
        print_json(preference_document(report))
    else:
        _print(report, old, new)


def _print(report: PreferenceReport, old: str, new: str) -> None:
    from promptlearn.cli.console import say, table
    from promptlearn.examine.preference import preference_document

    document = preference_document(report)
    rows = [
        [f"{new} preferred", str(document["preferred"])],
        [f"{old} preferred", str(document["not_preferred"])],
        ["seen as equal", str(document["equal"])],
        ["the position decided", str(document["swapped"])],
        ["identical answers (not asked)", str(document["identical"])],
        ["not judged", str(document["not_judged"])],
    ]
    table([f"{document['pairs']} {report.split} pairs", ""], rows, right=(1,))
    test = report.test
    say(
        f"{new} minus {old}: {test.difference:+.3f}, 95 % interval {test.ci95.low:+.3f} to {test.ci95.high:+.3f}, "
        f"p = {test.p_value:.2g}; {report.source}, {document['judge_calls']} calls"
    )
    if failed := [case["error"] for case in document["cases"] if case["outcome"] == "not_judged"]:
        say(f"not judged: {failed[0]}")
    decided = [case for case in document["cases"] if case["outcome"] in ("preferred", "not_preferred")]
    for case in decided[:_SHOWN]:
        winner = "new" if case["outcome"] == "preferred" else "old"
        say(f"{case['example'][:8]}  {winner}: {' '.join(case[f'about_{winner}'].split())}")
