"""From rows to sequences: a group's prompt once, its completions behind it, as many groups as a token count allows.

Knows rows and token counts; neither weights nor losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptlearn.tuning.base import TrainSample
from promptlearn.tuning.local.attention import Block, block


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one group (by their place in the minibatch) and how many tokens of prompt they share."""

    rows: tuple[int, ...]
    shared: int
    tokens: int
    """Of prompt and completions together."""


@dataclass(frozen=True, slots=True)
class Packed:
    """One forward pass. The sequence has T tokens, N of which are trained."""

    token_ids: Tensor
    """(1, T)."""
    position_ids: Tensor
    """(1, T); they restart behind the prompt for each completion."""
    blocks: tuple[Block, ...]
    sources: Tensor
    """(N,) positions whose hidden state predicts a trained token."""
    targets: Tensor
    """(N,) the trained tokens' ids."""
    rows: tuple[tuple[int, tuple[int, ...]], ...]
    """(row, places of its trained tokens in the row), in the order of `targets`."""


def pack(samples: Sequence[TrainSample], budget: int, device: torch.device) -> Iterator[Packed]:
    """Sequences of at most `budget` tokens each; a single row that is longer gets one of its own."""
    taken: list[Segment] = []
    for segment in _segments(samples, budget):
        if taken and sum(each.tokens for each in taken) + segment.tokens > budget:
            yield _packed(samples, taken, device)
            taken = []
        taken.append(segment)
    if taken:
        yield _packed(samples, taken, device)


def _segments(samples: Sequence[TrainSample], budget: int) -> Iterator[Segment]:
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if any(sample.mask):
            groups.setdefault(sample.group, []).append(index)
    for members in groups.values():
        yield from _split(samples, members, budget)


def _split(samples: Sequence[TrainSample], members: list[int], budget: int) -> Iterator[Segment]:
    """The rows of a group, in parts that fit; each part has the prompt once."""
    prefixes = [samples[index].token_ids[: samples[index].prompt_length] for index in members]
    shared = _common(prefixes)
    if shared == 0:
        raise ValueError("the first token of a row is never trained: nothing stands before it that could predict it")
    rows: list[int] = []
    tokens = shared
    for index in members:
        behind = len(samples[index].token_ids) - shared
        if rows and tokens + behind > budget:
            yield Segment(tuple(rows), shared, tokens)
            rows, tokens = [], shared
        rows.append(index)
        tokens += behind
    yield Segment(tuple(rows), shared, tokens)


def _common(prefixes: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all of them begin with."""
    lowest, highest = min(prefixes), max(prefixes)
    return next(
        (place for place, pair in enumerate(zip(lowest, highest, strict=False)) if pair[0] != pair[1]), len(lowest)
    )


def _packed(samples: Sequence[TrainSample], segments: Sequence[Segment], device: torch.device) -> Packed:
    token_ids: list[int] = []
    positions: list[int] = []
    sources: list[int] = []
    blocks: list[Block] = []
    rows: list[tuple[int, tuple[int, ...]]] = []
    for segment in segments:
        start, shared = len(token_ids), segment.shared
        token_ids += samples[segment.rows[0]].token_ids[:shared]
        positions += range(shared)
        for index in segment.rows:
            sample, begin = samples[index], len(token_ids)
            trained = tuple(place for place, sampled in enumerate(sample.mask) if sampled)
            sources += (begin + place - 1 - shared if place > shared else start + shared - 1 for place in trained)
            rows.append((index, trained))
            token_ids += sample.token_ids[shared:]
            positions += range(shared, len(sample.token_ids))
        lengths = [len(samples[index].token_ids) - shared for index in segment.rows]
        blocks.append(block(start, shared, lengths, device))
    targets = [samples[index].token_ids[place] for index, places in rows for place in places]
    return Packed(
        token_ids=torch.tensor([token_ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        blocks=tuple(blocks),
        sources=torch.tensor(sources, device=device),
        targets=torch.tensor(targets, device=device),
        rows=tuple(rows),
    )
