"""Inverting a distribution: the token is the one whose share of the sum the uniform number falls into."""

from __future__ import annotations

from fractions import Fraction

import torch
from hypothesis import given
from hypothesis import strategies as some

from promptlearn.tuning.local.drawing import inverted

whole = some.integers(0, 2**20)


@given(
    rows=some.lists(some.lists(whole, min_size=3, max_size=3), min_size=1, max_size=4),
    places=some.lists(some.integers(0, 1023), min_size=3, max_size=3, unique=True),
    size=some.integers(1024, 1025),
    chances=some.lists(some.integers(0, 2**30 - 1), min_size=4, max_size=4),
)
def test_it_is_exact(rows: list[list[int]], places: list[int], size: int, chances: list[int]) -> None:
    weights = torch.zeros(len(rows), size)
    for row, values in enumerate(rows):
        weights[row, places] = torch.tensor(values, dtype=torch.float32)
    uniform = torch.tensor(chances[: len(rows)], dtype=torch.float64)[:, None] / 2**30
    drawn = inverted(weights, uniform)
    assert drawn.shape == (len(rows), 1)
    for row, token in enumerate(drawn[:, 0].tolist()):
        total = sum(rows[row])
        if not total:
            continue
        heaped, wanted = 0, Fraction(chances[row], 2**30) * total
        for place in sorted(places):
            heaped += rows[row][places.index(place)]
            if heaped > wanted:
                break
        assert token == place


def test_what_has_no_weight_is_never_drawn() -> None:
    weights = torch.zeros(2, 700)
    weights[:, 300] = 1e-30
    weights[1, 699] = 1.0
    edges = torch.tensor([[0.0], [1 - 2**-53]], dtype=torch.float64)
    assert inverted(weights, edges).flatten().tolist() == [300, 699]
    assert inverted(weights, edges.flip(0)).flatten().tolist() == [300, 300]
