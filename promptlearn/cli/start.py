"""`init`, `check` and `doctor`: from nothing to a configuration that is known to work."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import ConfigOption, JsonOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.health import Finding

EXPECTED_NAMES = ("label", "expected", "answer", "target", "output", "category", "class")
GROUP_NAMES = ("group", "customer", "user", "account", "session")


def register(app: typer.Typer) -> None:
    for command in (init, check, doctor):
        app.command()(command)


def init(
    folder: Annotated[Path, typer.Argument(help="Where promptlearn.yaml goes.")] = Path(),
    prompt: Annotated[Path | None, typer.Option(help="Your prompt file.")] = None,
    data: Annotated[Path | None, typer.Option(help="Your table of examples.")] = None,
    model: Annotated[str, typer.Option(help="The model that answers.")] = "openai/gpt-5-mini",
    example: Annotated[bool, typer.Option("--example", help="Copy the shipped example instead.")] = False,
) -> None:
    """Write a promptlearn.yaml for your prompt and your examples, or copy the shipped example."""
    from promptlearn.cli.console import say
    from promptlearn.errors import UsageError

    target = folder / "promptlearn.yaml"
    if target.exists():
        raise UsageError(f"{target} exists; edit it, or name another folder")
    if example:
        _copy_example(folder)
    elif prompt is None or data is None:
        raise UsageError("give --prompt FILE and --data FILE, or --example for a folder to play with")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        target.write_text(_starter(folder, prompt, data, model), encoding="utf-8")
    _ignore_store(folder)
    say(f"wrote {target}; next: promptlearn check -c {target}")


def check(
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Open everything that the configuration names, look for leaks between splits, and print what a run will take."""
    from promptlearn.assembly import assemble
    from promptlearn.cli.outcome import print_estimate
    from promptlearn.config import load_config
    from promptlearn.estimate import estimate

    job = assemble(load_config(config, tuple(overrides or ())), store)
    try:
        job.check()
        print_estimate(estimate(job), as_json)
    finally:
        job.store.close()


def doctor(
    config: ConfigOption = Path("promptlearn.yaml"),
    offline: Annotated[bool, typer.Option("--offline", help="Ask no endpoint.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Look at Python, packages, the store, keys and local models, and send each configured model one tiny call."""
    from promptlearn.cli.console import print_json, table
    from promptlearn.config import load_config
    from promptlearn.health import examine

    findings = examine(load_config(config) if config.exists() else None, offline)
    if as_json:
        print_json([{"what": one.what, "ok": one.ok, "detail": one.detail} for one in findings])
    else:
        table(["", "what", "detail"], [_line(one) for one in findings])
    if any(one.ok is False for one in findings):
        raise typer.Exit(1)


def _line(finding: Finding) -> list[str]:
    return [{True: "ok", False: "FAIL", None: "–"}[finding.ok], finding.what, finding.detail]


def _copy_example(folder: Path) -> None:
    from promptlearn.assets import asset_dir

    source = Path(str(asset_dir("examples"))) / "support_triage"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(source.iterdir()):
        if file.is_file():
            shutil.copyfile(file, folder / file.name)


def _starter(folder: Path, prompt: Path, data: Path, model: str) -> str:
    """A configuration for these files; columns are guessed from their names and said so."""
    from promptlearn.dataset import load_columns
    from promptlearn.prompt import read_prompt

    read_prompt(prompt)
    columns = list(load_columns(data))
    expected = next((name for name in columns if name.lower() in EXPECTED_NAMES), columns[-1])
    group = next((name for name in columns if name.lower() in GROUP_NAMES), None)
    inputs = [name for name in columns if name not in {expected, group}] or [columns[0]]
    lines = [
        "# Columns were guessed from their names: check inputs, expected and group.",
        f"prompt: {_relative(prompt, folder)}",
        "data:",
        f"  file: {_relative(data, folder)}",
        f"  inputs: [{', '.join(inputs)}]",
        f"  expected: {expected}",
        *([f"  group: {group}   # rows of one group stay in one split"] if group else []),
        "  split: {train: 0.4, validation: 0.3, test: 0.3}",
        "models:",
        f"  task: {model}",
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


def _ignore_store(folder: Path) -> None:
    """Keep the store out of git where there is a repository."""
    ignore = folder / ".gitignore"
    known = ignore.read_text(encoding="utf-8") if ignore.exists() else ""
    if ".promptlearn/" not in known.splitlines():
        end = "" if not known or known.endswith("\n") else "\n"
        ignore.write_text(f"{known}{end}.promptlearn/\n", encoding="utf-8")
