"""`export`: how to get a learned prompt out of the store, into a file of its own or of yours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.options import JsonOption, RunArgument, StoreOption, VersionOption, opened_store

if TYPE_CHECKING:
    from promptlearn.prompt import PromptFile
    from promptlearn.records import Json, Prompt


def register(app: typer.Typer) -> None:
    app.command()(export)


def export(
    which: RunArgument = "latest",
    to: Annotated[Path | None, typer.Option("--to", help="Where to; by default the text goes to stdout.")] = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="Write it into the prompt file of the run.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --to: replace a file that is no prompt of this form, too.")
    ] = False,
    version: VersionOption = "best",
    store: StoreOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the learned prompt in the form of your prompt file.

    Every byte of the file outside the prompt stays. Without --to and --in-place the text goes to stdout. With --to,
    NAME.rules.yaml beside it says where each part came from, where the form of the prompt can not; an earlier export is
    replaced (known by that file, or because the run has such a prompt), and no other file unless --force is given.
    """
    from promptlearn.cli.console import note, print_json, say
    from promptlearn.errors import UsageError
    from promptlearn.prompt import chat_file, write_provenance
    from promptlearn.prompt.file import write_bytes
    from promptlearn.report import locate, run_config
    from promptlearn.report import prompt as stored_prompt
    from promptlearn.store.rows import ALIGNS

    if to is not None and in_place:
        raise UsageError("--to and --in-place both say where to write; give one of them")
    with opened_store(store) as found:
        at = locate(found, which, version)
        learned = stored_prompt(found, at.run, version)
        baseline = stored_prompt(found, at.run, "baseline")
        config = run_config(found, at.run)
        known = [row.candidate.prompt for row in found.reader.candidates(at.run)] if to is not None else []
    if files := _several(config):
        _export_several(files, at.run, at.digest, learned, to, in_place, None if force else known, as_json)
        return
    if isinstance(config, dict) and ALIGNS in config:
        raise UsageError(
            f"run {at.run} learned the prompt of judge {config[ALIGNS]}, which `promptlearn judge align` writes as a "
            f"judge's file; name a run of your own prompt (`promptlearn runs`), or see `promptlearn show {at.run}`"
        )
    own = _prompt_file(config)
    if own is None and in_place:
        raise UsageError(f"run {at.run} was started from Python and has no prompt file; give --to FILE")
    file = own or chat_file(baseline)
    target = file.path if in_place else to
    into_own = own is not None and target is not None and target.resolve() == own.path.resolve()
    text = _rendered(file, baseline, learned, at.run, into_own)
    if target is None:
        if as_json:
            print_json({"run_id": at.run, "digest": at.digest, "path": None, "text": text.decode("utf-8")})
        else:
            typer.echo(text, nl=False)
        return
    if not (into_own or force):
        _refuse_another(file, target, known)
    beside = None if in_place else write_provenance(file, learned, target)
    write_bytes(target, text)
    if not file.fits_name(target):
        note(f"{target} is in the form of {file.path.name} ({file.format}), whatever its name says")
    if as_json:
        rules = None if beside is None else str(beside)
        print_json({"run_id": at.run, "digest": at.digest, "path": str(target), "rules": rules})
    else:
        say(str(target))
        _say_beside(beside)


def _say_beside(path: Path | None) -> None:
    from promptlearn.cli.console import note

    if path is not None:
        note(f"where its parts came from, and what they are worth: {path}")


def _several(config: Json) -> dict[str, Path]:
    """The files of a program's prompts, where it has several."""
    source = config.get("prompt") if isinstance(config, dict) else None
    return {name: Path(path) for name, path in ((source or {}).get("files") or {}).items()}


def _export_several(
    files: Mapping[str, Path],
    run: str,
    digest: str,
    learned: Prompt,
    to: Path | None,
    in_place: bool,
    known: Sequence[Prompt] | None,
    as_json: bool,
) -> None:
    """Each prompt into its own file; `to` is a folder then. Replaces what is none of the `known` prompts where that is
    None.
    """
    from promptlearn.cli.console import print_json, say
    from promptlearn.errors import UsageError
    from promptlearn.prompt import write_provenance
    from promptlearn.prompt.bundle import read_bundle, with_section

    if to is None and not in_place:
        raise UsageError(f"run {run} has several prompts ({', '.join(files)}); give --in-place, or --to FOLDER")
    bundle = read_bundle(files)
    if known is not None:
        for name, target in bundle.targets(to).items():
            file = bundle.files[name]
            _refuse_another(file, target, [with_section(file, prompt, name, tuple(files)) for prompt in known])
    written = bundle.write(learned, to)
    beside = None if to is None else write_provenance(None, learned, to / "prompts")
    if as_json:
        rules = None if beside is None else str(beside)
        print_json({"run_id": run, "digest": digest, "path": [str(path) for path in written], "rules": rules})
    else:
        for path in written:
            say(str(path))
        _say_beside(beside)


def _prompt_file(config: Json) -> PromptFile | None:
    """The user's file as it is now; None without one."""
    from promptlearn.prompt import read_prompt

    config = config if isinstance(config, dict) else {}
    source = config.get("prompt")
    if not source:
        return None
    literals = (config.get("contract") or {}).get("literals", ())
    return read_prompt(Path(source["file"]), key=source.get("key"), literals=literals)


def _rendered(file: PromptFile, baseline: Prompt, learned: Prompt, run: str, into_own: bool) -> bytes:
    """The bytes of the file as it is now, with the learned prompt in it.

    Raises `UsageError` where it can not say that, and where `into_own` would undo what was written since the run.
    """
    from promptlearn.errors import PromptError, UsageError

    changed = file.prompt.learned_text() != baseline.learned_text()
    instead = f"take what was learned from `promptlearn show {run} --prompt`"
    try:
        text = file.render_file(learned)
    except PromptError as error:
        since = " has changed since the run, and" if changed else ""
        raise UsageError(f"{file.path}{since} can not hold this prompt ({error}); {instead}") from None
    if into_own and changed and text != file.source:
        raise UsageError(
            f"{file.path} has changed since the run, and exporting would undo that; run again from the new text, "
            f"or {instead}"
        )
    return text


def _refuse_another(file: PromptFile, target: Path, known: Sequence[Prompt]) -> None:
    """Raises `UsageError` for a target that is no earlier export: none of the `known` prompts, and no other."""
    from promptlearn.errors import UsageError
    from promptlearn.prompt import has_provenance

    if not (has_provenance(target) or file.may_replace(target, known)):
        what = "is no prompt of this run" if file.format == "text" else "is no prompt"
        raise UsageError(
            f"{target} exists and {what} in the form of {file.path.name} ({file.format}), so it stays; name "
            "another file, or give --force to replace it"
        )
