"""`init`, `check` and `doctor`: from nothing to a configuration that is known to work."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.health import Finding

EXPECTED_NAMES = ("label", "expected", "answer", "target", "output", "category", "class")
_NOT_TEXT = ("yes", "no", "on", "off", "y", "n", "true", "false", "null", ".nan", ".inf")
GROUP_NAMES = ("group", "customer", "user", "account", "session")


def register(app: typer.Typer) -> None:
    for command in (init, check, doctor):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Where promptlearn.yaml goes.")] = Path(),
    prompt: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your prompt: text, Markdown, YAML or JSON.")
    ] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Your examples: CSV, TSV, JSONL, JSON or Parquet.")
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME", help="The model that answers: openai/NAME, local/NAME or local/PATH.gguf.")
    ] = "openai/gpt-5-mini",
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="Where in a YAML or JSON file the prompt is: support.system, say.")
    ] = None,
    encoding: Annotated[str, typer.Option(metavar="NAME", help="Of the examples, where that is not UTF-8.")] = "utf-8",
    example: Annotated[bool, typer.Option("--example", help="Copy the shipped example instead.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a promptlearn.yaml for your files, or copy an example."""
    from promptlearn.cli.console import print_json, say
    from promptlearn.errors import UsageError

    target = folder / "promptlearn.yaml"
    if target.exists():
        raise UsageError(f"{target} exists; edit it, or name another folder")
    files = [target]
    if example and (prompt or data):
        raise UsageError("--example copies files of its own; leave --prompt and --data out, or --example")
    if example:
        files = _copy_example(folder)
    elif prompt is None or data is None:
        raise UsageError("give --prompt FILE and --data FILE, or --example for a folder to play with")
    else:
        text = _starter(folder, prompt, key, data, encoding, model)
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"path": str(target), "files": [str(file) for file in files]})
    else:
        beside = [file.name for file in files if file != target]
        more = f" and, beside it, {', '.join(beside)}" if beside else ""
        say(f"wrote {target}{more}; next: promptlearn check" + ("" if folder == Path() else f" -c {target}"))


def check(
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check prompt, data, judges and models; print what a run takes.

    Looks for (near-)duplicates in different splits, and whether the judges know every label. Calls no model.
    """
    from promptlearn.assembly import assemble
    from promptlearn.cli.outcome import print_estimate
    from promptlearn.config import load_config
    from promptlearn.estimate import estimate
    from promptlearn.job import check_job

    job = assemble(load_config(config, tuple(overrides or ())), store)
    try:
        check_job(job)
        print_estimate(estimate(job), as_json)
    finally:
        job.store.close()


def doctor(
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    store: StoreOption = None,
    offline: Annotated[bool, typer.Option("--offline", help="Ask no endpoint.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at packages, disk, store and keys; greet each model."""
    from promptlearn.cli.console import print_json, table
    from promptlearn.health import examine

    findings = examine(config, tuple(overrides or ()), store, offline)
    if as_json:
        print_json([{"what": one.what, "ok": one.ok, "detail": one.detail} for one in findings])
    else:
        table(["", "what", "detail"], [_line(one) for one in findings])
    if any(one.ok is False for one in findings):
        raise typer.Exit(1)


def _line(finding: Finding) -> list[str]:
    return [{True: "ok", False: "FAIL", None: "–"}[finding.ok], finding.what, finding.detail]


def _copy_example(folder: Path) -> list[Path]:
    """Returns what was written."""
    from promptlearn.assets import asset_dir
    from promptlearn.errors import UsageError

    source = Path(str(asset_dir("examples"))) / "support_triage"
    files = sorted(file for file in source.iterdir() if file.is_file())
    present = [file.name for file in files if (folder / file.name).exists()]
    if present:
        raise UsageError(f"{folder} has a {present[0]} already; name another folder: promptlearn init --example triage")
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return [folder / file.name for file in files]


def _starter(folder: Path, prompt: Path, key: str | None, data: Path, encoding: str, model: str) -> str:
    """A configuration for these files; columns are guessed from their names and said so."""
    from promptlearn.dataset import load_columns
    from promptlearn.errors import DataError, PromptError, UsageError
    from promptlearn.prompt import read_prompt

    try:
        read_prompt(prompt, key=key)
    except PromptError as error:
        at = "; here: --key KEY" if key is None and "key:" in str(error) else ""
        raise UsageError(f"{error}{at}") from None
    try:
        columns = list(load_columns(data, encoding))
    except DataError as error:
        at = "; here: --encoding NAME" if "data.encoding" in str(error) else ""
        raise UsageError(f"{error}{at}") from None
    file = _scalar(_relative(prompt, folder))
    group = next((name for name in columns if name.lower() in GROUP_NAMES), None)
    others = [name for name in columns if name != group]
    expected = next((name for name in others if name.lower() in EXPECTED_NAMES), others[-1] if others[1:] else None)
    inputs = [name for name in others if name != expected] or columns
    lines = [
        "# Columns were guessed from their names: check inputs, expected and group.",
        f"prompt: {file}" if key is None else f"prompt: {{file: {file}, key: {_scalar(key)}}}",
        "data:",
        f"  file: {_scalar(_relative(data, folder))}",
        *([f"  encoding: {_scalar(encoding)}"] if encoding != "utf-8" else []),
        f"  inputs: [{', '.join(map(_scalar, inputs))}]",
        *([f"  expected: {_scalar(expected)}"] if expected else ["  # expected: COLUMN of right answers"]),
        *([f"  group: {_scalar(group)}   # rows of one group stay in one split"] if group else []),
        "  split: {train: 0.4, validation: 0.3, test: 0.3}",
        "models:",
        f"  task: {_scalar(model)}",
        "  # judge: openai/gpt-5-mini      # for judges that are language models",
        "  # meta: openai/gpt-5            # for the proposers rewrite and edit",
        "budget: {task_calls: 1000}",
    ]
    return "\n".join(lines) + "\n"


def _relative(path: Path, folder: Path) -> str:
    try:
        return str(path.resolve().relative_to(folder.resolve()))
    except ValueError:
        return str(path.resolve())


def _scalar(text: str) -> str:
    """A text as YAML has it: plain where it is a plain word or path, else in double quotes."""
    return text if re.fullmatch(r"[A-Za-z_./][\w./-]*", text) and text.lower() not in _NOT_TEXT else json.dumps(text)
