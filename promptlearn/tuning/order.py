"""Which train examples a step learns from. Plain functions of seed and number: there is no state to save.

Knows examples' places, nothing about models.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from promptlearn.records import fingerprint

T = TypeVar("T")


def batch_of(rows: Sequence[T], size: int, number: int, seed: int) -> list[T]:
    """The rows of batch `number` (0, 1, …): all are dealt in a random order, then all again in another."""
    places = range(number * size, (number + 1) * size)
    return [rows[_order(len(rows), place // len(rows), seed)[place % len(rows)]] for place in places]


def draw_seed(seed: int, *place: int | str) -> int:
    """Seed of one group's samples: the same wherever and whenever it is drawn (31 bits)."""
    return int(fingerprint([seed, *place], 8), 16) >> 1


def _order(count: int, epoch: int, seed: int) -> list[int]:
    order = list(range(count))
    Random(f"{seed}/{epoch}").shuffle(order)  # noqa: S311 - an order, no secret
    return order
