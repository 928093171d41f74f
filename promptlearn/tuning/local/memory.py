"""How many tokens go through the model at once, and whether activations are kept or computed anew.

Decided from the memory that a device has, not from what is free at the moment: the same machine splits a minibatch the
same way each time, so a resumed run adds up its gradients in the same order (invariant 3).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch

_SHARE = 0.25
"""Of a device's memory that activations may take."""
COPY_SHARE = 0.1
"""Of a device's memory that a second copy of weights may take, which is there for speed alone."""
_FALLBACK = 8 << 30
"""Bytes, where nobody says how much there is."""
_MOST = {"cpu": 4096, "mps": 8192}
"""Tokens beyond which a device gets no faster."""


@dataclass(frozen=True, slots=True)
class Plan:
    tokens: int
    """Of one forward pass."""
    checkpoint: bool
    """Whether backward computes activations anew: a third more arithmetic, far less memory."""


def plan(config: Any, device: torch.device, longest: int, memory: int | None = None) -> Plan:
    """`longest` is the longest row, which can not be split; `memory` the device's bytes, asked where not given."""
    room = _SHARE * (device_memory(device) if memory is None else memory)
    most = _MOST.get(device.type, 32768)
    kept = int(room / activation_bytes(config, device, longest, checkpoint=False))
    if kept >= longest:
        return Plan(min(kept, most), checkpoint=False)
    anew = int(room / activation_bytes(config, device, longest, checkpoint=True))
    return Plan(max(longest, min(anew, most)), checkpoint=True)


def activation_bytes(config: Any, device: torch.device, row: int, checkpoint: bool) -> int:
    """What one token leaves behind for backward, at 4 bytes a number, which is on the safe side in 16 bits. It sees at
    most `row` tokens.

    A layer keeps about 16 vectors of the model's width (residuals, norms, queries, keys, values, adapters) and 6 of the
    inner width; with checkpoints only its input, and one layer at a time is whole. Where attention holds its scores, on
    MPS, that is a number for each head and token seen; elsewhere the mask is one for each head that shares a key head.
    """
    heads = config.num_attention_heads
    folded = heads // (getattr(config, "num_key_value_heads", None) or heads)
    seen = row * (heads if device.type == "mps" else folded)
    layer = 4 * (16 * config.hidden_size + 6 * config.intermediate_size + seen)
    if checkpoint:
        return int(layer + 4 * config.hidden_size * config.num_hidden_layers)
    return int(layer * config.num_hidden_layers)


def device_memory(device: torch.device) -> int:
    """Bytes that a device has, used ones included."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return _FALLBACK
