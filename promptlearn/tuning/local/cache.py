"""The keys and values of a group that is being sampled: the prompt's, made and held once, and room for what follows.

transformers' own cache is copied whole for each new token; this one is written in place. A prompt that begins
as the one before it is computed from where they part. Knows shapes, no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

_BLOCK = {"cpu": 64}
_LONG_BLOCK = 1024
"""Where a pass costs more than its tokens do."""


class PromptCache:
    """Passed to a model as `past_key_values` while it reads a prompt, block by block.

    Prompts are always cut into the same blocks, and only whole ones are taken from the prompt before: so the numbers do
    not depend on what was read earlier, to the bit (invariant 3).
    """

    is_compileable = False

    def __init__(self, block: int | None = None) -> None:
        self._block = block
        self._token_ids: tuple[int, ...] = ()
        """Those that are complete in every layer."""
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        """By layer, (1, K, T, D)."""

    def missing(self, token_ids: Sequence[int], device: torch.device) -> Iterator[tuple[int, tuple[int, ...]]]:
        """(position, tokens) of each block that has to be read until the cache holds this prompt; read it before you
        ask for the next one. There is at least one.
        """
        size = self._block or _BLOCK.get(device.type, _LONG_BLOCK)
        wanted = tuple(token_ids)
        pairs = enumerate(zip(wanted[:-1], self._token_ids, strict=False))
        same = next(
            (place for place, (one, other) in pairs if one != other), min(len(wanted) - 1, len(self._token_ids))
        )
        begin = same - same % size
        self._cut(begin)
        for place in range(begin, len(wanted), size):
            part = wanted[place : place + size]
            yield place, part
            self._token_ids += part

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add what a layer made of new tokens, (1, K, T, D); returns all keys and values so far."""
        if layer == len(self.keys):
            self.keys.append(key)
            self.values.append(value)
        else:
            self.keys[layer] = torch.cat([self.keys[layer], key], dim=2)
            self.values[layer] = torch.cat([self.values[layer], value], dim=2)
        return self.keys[layer], self.values[layer]

    def get_seq_length(self, layer: int = 0) -> int:
        return len(self._token_ids)

    def _cut(self, tokens: int) -> None:
        """Forget what stands behind the first tokens, a block that was broken off included."""
        self._token_ids = self._token_ids[:tokens]
        self.keys = [key[:, :, :tokens] for key in self.keys] if tokens else []
        self.values = [value[:, :, :tokens] for value in self.values] if tokens else []


class GroupCache:
    """Passed to a model as `past_key_values` token by token, for the completions of one prompt.

    Holds what stands behind the prompt, whose own keys and values all rows share: `prompt`, which goes to the attention
    as `behind`. Both have at least 32 bits, because the attention adds up in the precision of its keys.
    """

    is_compileable = False

    def __init__(self, prompt: PromptCache, rows: int, room: int) -> None:
        """Stand the prompt before `rows` completions of at most `room` tokens."""
        self._before = prompt.get_seq_length()
        self._length = 0
        """Tokens behind the prompt that are complete in every layer."""
        layers = zip(prompt.keys, prompt.values, strict=True)
        self.prompt = {layer: (_exact(key[0]), _exact(value[0])) for layer, (key, value) in enumerate(layers)}
        """Layer → (keys, values), both (K, P, D)."""
        self._keys = [_room(key, rows, room) for key, _ in self.prompt.values()]
        self._values = [_room(value, rows, room) for _, value in self.prompt.values()]

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add what a layer made of new tokens, (B, K, T, D); returns all keys and values behind the prompt."""
        end = self._length + key.shape[2]
        self._keys[layer][:, :, self._length : end] = key
        self._values[layer][:, :, self._length : end] = value
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def get_seq_length(self, layer: int = 0) -> int:
        return self._before + self._length

    def advance(self) -> None:
        """One more token is complete."""
        self._length += 1

    def keep(self, rows: Tensor) -> None:
        """Forget the rows that have ended; `rows` are places among the present ones."""
        for store in (self._keys, self._values):
            for layer, wide in enumerate(store):
                store[layer] = torch.index_select(wide, 0, rows)


def _exact(states: Tensor) -> Tensor:
    return states.to(torch.promote_types(states.dtype, torch.float32))


def _room(prompt: Tensor, rows: int, room: int) -> Tensor:
    return prompt.new_empty(rows, prompt.shape[0], room, prompt.shape[2])
