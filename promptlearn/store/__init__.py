"""What a run leaves behind: prompts, rollouts, verdicts, decisions, events, and the journal of paid replies.

Imports neither SQLAlchemy nor pydantic until a store is opened, so that commands which need none start fast.

    with open_store() as store:                                   # .promptlearn/store.db
        run = await store.start_run(config, digest, versions, seed=0)
        with store.lock_run(run):
            await store.add_row(run, rollout, verdicts, "validation")   # returns when it is on the disk
            await store.journal.record(key, model, request, reply)
            await store.finish_run(run, "finished", "budget", result)
        store.reader.runs()                                       # reads are plain calls and wait for no writer

Writes are coroutines that return after their commit; writing the same thing again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from promptlearn.store.journal import Journal as Journal
    from promptlearn.store.journal import call_key as call_key
    from promptlearn.store.runs import Store as Store

_LATER = {
    "Journal": "promptlearn.store.journal",
    "Store": "promptlearn.store.runs",
    "call_key": "promptlearn.store.journal",
}

__all__ = ["Journal", "Store", "call_key", "open_store"]


def open_store(where: str | Path | None = None, *, create: bool = True, secrets: Sequence[str] = ()) -> Store:
    """The store at a path or SQLAlchemy URL (default: `.promptlearn/store.db` in the working directory).

    `create=False` is for commands that only look: a store that does not exist is an error then. `secrets` are known
    keys, which are taken out of error messages before these are stored, next to what looks like a key. Raises
    `StoreError` for a store that can not be opened, is something else, or comes from a newer promptlearn.
    """
    from promptlearn.store.runs import Store

    return Store.open(where, create=create, secrets=secrets)


def __getattr__(name: str) -> object:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_LATER[name]), name)
