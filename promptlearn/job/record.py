"""What the store is told of a run, whatever it does: with what it was made, how long it worked, how it ended early."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from importlib.metadata import PackageNotFoundError, version

from promptlearn import __version__
from promptlearn.errors import BudgetSpent, Interrupted, PromptlearnError, StoreError
from promptlearn.judging import LLMJudge, Panel
from promptlearn.records import Json
from promptlearn.steering import Steering
from promptlearn.store import Store
from promptlearn.store.rows import RunState

HEARTBEAT = 5.0
"""Seconds between two notes of working time."""


def versions() -> dict[str, str]:
    """What the run was made with."""
    found = {"promptlearn": __version__, "python": sys.version.split()[0]}
    for package in ("aiohttp", "litellm", "openai", "pydantic", "scipy", "sqlalchemy", "xllamacpp"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def labels_of(panel: Panel) -> dict[str, Json]:
    """Judge → what its labels score and which pass, for people who answer the same question; not for other judges."""
    files = {member.judge.name: member.judge.file for member in panel.members if isinstance(member.judge, LLMJudge)}
    return {name: {"scores": dict(file.labels), "pass_at": file.pass_at} for name, file in files.items() if file.labels}


@asynccontextmanager
async def working(store: Store, run: str, steering: Steering) -> AsyncIterator[None]:
    """Count the working time of one stretch of a run: every so often, so that a kill forgets little, and the rest at
    its end, however it ends. A pause is no work.
    """
    ended = asyncio.Event()
    counting = asyncio.create_task(_count(store, run, steering, ended))
    try:
        yield
    finally:
        ended.set()
        await counting


async def _count(store: Store, run: str, steering: Steering, ended: asyncio.Event) -> None:
    counted = steering.clock()
    while not ended.is_set():
        with suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), HEARTBEAT)
        now = steering.clock()
        if now > counted:
            with suppress(StoreError):  # on a full disk the next reply says so, to somebody who listens
                await store.add_active_seconds(run, now - counted)
                counted = now


async def note_end(store: Store, run: str, error: BaseException) -> None:
    """Say in the store how a run ended early; where that can not be written (a full disk), `error` is what counts."""
    with suppress(StoreError):
        await store.finish_run(run, _state(error), _reason(error))


def _state(error: BaseException) -> RunState:
    if isinstance(error, BudgetSpent):
        return "budget"
    if isinstance(error, Interrupted | KeyboardInterrupt | asyncio.CancelledError):
        return "interrupted"
    return "failed"


def _reason(error: BaseException) -> str:
    return str(error) if isinstance(error, PromptlearnError) else type(error).__name__
