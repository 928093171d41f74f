"""What is remembered of a batch, so that a process that goes on from another one's end pays for nothing twice.

Knows no provider and no database: `promptlearn.store.batches` keeps it on the disk, `MemoryLog` as long as the process
lives.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol


class Noted(Protocol):
    """A batch as the log knows it."""

    @property
    def own(self) -> str:
        """Our id, made before the provider's and sent along as metadata."""

    @property
    def batch(self) -> str | None:
        """The provider's id; None where the process ended before it was written down."""

    @property
    def file(self) -> str | None:
        """The provider's id of the uploaded requests."""

    @property
    def created(self) -> float:
        """When it was first written down, in seconds since 1970."""

    @property
    def touched(self) -> float:
        """When it was last written down."""


class BatchLog(Protocol):
    """Each coroutine returns when what it was told is durable. A call stands in one batch at most: the last."""

    async def intend(self, own: str, endpoint: str, keys: Sequence[str]) -> None:
        """A batch that holds the calls `keys` is about to be sent to `endpoint` (a model's identity)."""

    async def note(self, own: str, state: str, *, file: str | None = None, batch: str | None = None) -> None:
        """What has become of it; a None changes nothing."""

    async def release(self, own: str, keys: Sequence[str]) -> None:
        """These calls were not answered by it, and may be sent again."""

    def holders(self, keys: Sequence[str]) -> Mapping[str, Noted]:
        """Which batch holds which of these calls; those that none holds are left out."""


@dataclass(frozen=True, slots=True)
class _Entry:
    own: str
    batch: str | None
    file: str | None
    created: float
    touched: float


class MemoryLog:
    """The log of a model that was given none: what is under way when the process ends is paid for again."""

    def __init__(self) -> None:
        self._entries: dict[str, _Entry] = {}
        self._holders: dict[str, str] = {}

    async def intend(self, own: str, endpoint: str, keys: Sequence[str]) -> None:
        now = time.time()
        self._entries[own] = _Entry(own, None, None, now, now)
        self._holders |= dict.fromkeys(keys, own)

    async def note(self, own: str, state: str, *, file: str | None = None, batch: str | None = None) -> None:
        entry = self._entries[own]
        self._entries[own] = replace(entry, file=file or entry.file, batch=batch or entry.batch, touched=time.time())

    async def release(self, own: str, keys: Sequence[str]) -> None:
        for key in keys:
            if self._holders.get(key) == own:
                del self._holders[key]

    def holders(self, keys: Sequence[str]) -> Mapping[str, Noted]:
        return {key: self._entries[self._holders[key]] for key in keys if key in self._holders}


@dataclass(frozen=True, slots=True)
class BatchProgress:
    """Where one batch stands, for the person who waits."""

    model: str
    batch: str
    """The provider's id."""
    state: str
    """`validating`, `in_progress`, `finalizing`, `completed`, `failed`, `expired` or `cancelled`."""
    total: int
    """Requests in it."""
    completed: int = 0
    failed: int = 0


def unwatched(progress: BatchProgress) -> None:
    """The watcher of a batch that nobody watches."""
