"""One batch on its way: intended, uploaded, created, followed to its end, read.

Knows the order of these steps, what is durable before which, and how to find again what was lost between two of them.
Knows nothing about calls and replies: those are the collector's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import partial

from promptlearn.errors import ModelError, PromptlearnError
from promptlearn.models.batch.lines import Answer, read_line
from promptlearn.models.batch.log import BatchLog
from promptlearn.models.batch.patience import Patience
from promptlearn.models.batch.provider import BatchService, Standing

_MISSED = 3
"""Looks after which a batch that the provider does not know, or answers that it does not have, are given up."""
_GROWTH, _LONGEST = 1.5, 8.0
"""Of the time between two looks: from one to the next, and at most, times the first."""


@dataclass(slots=True, eq=False)
class Parcel:
    """What is known of one batch."""

    own: str
    """Our id, in the log before anything is sent."""
    data: bytes = field(default=b"", repr=False)
    """The requests; empty once they are uploaded."""
    file: str | None = None
    id: str | None = None
    """The provider's."""
    created: float = 0.0
    touched: float = 0.0
    """When the log heard of it first and last, in seconds since 1970."""
    doubtful: bool = False
    """It may have been created: the answer to that was lost."""


@dataclass(frozen=True, slots=True)
class Carrier:
    service: BatchService
    log: BatchLog
    patience: Patience
    show: Callable[[Standing], None]
    poll_s: float
    settle_s: float
    """Within so long a batch that was created stands in the provider's list."""

    async def submit(self, parcel: Parcel, endpoint: str, keys: Sequence[str]) -> None:
        """Intention, upload, creation: each in the log before the next. Sets `id`."""
        parcel.created = parcel.touched = time.time()
        await self.log.intend(parcel.own, endpoint, keys)
        try:
            self.patience.check()
            parcel.file = await self.patience.insist(lambda: self.service.upload(parcel.own, parcel.data))
            parcel.data = b""
            await self.log.note(parcel.own, "uploaded", file=parcel.file)
            self.patience.check()
            standing = await self.patience.insist(lambda: self._create(parcel, str(parcel.file)))
        except PromptlearnError:
            if not parcel.doubtful:
                await self.log.release(parcel.own, keys)
            raise
        await self._created(parcel, standing)

    async def look_up(self, parcel: Parcel) -> None:
        """Find what an earlier process intended and perhaps created; `id` stays None where it did not."""
        while True:
            found = await self.patience.insist(lambda: self._find(parcel))
            if found is not None:
                return await self._created(parcel, found)
            left = self.settle_s - (time.time() - parcel.touched)
            if not 0 < left <= self.settle_s:
                return None
            await self.patience.pause(left)

    async def follow(self, parcel: Parcel) -> Standing | None:
        """Wait until it has ended; None where the provider does not know it any more."""
        batch, wait, missed = str(parcel.id), self.poll_s, 0
        last: Standing | None = None
        while missed < _MISSED:
            standing = await self._look(batch)
            if standing is not None and standing != last:
                self.show(standing)
            last = standing
            if standing is not None and not standing.ended:
                missed = 0
            elif standing is None or standing.unwritten:
                missed += 1
            else:
                break
            await self.patience.pause(min(wait, self.settle_s) if missed else wait)
            wait = min(wait * _GROWTH, self.poll_s * _LONGEST)
        await self.log.note(parcel.own, last.state if last else "lost")
        return last

    async def read(self, standing: Standing, take: Callable[[Answer], None]) -> bool:
        """Hand over what the files say, in any order; what was read before a file broke off comes twice.

        False where the provider has thrown a file away.
        """
        whole = True
        for file in standing.files:
            try:
                await self.patience.insist(partial(self._read, file, take))
            except ModelError as error:
                if error.kind != "not_found":
                    raise
                whole = False
        return whole

    async def _read(self, file: str, take: Callable[[Answer], None]) -> None:
        async with aclosing(self.service.lines(file)) as lines:
            async for line in lines:
                answer = read_line(line)
                if answer is not None:
                    take(answer)

    async def _look(self, batch: str) -> Standing | None:
        try:
            return await self.patience.insist(lambda: self.service.standing(batch))
        except ModelError as error:
            if error.kind != "not_found":
                raise
            return None

    async def _create(self, parcel: Parcel, file: str) -> Standing:
        """Create it, or find it where an attempt before created it and the answer was lost."""
        if parcel.doubtful:
            await self.patience.pause(self.settle_s)
            found = await self._find(parcel)
            if found is not None:
                return found
        try:
            return await self.service.create(parcel.own, file)
        except ModelError as error:
            parcel.doubtful = parcel.doubtful or (error.retryable and error.kind != "rate_limit")
            raise

    async def _find(self, parcel: Parcel) -> Standing | None:
        return await self.service.find(parcel.own, parcel.file, parcel.created)

    async def _created(self, parcel: Parcel, standing: Standing) -> None:
        parcel.id = standing.id
        await self.log.note(parcel.own, standing.state, batch=standing.id)
        self.show(standing)
