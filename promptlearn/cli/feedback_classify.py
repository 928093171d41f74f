"""`feedback classify`: asks a language model what the heuristics can only guess."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from promptlearn.cli.feedback import PathsOption, RepoOption
from promptlearn.cli.feedback_entries import choose, document, survey_store
from promptlearn.cli.options import ConfigOption, JsonOption, QuietOption, SetOption, StoreOption

if TYPE_CHECKING:
    from promptlearn.config import Config
    from promptlearn.feedback.asking import Asker
    from promptlearn.feedback.survey import Entry
    from promptlearn.records import Usage
    from promptlearn.store import Store

_AT_ONCE = 8


def register(app: typer.Typer) -> None:
    app.command()(classify)


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What asking came to."""

    refs: list[str]
    compared: int
    failed: list[str]
    usage: Usage


def classify(
    config: ConfigOption = Path("promptlearn.yaml"),
    overrides: SetOption = None,
    repo: RepoOption = None,
    paths: PathsOption = None,
    again: Annotated[
        bool, typer.Option("--again", help="Ask about comments too that a model has sorted before.")
    ] = False,
    most_pairs: Annotated[
        int, typer.Option("--pairs", metavar="N", min=0, help="Pairs of like rules to compare at most.")
    ] = 50,
    store: StoreOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Let models.meta (else models.judge) sort pending comments, word their rules and compare those that are alike.

    Comments that nobody may use are not sent. Replies are kept, count against `budget`, and approve nothing.
    """
    from promptlearn.cli.console import money, note, print_json, say
    from promptlearn.cli.interrupt import run_until_interrupted
    from promptlearn.config import load_config

    settings = load_config(config, tuple(overrides or ()))
    with _opened(settings, store) as found:
        entries = choose(survey_store(found, paths), None, 1, repo)
        wanted = [entry for entry in entries if _is_wanted(entry, again)]
        done = run_until_interrupted(
            lambda stopping: _ask(settings, found, wanted, tuple(paths or ()), most_pairs, stopping)
        )
        now = [entry for entry in survey_store(found, paths) if entry.ref in done.refs]
    for failure in done.failed[:5]:
        if not quiet:
            note(f"warning: {failure}", style="yellow")
    if as_json:
        print_json([document(entry) for entry in now])
        return
    cost = money(done.usage.cost_usd)
    say(f"{len(done.refs)} comments sorted, {done.compared} pairs compared, {len(done.failed)} failed; {cost}")
    if done.refs:
        say("next: promptlearn feedback list")


def _opened(config: Config, store: str | None) -> Store:
    import os

    from promptlearn.assembly import STORE_ENV, known_secrets
    from promptlearn.store import open_store

    models = config.models
    secrets = known_secrets((models.task, models.judge, models.meta))
    return open_store(store or os.environ.get(STORE_ENV) or config.store, create=False, secrets=secrets)


def _is_wanted(entry: Entry, again: bool) -> bool:
    """Pending, by somebody who counts, and not sorted by a model before."""
    by_model = not entry.found.by.startswith("heuristics")
    return entry.row.state == "pending" and not entry.row.received.dropped and (again or not by_model)


async def _ask(
    config: Config,
    store: Store,
    wanted: Sequence[Entry],
    paths: tuple[str, ...],
    most_pairs: int,
    stopping: Callable[[], bool],
) -> _Outcome:
    from promptlearn.assembly import metered_model
    from promptlearn.cli.console import note
    from promptlearn.errors import ConfigError
    from promptlearn.feedback.asking import Asker

    model = metered_model(config, ("meta", "judge"), store, stopping, note)
    if model is None:
        raise ConfigError("no model can sort comments: name models.meta or models.judge; without one, heuristics do")
    try:
        asker = Asker(model)
        refs, failed = await _sort(store, asker, wanted, paths)
        compared, more = await _compare(store, asker, paths, most_pairs)
        return _Outcome(refs, compared, failed + more, asker.usage)
    finally:
        await model.close()


async def _sort(
    store: Store, asker: Asker, wanted: Sequence[Entry], paths: tuple[str, ...]
) -> tuple[list[str], list[str]]:
    """Refs of the comments that were sorted, and what went wrong with others. Raises what concerns all of them."""
    import asyncio

    from promptlearn.errors import ModelError, SystemicError
    from promptlearn.feedback.classify import stored_form

    refs: list[str] = []
    failed: list[str] = []
    for start in range(0, len(wanted), _AT_ONCE):
        block = wanted[start : start + _AT_ONCE]
        asked = (asker.classify(entry.row.received, paths) for entry in block)
        for entry, found in zip(block, await asyncio.gather(*asked, return_exceptions=True), strict=True):
            if isinstance(found, ModelError) and not isinstance(found, SystemicError):
                failed.append(f"{entry.ref[:8]}: {found}")
            elif isinstance(found, BaseException):
                raise found
            else:
                await store.feedback.classify(entry.ref, stored_form(found))
                refs.append(entry.ref)
    return refs, failed


async def _compare(store: Store, asker: Asker, paths: tuple[str, ...], most: int) -> tuple[int, list[str]]:
    """Ask about pairs that are neither plainly the same nor plainly not, the most alike first."""
    from promptlearn.errors import ModelError, SystemicError
    from promptlearn.feedback.classify import stored_form
    from promptlearn.feedback.survey import comparable, pair_digest, with_relation

    entries = {entry.ref: entry for entry in survey_store(store, paths)}
    failed: list[str] = []
    compared = 0
    for one, other in comparable([*entries.values()])[:most]:
        rules = entries[one].rule, entries[other].rule
        try:
            relation = await asker.relation(*rules)
        except SystemicError:
            raise
        except ModelError as error:
            failed.append(f"{one[:8]} and {other[:8]}: {error}")
            continue
        row = store.feedback.get(other)
        stored = row.classification or stored_form(entries[other].found)
        await store.feedback.classify(other, with_relation(stored, one, relation, pair_digest(*rules)))
        compared += 1
    return compared, failed
