"""TrlWeights: the model that TRL trains, as readings of validation sample it. Knows transformers; knows no TRL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import GenerationConfig

from promptlearn.errors import ConfigError
from promptlearn.models.base import Sampling
from promptlearn.tuning.base import Adapter, Sample, greedy_sampling
from promptlearn.tuning.local import chosen_device, use_threads
from promptlearn.tuning.local.loading import ChatTokenizer, load


@dataclass(slots=True)
class TrlWeights:
    """A base model for GRPOTrainer, which wraps its layers where they stand; draws greedy answers with what is there.

    It is the `sampler` of readings of validation.
    """

    model: Any
    """A causal language model of transformers."""
    tokenizer: ChatTokenizer
    model_hash: str
    policy_version: int = 0

    @classmethod
    def open(cls, name: str, device: str | None = None, threads: int | None = None) -> TrlWeights:
        """Arguments as in `open_local`; takes seconds. Raises ConfigError."""
        device = chosen_device(device)
        use_threads(device, threads)
        model, tokenizer, model_hash = load(name, device)
        return cls(model, tokenizer, model_hash)

    @property
    def sampler(self) -> TrlWeights:
        return self

    @property
    def eos_ids(self) -> list[int]:
        named = self.model.generation_config.eos_token_id
        ends = {*(named if isinstance(named, list) else [named]), self.tokenizer.eos_id}
        return sorted(token for token in ends if token is not None)

    async def sample(self, prompt_ids: Sequence[int], n: int, sampling: Sampling) -> AsyncIterator[Sample]:
        if n != 1 or sampling != greedy_sampling(sampling.max_tokens):
            raise ConfigError("with tuning.engine trl training samples are drawn by TRL alone")
        yield await asyncio.to_thread(self._greedy, prompt_ids, sampling.max_tokens)

    async def publish(self, adapter: Adapter) -> int:
        """Nothing is to be done: it samples from the very weights that TRL trains."""
        self.policy_version = adapter.version
        return adapter.version

    async def close(self) -> None:
        """The weights go with the model."""

    @torch.no_grad()
    def _greedy(self, prompt_ids: Sequence[int], max_tokens: int) -> Sample:
        training = self.model.training
        self.model.eval()
        ids = torch.tensor([list(prompt_ids)], device=self.model.device)
        settings = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_tokens,
            eos_token_id=self.eos_ids,
            pad_token_id=self.eos_ids[0],
            return_dict_in_generate=True,
            output_logits=True,
        )
        made = self.model.generate(ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        self.model.train(training)
        drawn = tuple(made.sequences[0, len(prompt_ids) :].tolist())
        logprobs = (
            float(logits[0].float().log_softmax(-1)[token]) for token, logits in zip(drawn, made.logits, strict=True)
        )
        return Sample(0, drawn, tuple(logprobs), "stop" if drawn[-1] in self.eos_ids else "length", self.policy_version)
