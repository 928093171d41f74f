"""Attention in which the completions of a group stand behind their one prompt, each blind to the others.

In one sequence `prompt, completion 1, completion 2, …` every completion sees the prompt and itself, at positions that
restart behind the prompt: a block mask. It is never built: the prompt attends to itself, and the completions become the
rows of a batch that shares the prompt's keys and values, so it costs what the allowed pairs cost. What the prompts of
several groups begin with stands once before all of them, in the same way. Where completions grow token by token, the
prompt's keys and values stay where they are, and all rows ask them at once. Knows no model.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

NAME = "promptlearn_grouped"
"""What `attn_implementation` is called in transformers."""


@dataclass(frozen=True, slots=True)
class Block:
    """One group within a sequence: S tokens at the sequence's beginning that all groups share, P prompt tokens of its
    own from `start`, then G completions of at most C tokens.
    """

    start: int
    prompt: int
    """P."""
    shared: int
    """S."""
    rows: Tensor
    """(G, C) positions of the completions' tokens in the sequence; behind a completion's end, of any token."""
    mask: Tensor
    """(G, 1, C, S + P + C) boolean: what each token sees."""
    back: Tensor
    """Positions in the flattened (G, C), in the order of the sequence."""


def block(start: int, prompt: int, lengths: list[int], device: torch.device, shared: int = 0) -> Block:
    """The block of a group whose completions have these lengths, as they stand one behind the other."""
    longest = max(lengths)
    size = torch.tensor(lengths, device=device)
    begins = start + prompt + size.cumsum(0) - size
    column = torch.arange(longest, device=device)
    inside = column < size[:, None]
    rows = torch.where(inside, begins[:, None] + column, start)
    own = (column[:, None] >= column) & inside[:, None, :]
    seen = torch.cat([own.new_ones(len(lengths), longest, shared + prompt), own], dim=-1)[:, None]
    return Block(start, prompt, shared, rows, seen, inside.flatten().nonzero().flatten())


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    blocks: tuple[Block, ...] | None = None,
    behind: Mapping[int, tuple[Tensor, Tensor]] | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """An attention function as transformers calls it; without `blocks` and `behind` the ordinary causal one.

    `query` is (1, H, T, D), `key` and `value` (1, K, T, D) with H a multiple of K; returns (1, T, H, D).
    `behind` is layer → keys and values of a prompt, (K, P, D), behind which each row of `query`, (G, H, 1, D), is the
    next token of a completion with `key` and `value`, (G, K, T, D), that token included; returns (G, 1, H, D).
    """
    if behind is not None:
        return _attend_behind(query, key, value, *behind[module.layer_idx], scaling).transpose(1, 2), None
    if blocks is None:
        out = _attend(query, key, value, None, scaling, causal=query.shape[2] > 1)
        return out.transpose(1, 2), None
    parts = [part for each in blocks for part in _block_attention(query[0], key[0], value[0], each, scaling)]
    if shared := blocks[0].shared:
        q, k, v = (each[:, :, :shared] for each in (query, key, value))
        parts.insert(0, _attend(q, k, v, None, scaling, causal=True)[0].transpose(0, 1))
    return torch.cat(parts)[None], None


def _block_attention(query: Tensor, key: Tensor, value: Tensor, at: Block, scaling: float | None) -> list[Tensor]:
    """[(P, H, D), (completion tokens, H, D)] of one group."""
    prompt = slice(at.start, at.start + at.prompt)
    q, k, v = (each[None, :, prompt] for each in (query, key, value))
    if at.shared:
        k, v = (torch.cat([each[None, :, : at.shared], own], dim=2) for each, own in ((key, k), (value, v)))
    first = _attend(q, k, v, None, scaling, causal=True)[0].transpose(0, 1)
    groups, longest = at.rows.shape
    asks, near_keys, near_values = (each[:, at.rows].transpose(0, 1) for each in (query, key, value))
    if key.dtype == torch.float32 and len(query) * longest <= len(key) * key.shape[2]:
        # the scores of short completions are smaller than a copy of the prompt's keys for each
        behind = _attend_behind(asks, near_keys, near_values, k[0], v[0], scaling, at.mask[..., -longest:])
    else:
        keys = torch.cat([k.expand(groups, -1, -1, -1), near_keys], dim=2)
        values = torch.cat([v.expand(groups, -1, -1, -1), near_values], dim=2)
        behind = _attend(asks, keys, values, at.mask, scaling, causal=False)
    return [first, behind.transpose(1, 2).flatten(0, 1)[at.back]]


def _attend_behind(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    first_key: Tensor,
    first_value: Tensor,
    scaling: float | None,
    mask: Tensor | None = None,
) -> Tensor:
    """(G, H, C, D): one softmax over the prompt, whose keys are multiplied with the queries of all rows together, and
    what is behind it, of which `mask`, (G, 1, C, C), says what each token sees; in the precision of the keys.
    """
    rows, _, tokens, width = query.shape
    kinds, prompt = first_key.shape[:2]
    asked = (query * (width**-0.5 if scaling is None else scaling)).to(key.dtype).reshape(rows, kinds, -1, width)
    far = asked.transpose(0, 1).reshape(kinds, -1, width) @ first_key.mT
    near = asked @ key.mT
    if mask is not None:
        unseen = ~mask[:, :, None]
        near = near.view(rows, kinds, -1, tokens, tokens).masked_fill(unseen, -torch.inf).view(near.shape)
    far = far.view(kinds, rows, -1, prompt).transpose(0, 1)
    seen = torch.cat([far, near], dim=-1).softmax(-1)
    far, near = seen[..., :prompt], seen[..., prompt:]
    told = far.transpose(0, 1).reshape(kinds, -1, prompt) @ first_value
    out = told.view(kinds, rows, -1, width).transpose(0, 1) + near @ value
    return out.reshape(query.shape).to(query.dtype)


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float | None, causal: bool
) -> Tensor:
    """(B, H, Q, D). With `causal` the last query sees all keys, however many more of them there are.

    Where there is a mask, query heads that share a key head are folded into rows: else CUDA repeats the keys and holds
    all scores, in 32 bits without a mask, too. The CPU takes the same time for either.
    """
    queries, keys, heads = query.shape[2], key.shape[2], key.shape[1]
    grouped = query.shape[1] != heads
    if causal and (queries < keys or (grouped and query.is_cuda and query.dtype == torch.float32)):
        mask, causal = torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(keys - queries), False
    if causal or not grouped:
        return scaled_dot_product_attention(
            query, key, value, attn_mask=mask, is_causal=causal, scale=scaling, enable_gqa=grouped
        )
    if mask is not None:
        mask = torch.cat([mask] * (query.shape[1] // heads), dim=-2)
    folded = query.reshape(len(query), heads, -1, query.shape[3])
    return scaled_dot_product_attention(folded, key, value, attn_mask=mask, scale=scaling).reshape(query.shape)
