"""A policy without a neural network: for each prompt and place a table of logits, trained by its exact gradient.

Implements Tokenizer, Sampler and Learner in milliseconds and without torch, so that tests of the loop see real
learning, real staleness and real checkpoints. Words are tokens; a prompt is known by its last word.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from random import Random

from promptlearn.models.base import Sampling
from promptlearn.records import Message
from promptlearn.tuning.base import (
    Adam,
    Adapter,
    Backend,
    Loss,
    Sample,
    StepReport,
    TrainSample,
    check_sampling,
    greedy_sampling,
)

WORDS = ("", "red", "blue", "green", "sky", "grass", "rose", "sea", "leaf", "blood")
"""Token 0 ends an answer."""
ANSWERS = range(4)
"""Tokens that the policy can say."""

Place = tuple[int, int]
"""(Last word of the prompt, how many-th word of the answer)."""
Table = dict[Place, list[float]]


def chances(table: Table, place: Place) -> list[float]:
    logits = table.get(place, [0.0] * len(ANSWERS))
    weights = [math.exp(logit - max(logits)) for logit in logits]
    return [weight / sum(weights) for weight in weights]


Pick = Callable[[list[float]], int]
"""A token by its chances."""


def likeliest(of: list[float]) -> int:
    return of.index(max(of))


def drawn_by(rng: Random) -> Pick:
    return lambda of: rng.choices(ANSWERS, of)[0]


class ToyTokenizer:
    hash = "toy"

    def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        return [WORDS.index(word) for word in messages[-1].content.split()]

    def text(self, token_ids: Sequence[int]) -> str:
        return " ".join(WORDS[token] for token in token_ids if token)


class ToySampler:
    """Draws from the table that was published; `delay` gives the seconds before each sample ends."""

    def __init__(self, delay: Callable[[], float] | None = None) -> None:
        self._table: Table = {}
        self._version = 0
        self._delay = delay
        self.drawing = 0
        self.groups = 0

    @property
    def policy_version(self) -> int:
        return self._version

    async def sample(self, prompt_ids: Sequence[int], n: int, sampling: Sampling) -> AsyncIterator[Sample]:
        greedy = sampling == greedy_sampling(sampling.max_tokens)
        if not greedy:
            check_sampling(sampling)
        self.groups += 1
        self.drawing += 1
        rng, table, version = Random(sampling.seed), dict(self._table), self._version
        pick = likeliest if greedy else drawn_by(rng)
        samples = [self._one(table, prompt_ids[-1], index, version, pick, sampling.max_tokens) for index in range(n)]
        try:
            for sample in sorted(samples, key=lambda one: len(one.token_ids)):
                await asyncio.sleep(self._delay() if self._delay else 0)
                yield sample
        finally:
            self.drawing -= 1

    async def publish(self, adapter: Adapter) -> int:
        assert not self.drawing, "a policy was published while samples were drawn"
        self._table = read(adapter.path / "table.json")
        self._version = adapter.version
        return self._version

    async def close(self) -> None:
        self._table = {}

    @staticmethod
    def _one(table: Table, asked: int, index: int, version: int, pick: Pick, most: int) -> Sample:
        ids: list[int] = []
        logprobs: list[float] = []
        while len(ids) < most and not (ids and ids[-1] == 0):
            of = chances(table, (asked, len(ids)))
            ids.append(pick(of))
            logprobs.append(math.log(of[ids[-1]]))
        return Sample(index, tuple(ids), tuple(logprobs), "stop" if ids[-1] == 0 else "length", version)


class ToyLearner:
    """Gradient descent with momentum, so that there is a state of the optimizer to lose."""

    model_hash = "toy"

    def __init__(self) -> None:
        self.table: Table = {}
        self._speed: Table = {}
        self._gradient: Table = {}
        self._version = 0

    @property
    def version(self) -> int:
        return self._version

    def logprobs(self, samples: Sequence[TrainSample], base: bool = False) -> list[list[float]]:
        table: Table = {} if base else self.table
        rows = []
        for sample in samples:
            row = [0.0] * len(sample.token_ids)
            for place, token, at in trained(sample):
                row[at] = math.log(chances(table, place)[token])
            rows.append(row)
        return rows

    def forward_backward(self, samples: Sequence[TrainSample], loss: Loss) -> StepReport:
        gradient: Table = defaultdict(lambda: [0.0] * len(ANSWERS))
        tokens = sum(sum(sample.mask) for sample in samples)
        weights: list[float] = []
        ratios: list[float] = []
        for sample in samples:
            total = 0.0
            for place, token, at in trained(sample):
                of = chances(self.table, place)
                log_ratio = math.log(of[token]) - sample.behaviour_logprobs[at]
                total += log_ratio
                ratios.append(math.exp(log_ratio))
                weight = (
                    (1.0 if loss.name == "cross_entropy" else min(ratios[-1], loss.cap))
                    * sample.advantages[at]
                    / tokens
                )
                for word in ANSWERS:
                    gradient[place][word] -= weight * ((word == token) - of[word])
            weights.append(math.exp(total))
        self._gradient = dict(gradient)
        norm = math.sqrt(math.fsum(value**2 for column in gradient.values() for value in column))
        size = math.fsum(weights) ** 2 / (len(weights) * math.fsum(weight**2 for weight in weights))
        furthest = max(abs(ratio - 1) for ratio in ratios)
        return StepReport(0.0, None, 1.0, 0.0, norm, tokens, math.fsum(ratios) / tokens, furthest, size, 0.0)

    def optim_step(self, adam: Adam) -> None:
        for place, column in self._gradient.items():
            speed = self._speed.setdefault(place, [0.0] * len(column))
            logits = self.table.setdefault(place, [0.0] * len(column))
            for word, slope in enumerate(column):
                speed[word] = adam.beta1 * speed[word] + slope
                logits[word] -= adam.learning_rate * speed[word]
        self._gradient = {}
        self._version += 1

    def save_adapter(self, path: Path) -> Adapter:
        path.mkdir(parents=True, exist_ok=True)
        write(path / "table.json", self.table)
        return Adapter(path, self._version)

    def save_state(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        write(path / "table.json", self.table)
        write(path / "speed.json", self._speed)
        (path / "version").write_text(str(self._version), encoding="utf-8")

    def load_state(self, path: Path) -> None:
        self.table, self._speed = read(path / "table.json"), read(path / "speed.json")
        self._version = int((path / "version").read_text(encoding="utf-8"))


def trained(sample: TrainSample) -> list[tuple[Place, int, int]]:
    """(Place in the table, token, place in the sequence) of each token that the policy chose."""
    before = sample.prompt_length
    asked = sample.token_ids[before - 1]
    return [((asked, at - before), sample.token_ids[at], at) for at in range(before, len(sample.token_ids))]


def write(path: Path, table: Table) -> None:
    path.write_text(json.dumps([[*place, *column] for place, column in table.items()]), encoding="utf-8")


def read(path: Path) -> Table:
    rows = json.loads(path.read_text(encoding="utf-8"))
    return {(asked, place): list(column) for asked, place, *column in rows}


def toy_backend(delay: Callable[[], float] | None = None) -> Backend:
    return Backend(ToyTokenizer(), ToySampler(delay), ToyLearner())
