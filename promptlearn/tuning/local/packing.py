"""From rows to sequences: a group's prompt once, its completions behind it, as many groups as a token count allows; and
once for all of them what their prompts begin with, such as instructions and demonstrations.

Knows rows and token counts; neither weights nor losses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from promptlearn.tuning.base import TrainSample
from promptlearn.tuning.local.attention import Block, block

_WORTH = 32
"""Tokens from which on a beginning that all groups have in common is computed on its own."""


@dataclass(frozen=True, slots=True)
class Segment:
    """Rows of one group (by their place in the minibatch) and how many tokens of prompt they share."""

    rows: tuple[int, ...]
    shared: int
    tokens: int
    """Of prompt and completions together, without what all groups begin with."""


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
    groups = _groups(samples)
    trunk = _trunk([shared for _, shared in groups], [samples[members[0]].token_ids for members, _ in groups])
    room = budget - trunk
    taken: list[Segment] = []
    for segment in (part for members, shared in groups for part in _split(samples, members, shared, trunk, room)):
        if taken and sum(each.tokens for each in taken) + segment.tokens > room:
            yield _packed(samples, taken, trunk, device)
            taken = []
        taken.append(segment)
    if taken:
        yield _packed(samples, taken, trunk, device)


def _groups(samples: Sequence[TrainSample]) -> list[tuple[list[int], int]]:
    """(the rows of a group that are trained, how many tokens of prompt they share), for each group."""
    groups: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        if any(sample.mask):
            groups.setdefault(sample.group, []).append(index)
    found = [
        (members, _common([samples[index].token_ids[: samples[index].prompt_length] for index in members]))
        for members in groups.values()
    ]
    if any(shared == 0 for _, shared in found):
        raise ValueError("the first token of a row is never trained: nothing stands before it that could predict it")
    return found


def _trunk(shared: Sequence[int], prompts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all groups begin with, where that is worth anything; each keeps one of its own to begin with."""
    if len(prompts) < 2:
        return 0
    common = _common([ids[: most - 1] for ids, most in zip(prompts, shared, strict=True)])
    return common if common >= _WORTH else 0


def _split(samples: Sequence[TrainSample], members: list[int], shared: int, trunk: int, room: int) -> Iterator[Segment]:
    """The rows of a group, in parts that fit; each part has the prompt once."""
    rows: list[int] = []
    tokens = shared - trunk
    for index in members:
        behind = len(samples[index].token_ids) - shared
        if rows and tokens + behind > room:
            yield Segment(tuple(rows), shared, tokens)
            rows, tokens = [], shared - trunk
        rows.append(index)
        tokens += behind
    yield Segment(tuple(rows), shared, tokens)


def _common(prefixes: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all of them begin with."""
    lowest, highest = min(prefixes), max(prefixes)
    return next(
        (place for place, pair in enumerate(zip(lowest, highest, strict=False)) if pair[0] != pair[1]), len(lowest)
    )


def _packed(samples: Sequence[TrainSample], segments: Sequence[Segment], trunk: int, device: torch.device) -> Packed:
    token_ids = list(samples[segments[0].rows[0]].token_ids[:trunk])
    positions = list(range(trunk))
    sources: list[int] = []
    blocks: list[Block] = []
    rows: list[tuple[int, tuple[int, ...]]] = []
    for segment in segments:
        start, shared = len(token_ids), segment.shared
        last = start + shared - trunk - 1
        token_ids += samples[segment.rows[0]].token_ids[trunk:shared]
        positions += range(trunk, shared)
        for index in segment.rows:
            sample, begin = samples[index], len(token_ids)
            trained = tuple(place for place, sampled in enumerate(sample.mask) if sampled)
            sources += (begin + place - 1 - shared if place > shared else last for place in trained)
            rows.append((index, trained))
            token_ids += sample.token_ids[shared:]
            positions += range(shared, len(sample.token_ids))
        lengths = [len(samples[index].token_ids) - shared for index in segment.rows]
        blocks.append(block(start, shared - trunk, lengths, device, trunk))
    targets = [samples[index].token_ids[place] for index, places in rows for place in places]
    return Packed(
        token_ids=torch.tensor([token_ids], device=device),
        position_ids=torch.tensor([positions], device=device),
        blocks=tuple(blocks),
        sources=torch.tensor(sources, device=device),
        targets=torch.tensor(targets, device=device),
        rows=tuple(rows),
    )
