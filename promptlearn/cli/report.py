"""`report`: one run as one file for other people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from promptlearn.cli.options import JsonOption, RunArgument, StoreOption, opened_store


def register(app: typer.Typer) -> None:
    app.command("report")(report)


def report(
    which: RunArgument = "latest",
    html: Annotated[
        bool, typer.Option("--html", help="A page without scripts, with charts (extra `dashboard`).")
    ] = False,
    markdown: Annotated[bool, typer.Option("--md", help="Markdown for a pull request; the default.")] = False,
    to: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; else stdout.")] = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell other people about a run in one file: what is decided, scores, regressions, rules and their origin, cost.

    For example: promptlearn report --html -o run.html
    """
    import json

    from promptlearn.cli.console import say
    from promptlearn.errors import UsageError
    from promptlearn.handout import as_document, as_html, as_markdown, handout

    if html + markdown + as_json > 1:
        raise UsageError("--html, --md and --json are three forms; give one of them")
    with opened_store(store) as found:
        told = handout(found, which)
    if as_json:
        text = json.dumps(as_document(told), ensure_ascii=False, indent=2) + "\n"
    else:
        text = as_html(told) if html else as_markdown(told)
    if to is None:
        typer.echo(text, nl=False)
    else:
        to.write_text(text, encoding="utf-8", errors="replace", newline="")
        say(str(to))
