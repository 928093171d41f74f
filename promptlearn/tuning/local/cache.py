"""The keys and values of a group that is being sampled: the prompt's computed once, room for what follows.

transformers' own cache is copied whole for each new token; this one is written in place. Knows shapes, no model.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class GroupCache:
    """Passed to a model as `past_key_values`: first over the prompt (one row), then, after `expand`, token by token."""

    is_compileable = False

    def __init__(self) -> None:
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self._length = 0
        """Tokens that are complete in every layer."""
        self._expanded = False

    def update(self, key: Tensor, value: Tensor, layer: int, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Add what a layer made of new tokens, (B, K, T, D); returns all keys and values so far."""
        if not self._expanded:
            self._keys.append(key)
            self._values.append(value)
            return key, value
        end = self._length + key.shape[2]
        self._keys[layer][:, :, self._length : end] = key
        self._values[layer][:, :, self._length : end] = value
        return self._keys[layer][:, :, :end], self._values[layer][:, :, :end]

    def get_seq_length(self, layer: int = 0) -> int:
        return self._length

    def expand(self, rows: int, room: int) -> None:
        """Stand the prompt before `rows` completions of at most `room` tokens."""
        self._length = self._keys[0].shape[2]
        for store in (self._keys, self._values):
            for layer, prompt in enumerate(store):
                wide = prompt.new_empty(rows, prompt.shape[1], self._length + room, prompt.shape[3])
                wide[:, :, : self._length] = prompt
                store[layer] = wide
        self._expanded = True

    def advance(self) -> None:
        """One more token is complete."""
        self._length += 1

    def keep(self, rows: Tensor) -> None:
        """Forget the rows that have ended; `rows` are places among the present ones."""
        for store in (self._keys, self._values):
            for layer, wide in enumerate(store):
                store[layer] = torch.index_select(wide, 0, rows)
