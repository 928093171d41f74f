"""The root of the command line: groups of commands, one file each, and how errors leave the program."""

from __future__ import annotations

import sys

import typer

from promptlearn.cli import evaluate, look, models, run, start
from promptlearn.errors import PromptlearnError

app = typer.Typer(
    name="promptlearn",
    help="Learn a better system prompt from what judges and reviewers say, and prove it on held-out examples.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    epilog="Exit codes: 0 improved or done, 1 error, 2 usage or configuration, 3 not proven, 4 budget spent, "
    "5 too many example errors, 130 interrupted. 4 and 130 go on when the same command is given again.",
)
start.register(app)
run.register(app)
evaluate.register(app)
look.register(app)
app.add_typer(models.app, name="models")


def main() -> None:
    """Entry point of the console script."""
    try:
        app()
    except PromptlearnError as error:
        _report(error)
        sys.exit(error.exit_code)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


def _report(error: PromptlearnError) -> None:
    """One line on stderr; with `--json` one document on stdout too."""
    from promptlearn.cli.console import note, print_json
    from promptlearn.redaction import redact

    message = redact(" ".join(str(error).split()))
    if "--json" in sys.argv:
        body = {"type": type(error).__name__, "message": message, "exit_code": error.exit_code}
        print_json({"error": body})
    note(f"promptlearn: {message}", style="red")
