"""A Llama of two layers with random weights, and samples for it: what the fast tests of training train."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from promptlearn.tuning.base import Lora, Sample, TrainSample
from promptlearn.tuning.local.policy import Policy

torch.set_num_threads(1)
"""Two layers gain nothing from more, and threads that wait for each other lose where others want the cores."""

VOCABULARY = 64
EOS = (1, 2)


def tiny_model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.4,
        eos_token_id=list(EOS),
        pad_token_id=EOS[0],
    )
    return LlamaForCausalLM(config).eval()


def tiny_policy(seed: int = 0, rank: int = 4) -> Policy:
    return Policy(tiny_model(seed), Lora(rank=rank, alpha=2 * rank, seed=seed), model_hash="tiny", eos_ids=EOS)


def stir(policy: Policy, by: float = 0.1, seed: int = 1) -> None:
    """Give the trained adapter an effect; as it is made it has none."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for value in policy.parameters:
            value.add_(by * torch.randn(value.shape, generator=generator))


def rows(groups: Sequence[tuple[int, Sequence[int]]], seed: int = 0) -> list[TrainSample]:
    """(prompt length, completion lengths) per group; random tokens, log-probabilities, advantages and rewards."""
    rng = random.Random(seed)
    made = []
    for number, (prompt, lengths) in enumerate(groups):
        prompt_ids = [rng.randrange(3, VOCABULARY) for _ in range(prompt)]
        for index, length in enumerate(lengths):
            ids = tuple(rng.randrange(3, VOCABULARY) for _ in range(length))
            sample = Sample(index, ids, tuple(rng.uniform(-5, -3) for _ in ids), "length", 0)
            row = TrainSample.of(prompt_ids, sample, task_key=str(number), group=str(number), reward=rng.random())
            made.append(with_advantage(row, rng.uniform(-1, 1)))
    return made


def rows_with_a_trunk(tails: Sequence[int]) -> list[TrainSample]:
    """A prompt of 40 tokens with so many other last words for each group, three completions behind each."""
    made = rows([(40 + tail, [3, 1, 2]) for tail in tails])
    trunk = made[0].token_ids[:40]
    return [replace(row, token_ids=(*trunk, *row.token_ids[40:])) for row in made]


def with_advantage(row: TrainSample, value: float) -> TrainSample:
    return replace(row, advantages=tuple(value if sampled else 0.0 for sampled in row.mask))
