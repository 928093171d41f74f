"""best_of_n: several answers per example, and the most frequent one. The arm that learns nothing and pays per call.

Self-consistency (Wang et al. 2022, arXiv 2203.11171): no judge chooses, because a judge that knows the expected answer
is not there when the prompt is used. Answers are counted after `normalise`; of equally frequent ones the first wins.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.errors import ModelError, PromptlearnError, SystemicError
from promptlearn.judging import normalise
from promptlearn.models.base import Model, Reply
from promptlearn.programs import Program
from promptlearn.records import Example, Failure, Prompt, Rollout, Usage

MOST = 256
"""Answers per example at most, so that seeds never share a draw."""


@dataclass(frozen=True, slots=True)
class BestOf:
    """A ProgramSource."""

    samples: int
    temperature: float
    seed: int = 0
    """0, 1, …: which draw."""

    @property
    def identity(self) -> str:
        return f"best_of/{self.samples}/{self.temperature:g}/{self.seed}"

    @property
    def warnings(self) -> tuple[str, ...]:
        return ()

    @property
    def takes_demonstrations(self) -> bool:
        return True

    def open(self, model: Model) -> Program:
        return _BestOfProgram(model, self)


class _BestOfProgram:
    name = "best_of"

    def __init__(self, model: Model, how: BestOf) -> None:
        self._model = model
        self._how = how

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        messages = prompt.render(example.inputs)
        first = self._how.seed * MOST
        sampling = replace(self._model.sampling, temperature=self._how.temperature)

        async def draw(repeat: int) -> Reply:
            seed = None if sampling.seed is None else sampling.seed + repeat
            return await self._model.complete(messages, replace(sampling, seed=seed), repeat=repeat)

        drawn = await asyncio.gather(
            *(draw(first + number) for number in range(self._how.samples)), return_exceptions=True
        )
        return _elected(prompt, example, drawn)


def _elected(prompt: Prompt, example: Example, drawn: Sequence[Reply | BaseException]) -> Rollout:
    """The most frequent answer; samples that failed have no vote."""
    replies = [reply for reply in drawn if isinstance(reply, Reply)]
    errors = [error for error in drawn if isinstance(error, BaseException)]
    for error in errors:
        if isinstance(error, SystemicError) or not isinstance(error, Exception):
            raise error
        if isinstance(error, PromptlearnError) and not isinstance(error, ModelError):
            raise error
    if not replies:
        failed = errors[0]
        kind = failed.kind if isinstance(failed, ModelError) else "program"  # a user's own model may raise anything
        return Rollout(prompt=prompt.digest, example=example.id, error=Failure(kind, str(failed)))
    votes = Counter(normalise(reply.text) for reply in replies)
    most = max(votes.values())
    winner = next(reply for reply in replies if votes[normalise(reply.text)] == most)
    return Rollout(
        prompt=prompt.digest,
        example=example.id,
        output=winner.text,
        stop_reason=winner.finish_reason,
        usage=sum((reply.usage for reply in replies), Usage()),
        seconds=sum(reply.seconds for reply in replies),
    )
