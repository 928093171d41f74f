"""A token from each row's distribution, by inverting it at a uniform number. Knows tensors, no model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

_WIDTH = 256
"""Tokens that are summed up at first: 50,000 tokens are searched by their 200 sums, then one of these by its tokens."""


def inverted(weights: Tensor, chances: Tensor) -> Tensor:
    """(B, 1) the first token at which the weights up to it, (B, V) and not normalised, exceed their row's share, (B, 1)
    in [0, 1), of all of them. Sums have the precision of `chances`.
    """
    size, exact = weights.shape[-1], chances.dtype
    if short := -size % _WIDTH:
        weights = pad(weights, (0, short))
    blocks = weights.view(len(weights), -1, _WIDTH)
    sums = blocks.sum(-1, dtype=exact)
    heaped = sums.cumsum(-1)
    wanted = chances * heaped[:, -1:]
    block = torch.searchsorted(heaped, wanted, right=True).clamp_(max=blocks.shape[1] - 1)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, _WIDTH))[:, 0].cumsum(-1, dtype=exact)
    place = torch.searchsorted(inside, wanted - (heaped - sums).gather(-1, block), right=True)
    return (block * _WIDTH + place.clamp_(max=_WIDTH - 1)).clamp_(max=size - 1)
