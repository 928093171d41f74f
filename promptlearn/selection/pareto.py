"""The Pareto front over examples: which prompts are best at something, and which of them to learn from next.

A prompt is on the front when, on at least one example, no prompt of the pool scores higher (Agrawal et al. 2025,
"GEPA", arXiv 2507.19457). Pure functions of scores.
"""

import random
from collections.abc import Mapping

Scores = Mapping[str, float]
"""Example id → score."""


def front(pool: Mapping[str, Scores]) -> dict[str, int]:
    """Digest → on how many examples it is among the best; prompts that are best nowhere are left out.

    A prompt that was never scored stays out, unless nothing in the pool was.
    """
    best: dict[str, float] = {}
    for scores in pool.values():
        for example, score in scores.items():
            best[example] = max(score, best.get(example, score))
    wins = {
        digest: sum(1 for example, score in scores.items() if score == best[example]) for digest, scores in pool.items()
    }
    return {digest: count for digest, count in wins.items() if count} or dict.fromkeys(pool, 1)


def choose_parent(pool: Mapping[str, Scores], seed: str) -> str:
    """One prompt of the front, drawn with weight by on how many examples it is best.

    Weights are squared so that a prompt which leads almost everywhere is learned from most of the time.
    """
    weights = front(pool)
    digests = list(weights)
    return random.Random(seed).choices(digests, [weights[digest] ** 2 for digest in digests])[0]  # noqa: S311
