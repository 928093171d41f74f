"""LocalSampler: draws a group from the published adapter, its prompt computed once, and what it has in common with the
prompt before it not even that.

Knows decoding; nothing about rewards or training. A completion is handed over when it ends, while the others go on, and
its row leaves the batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptlearn.errors import ConfigError
from promptlearn.models.base import Sampling
from promptlearn.tuning.base import Adapter, FinishReason, Sample, check_sampling, greedy_sampling
from promptlearn.tuning.canary import TOLERANCE, check
from promptlearn.tuning.local.cache import GroupCache, PromptCache
from promptlearn.tuning.local.drawing import inverted
from promptlearn.tuning.local.policy import Policy

_LOOSE = 2e-2
"""Tolerance of the canary, nats per token, where weights have 16 bits: the same kernels compute both sides."""


class LocalSampler:
    """A `Sampler` over the weights of this process."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._version = 0
        self._prompt = PromptCache()
        """Of the last prompt, read with the adapter that is published."""

    @property
    def policy_version(self) -> int:
        return self._version

    async def sample(self, prompt_ids: Sequence[int], n: int, sampling: Sampling) -> AsyncIterator[Sample]:
        if sampling != greedy_sampling(sampling.max_tokens):
            check_sampling(sampling)
        if not prompt_ids:
            raise ConfigError("a prompt without tokens can not be completed")
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[Sample | None] = asyncio.Queue()
        stopped = False

        def work() -> None:
            try:
                for sample in self._draw(prompt_ids, n, sampling, lambda: stopped):
                    loop.call_soon_threadsafe(arrived.put_nowait, sample)
            finally:
                loop.call_soon_threadsafe(arrived.put_nowait, None)

        worker = asyncio.create_task(asyncio.to_thread(work))
        try:
            while (sample := await arrived.get()) is not None:
                yield sample
        finally:
            stopped = True
            await worker

    async def publish(self, adapter: Adapter) -> int:
        await asyncio.to_thread(self._publish, adapter)
        self._version = adapter.version
        return self._version

    async def close(self) -> None:
        """The weights go with the policy."""

    def _publish(self, adapter: Adapter) -> None:
        self._policy.publish(adapter.path)
        self._prompt = PromptCache()
        if adapter.canary is not None:
            measured = self._policy.sequence_logprobs(adapter.canary.token_ids, "published")
            check(adapter.canary, measured, TOLERANCE if self._policy.head.dtype == torch.float32 else _LOOSE)

    def _draw(
        self, prompt_ids: Sequence[int], n: int, sampling: Sampling, stopped: Callable[[], bool]
    ) -> Iterator[Sample]:
        """Samples in the order in which they end."""
        with torch.inference_mode(), self._policy.using("published"):
            group = _Group.begin(self._policy, self._prompt, prompt_ids, n, sampling, self._version)
            while group.rows and not stopped():
                yield from group.step()


@dataclass(slots=True)
class _Group:
    """Completions in progress. `rows` are the indices of those that have not ended, in the order of the batch."""

    policy: Policy
    cache: GroupCache
    hidden: Tensor
    """(rows, d) states that predict the next token."""
    chances: Tensor
    """(max_tokens, n) uniform numbers: what a row draws depends neither on the others nor on when they end."""
    rows: list[int]
    token_ids: list[list[int]]
    logprobs: list[list[float]]
    position: int
    version: int
    greedy: bool

    @classmethod
    def begin(
        cls, policy: Policy, prompt: PromptCache, prompt_ids: Sequence[int], n: int, sampling: Sampling, version: int
    ) -> _Group:
        hidden = _read(policy, prompt, prompt_ids)
        cache = GroupCache(prompt, n, sampling.max_tokens)
        generator = torch.Generator()
        if sampling.seed is None:
            generator.seed()
        else:
            generator.manual_seed(sampling.seed)
        exact = torch.float32 if policy.device.type == "mps" else torch.float64  # MPS has no more
        chances = torch.rand(sampling.max_tokens, n, generator=generator, dtype=exact).to(policy.device)
        rows = list(range(n))
        empty: tuple[list[list[int]], list[list[float]]] = ([[] for _ in rows], [[] for _ in rows])
        greedy = sampling.temperature == 0
        return cls(policy, cache, hidden.expand(n, -1), chances, rows, *empty, len(prompt_ids), version, greedy)

    def step(self) -> Iterator[Sample]:
        """One more token for every row; yields the completions that it ends."""
        drawn = self._choose()
        done = len(self.token_ids[self.rows[0]]) == len(self.chances)
        ended = [done or token in self.policy.eos_ids for token in drawn.tolist()]
        for row in [row for row, end in zip(self.rows, ended, strict=True) if end]:
            yield self._sample(row)
        if any(ended):
            kept = [place for place, end in enumerate(ended) if not end]
            self.rows = [self.rows[place] for place in kept]
            places = torch.tensor(kept, device=drawn.device, dtype=torch.long)
            drawn = drawn[places]
            if kept:
                self.cache.keep(places)
        if self.rows:
            positions = torch.full((1, 1), self.position, device=drawn.device)
            self.hidden = self.policy.hidden(
                drawn[:, None], positions, past_key_values=self.cache, use_cache=True, behind=self.cache.prompt
            )[:, 0]
            self.cache.advance()
            self.position += 1

    def _choose(self) -> Tensor:
        """A token for each row, the likeliest or one drawn by inverting its distribution; (rows,)."""
        logp = torch.log_softmax(self.policy.logits(self.hidden), -1)
        chance = self.chances[len(self.token_ids[self.rows[0]]), self.rows][:, None]
        drawn = logp.argmax(-1, keepdim=True) if self.greedy else inverted(logp.exp(), chance)
        values = logp.gather(-1, drawn)[:, 0].tolist()
        for row, token, value in zip(self.rows, drawn[:, 0].tolist(), values, strict=True):
            self.token_ids[row].append(token)
            self.logprobs[row].append(value)
        return drawn[:, 0]

    def _sample(self, row: int) -> Sample:
        ids = tuple(self.token_ids[row])
        reason: FinishReason = "stop" if ids[-1] in self.policy.eos_ids else "length"
        return Sample(row, ids, tuple(self.logprobs[row]), reason, self.version)


def _read(policy: Policy, cache: PromptCache, prompt_ids: Sequence[int]) -> Tensor:
    """(1, d) what the prompt's last token says, once the cache holds the prompt."""
    for begin, block in cache.missing(prompt_ids, policy.device):
        ids = torch.tensor([block], device=policy.device)
        positions = torch.arange(begin, begin + len(block), device=policy.device)[None]
        hidden = policy.hidden(ids, positions, past_key_values=cache, use_cache=True)[:, -1]
    return hidden
