"""The root of the command line: groups of commands, one file each, and how errors leave the program.

Whatever goes wrong is one line on stderr and an exit code; with `--json` it is one document on stdout too. Only a
defect of promptlearn itself shows a traceback.
"""

from __future__ import annotations

import io
import sys
from typing import Annotated, cast

import typer

from promptlearn import __version__
from promptlearn.cli import (
    batch,
    cache,
    compare,
    dashboard,
    evaluate,
    export,
    feedback,
    feedback_classify,
    feedback_decide,
    feedback_take,
    github,
    github_propose,
    github_serve,
    judge,
    judge_compare,
    judge_noise,
    judge_people,
    look,
    models,
    report,
    run,
    start,
    steer,
    tune,
)
from promptlearn.errors import PromptlearnError

INTERRUPTED = 130

# Typer brings its own copy of click or uses the installed one, as its version has it; this is that click's UsageError.
_WrongArguments = cast("type[typer.BadParameter]", typer.BadParameter.__mro__[1])

app = typer.Typer(
    name="promptlearn",
    pretty_exceptions_enable=False,
    # Plain help: formatting it with rich would take longer than all the rest of `--help`.
    rich_markup_mode=None,
    epilog="Exit codes: 0 improved or done, 1 error, 2 usage or configuration, 3 not proven, 4 budget spent, "
    "5 too many example errors, 130 interrupted. After 4 and 130 the same command goes on where it stopped.",
)
start.register(app)
run.register(app)
evaluate.register(app)
batch.register(app)
compare.register(app)
look.register(app)
export.register(app)
steer.register(app)
report.register(app)
dashboard.register(app)
app.add_typer(models.app, name="models")
app.add_typer(tune.app, name="tune")
app.add_typer(cache.app, name="cache")
github_propose.register(github.app)
github_serve.register(github.app)
app.add_typer(github.app, name="github")
feedback_decide.register(feedback.app)
feedback_take.register(feedback.app)
feedback_classify.register(feedback.app)
app.add_typer(feedback.app, name="feedback")
judge_compare.register(judge.app)
judge_noise.register(judge.app)
judge_people.register(judge.app)
app.add_typer(judge.app, name="judge")


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"promptlearn {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Learn a better system prompt from what judges and reviewers say, and prove it on held-out examples.

    Start with `promptlearn init --example triage`, or with `promptlearn init --prompt FILE --data FILE`.
    """


def main() -> None:
    """Entry point of the console script."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal of another encoding must not stop a run
            stream.reconfigure(errors="backslashreplace")
    sys.exit(execute(sys.argv[1:] or ["--help"]))


def execute(arguments: list[str]) -> int:
    """Run one command line, without the program's name; returns the exit code."""
    as_json = "--json" in arguments
    try:
        status = app(args=arguments, prog_name="promptlearn", standalone_mode=False)
    except PromptlearnError as error:
        return _report(type(error).__name__, str(error), error.exit_code, as_json)
    except _WrongArguments as error:
        command = error.ctx.command_path if error.ctx else "promptlearn"
        words = error.format_message().replace("Value error, ", "").rstrip(".")
        return _report("UsageError", f"{words}; see `{command} --help`", error.exit_code, as_json)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _report("OSError", f"{where}{error.strerror or error}; mend that and try again", 1, as_json)
    except Exception as error:
        return _report_defect(error, as_json)
    if status == INTERRUPTED:
        return _report("Interrupted", "stopped; give the same command again", INTERRUPTED, as_json)
    return status if isinstance(status, int) else 0


def _report(kind: str, message: str, exit_code: int, as_json: bool) -> int:
    """One line on stderr; with `--json` one document on stdout too."""
    from promptlearn.cli.console import note, print_json
    from promptlearn.redaction import redact

    line = redact(" ".join(message.split()))
    if as_json:
        print_json({"error": {"type": kind, "message": line, "exit_code": exit_code}})
    note(f"promptlearn: {line}", style="red")
    return exit_code


def _report_defect(error: Exception, as_json: bool) -> int:
    import traceback

    from promptlearn.cli.console import note
    from promptlearn.redaction import redact

    note(redact("".join(traceback.format_exception(error))))
    what = f"{type(error).__name__}: {error}"
    return _report(type(error).__name__, f"{what}; this is a defect, please report it with the text above", 1, as_json)
