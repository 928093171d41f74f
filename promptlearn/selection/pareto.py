"""The Pareto front over examples: which prompts are best at something, and which of them to learn from next.

A prompt is on the front when, on at least one example, no prompt of the pool scores higher (Agrawal et al. 2025,
"GEPA", arXiv 2507.19457). Pure functions of scores.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt

Scores = Mapping[str, float]
"""Example id → score."""

DOUBT = 8
PRIOR_VARIANCE = 0.25
"""Of a difference, before anything is seen."""


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


def choose_parent(pool: Mapping[str, Scores], incumbent: str, seed: str) -> str:
    """One prompt of the front: the best by one draw from what is believed of each (Thompson sampling, 1933).

    Believed of a prompt is its mean difference to the incumbent on the rows that both have run, with `DOUBT` rows of
    no difference added: Normal(sum / (n + DOUBT), deviation² / (n + DOUBT)). The incumbent's is 0. So prompts that ran
    on a few rows only are compared fairly with one that ran on all of them; a promising descendant is learned from
    before it is proven, and one that is plainly worse is not.
    """
    rng = random.Random(seed)  # noqa: S311
    theirs = pool.get(incumbent, {})
    draws: dict[str, float] = {}
    for digest in front(pool):
        differences = [score - theirs[example] for example, score in pool[digest].items() if example in theirs]
        n = len(differences) + DOUBT
        squares = sum(difference**2 for difference in differences) + DOUBT * PRIOR_VARIANCE
        mean = sum(differences) / n
        spread = sqrt(max(0.0, squares / n - mean**2) / n)
        draws[digest] = 0.0 if digest == incumbent else rng.gauss(mean, spread)
    return max(draws, key=lambda digest: (draws[digest], digest))


@dataclass(frozen=True, slots=True)
class Complement:
    """A prompt next to another one, on the rows that both have run."""

    digest: str
    better: int
    worse: int
    rows: int


def complements(pool: Mapping[str, Scores], of: str) -> list[Complement]:
    """Prompts that score higher than `of` on some rows, by what the better of both per row would add to `of`.

    The sum of these gains is divided by the number of shared rows and `DOUBT` more, so that one lucky row is little.
    """
    own = pool.get(of, {})
    gains: dict[Complement, float] = {}
    for digest, scores in pool.items():
        differences = [score - own[example] for example, score in scores.items() if example in own]
        better, worse = sum(one > 0 for one in differences), sum(one < 0 for one in differences)
        if digest != of and better:
            gain = sum(one for one in differences if one > 0) / (len(differences) + DOUBT)
            gains[Complement(digest, better, worse, len(differences))] = gain
    return sorted(gains, key=lambda one: (-gains[one], one.digest))
