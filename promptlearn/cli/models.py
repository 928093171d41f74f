"""`models list` and `models pull`: language models that run on this machine."""

from __future__ import annotations

from typing import Annotated

import typer

from promptlearn.cli.options import JsonOption, QuietOption

app = typer.Typer(help="List and pull language models that run on this machine.", rich_markup_mode=None)


@app.command("list")
def list_all(as_json: JsonOption = False) -> None:
    """List models that are pulled, and those that can be."""
    from promptlearn.cli.console import print_json, table
    from promptlearn.models.pull import list_models

    found = list_models()
    if as_json:
        print_json(
            [{"name": one.name, "path": str(one.path), "bytes": one.size, "pulled": one.pulled} for one in found]
        )
        return
    rows = [
        [f"local/{one.name}", f"{one.size / 1e6:.0f} MB" if one.pulled else "not pulled", str(one.path)]
        for one in found
    ]
    table(["model", "size", "file"], rows, right=(1,))


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="smollm2-135m-instruct, or hf:OWNER/REPO/FILE.gguf")],
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Fetch a model into the cache. Checked against its digest; given again after a break, it goes on."""
    from promptlearn.cli.console import print_json, say
    from promptlearn.cli.download import DownloadProgress
    from promptlearn.models.pull import pull as fetch

    with DownloadProgress(name, quiet or as_json) as progress:
        path = fetch(name, progress=progress)
    if as_json:
        print_json({"name": name, "path": str(path)})
    else:
        say(str(path))
