"""BatchModel: a ChatModel whose calls go to the provider's batch API, at half the price.

Knows what a caller sees; collecting, sending and following are in `collector.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
from importlib.util import find_spec
from weakref import WeakKeyDictionary

from promptlearn.errors import ConfigError
from promptlearn.models.base import Model, Price, Reply, Sampling
from promptlearn.models.batch.collector import BatchOptions, Collector, Watch
from promptlearn.models.batch.log import BatchLog, BatchProgress, MemoryLog, unwatched
from promptlearn.models.openai import ChatModel
from promptlearn.records import Json, Message, fingerprint


class BatchModel:
    """Calls answered within a day instead of a second, for `discount` of the price.

        model = BatchModel(ChatModel("openai/gpt-5-mini", api_key=key), log=store.batches)
        replies = await asyncio.gather(*(model.complete(messages) for messages in chats))
        await model.close()

    Calls that come close together are sent as one batch, so let as many wait at once as there are. Each is answered,
    or fails, as a direct call would. With a log that is kept, a process that was killed or stopped goes on with the
    batches of the one before: the same calls wait for them and are not sent again.
    """

    prefers_in_flight = 50_000
    """Calls that should be allowed to wait at once; with fewer the batches are small and come one after the other."""
    in_process = True
    """For the limits around a model: none adapts to these calls, none of them is sent twice because it is slow, and one
    that nobody waits for any more is not lost."""

    def __init__(
        self,
        direct: ChatModel,
        options: BatchOptions | None = None,
        *,
        log: BatchLog | None = None,
        on_progress: Callable[[BatchProgress], None] = unwatched,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`direct` is the same model called directly; it is closed together with this one."""
        self.direct = direct
        self._options = options or BatchOptions()
        self._watch = Watch(log or MemoryLog(), on_progress, stopping)
        self._collectors: WeakKeyDictionary[asyncio.AbstractEventLoop, Collector] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        return self.direct.name

    @property
    def identity(self) -> str:
        """That of the direct model, so that the journal answers calls that were made in either way."""
        return self.direct.identity

    @property
    def sampling(self) -> Sampling:
        return self.direct.sampling

    @property
    def price(self) -> Price | None:
        price = self.direct.price
        return None if price is None else _share(price, self._options.discount)

    def attach(self, log: BatchLog, on_progress: Callable[[BatchProgress], None], stopping: Callable[[], bool]) -> None:
        """Whom to tell from now on, for those who open the model before they know; calls under way are not affected."""
        self._watch = Watch(log, on_progress, stopping)

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """As `Model.complete`, after minutes or hours. Also raises Interrupted, and StoreError where the log does."""
        sampling = sampling or self.sampling
        spoken = [[message.role, message.content] for message in messages]
        drawn = [getattr(sampling, each.name) for each in fields(sampling)]
        key = fingerprint([self.identity, spoken, drawn, schema, repeat], 32)
        reply = await self._collector().answer(key, messages, sampling, schema)
        cost = reply.usage.cost_usd
        return replace(reply, usage=replace(reply.usage, cost_usd=cost and cost * self._options.discount))

    async def close(self) -> None:
        """Stop waiting in the running event loop; batches that were sent go on at the provider."""
        collector = self._collectors.pop(asyncio.get_running_loop(), None)
        if collector is not None:
            await collector.close()
        await self.direct.close()

    def _collector(self) -> Collector:
        loop = asyncio.get_running_loop()
        collector = self._collectors.get(loop)
        if collector is None:
            collector = self._collectors[loop] = Collector(self.direct, self._options, self._watch)
        return collector


def _share(price: Price, share: float) -> Price:
    return replace(
        price,
        input=price.input * share,
        output=price.output * share,
        cached=None if price.cached is None else price.cached * share,
        written=None if price.written is None else price.written * share,
        beyond=None if price.beyond is None else (price.beyond[0], _share(price.beyond[1], share)),
    )


def batched(model: Model, options: BatchOptions) -> BatchModel:
    """`model` over its provider's batch API. Raises ConfigError where that can not be."""
    if not isinstance(model, ChatModel):
        raise ConfigError(f"{model.name} has no batch API: leave `batch` out, or name an endpoint that has one")
    if find_spec("openai") is None:
        raise ConfigError("`batch` needs the package openai: pip install 'promptlearn-optimizer[batch]'")
    return BatchModel(model, options)
