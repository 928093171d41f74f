"""`eval`: measure a prompt on examples, without learning anything."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, StoreOption


def register(app: typer.Typer) -> None:
    app.command("eval")(evaluate)


def evaluate(
    config: ConfigOption = Path("promptlearn.yaml"),
    prompt: Annotated[
        Path | None, typer.Option("--prompt", help="Another prompt file than the configuration's.")
    ] = None,
    split: Annotated[
        Literal["train", "validation", "test", "all"], typer.Option(help="Which rows; reading test is recorded.")
    ] = "validation",
    failures: Annotated[int, typer.Option(help="How many failing rows to show.", min=0)] = 5,
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a prompt without learning anything.

    Prints its mean score with a 95 % interval, and what the judges say about rows that fail.
    """
    from promptlearn.assembly import assemble
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.cli.outcome import print_evaluation
    from promptlearn.cli.progress import RunProgress
    from promptlearn.config import PromptConfig, load_config
    from promptlearn.job import evaluate_job

    loaded = load_config(config, tuple(overrides or ()))
    if prompt is not None:
        loaded = loaded.model_copy(update={"prompt": PromptConfig(file=prompt.resolve(), key=loaded.prompt.key)})
    job = assemble(loaded, store)
    try:
        with RunProgress(None, quiet) as progress:
            evaluation = run_until_interrupted(
                lambda stopping: evaluate_job(job, None if split == "all" else split, progress, stopping)
            )
    finally:
        job.store.close()
    print_evaluation(evaluation, str(loaded.prompt.file), job.store, as_json, failures)
