"""Ranking: a group's answers against each other, in one call, as a part of their rewards.

Tells answers apart where the judges have one word for all of them, so that a group that is all right, or all wrong,
still teaches something. It says nothing about whether any answer is good: validation and test are read without it.
Knows rewards and RelativeJudge; knows no sampler and no step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.config import RankingConfig, TuningConfig
from promptlearn.errors import ConfigError
from promptlearn.job import Job
from promptlearn.judging import RelativeJudge
from promptlearn.judging.relative import CRITERIA, MOST
from promptlearn.meta_prompt import MetaPromptFile
from promptlearn.models.base import Model
from promptlearn.records import Example, Failure, Json, Rollout, Verdict
from promptlearn.tuning.order import draw_seed
from promptlearn.tuning.rewards import Reward

NAME = "ranking"
"""Under which an answer's place stands among the parts of its reward."""


@dataclass(frozen=True, slots=True)
class Ranking:
    """Adds places to the rewards of a group."""

    judge: RelativeJudge
    weight: float
    """Of the place; the judges' score has the rest."""
    prompt: str
    """Digest of the prompt that the policy answers."""
    seed: int
    """Of the run."""

    async def combine(
        self, example: Example, outputs: Sequence[str], rewards: Sequence[Reward], version: int
    ) -> tuple[Reward, ...]:
        """(1 - weight) · score + weight · place, where place is 1 for the best answer and 0 for the worst.

        A weighted mean stays between 0 and 1, so that groups stay comparable; and below a weight of one half an answer
        that passes a pass-or-fail panel (≥ 1 - weight) is always ahead of one that does not (≤ weight), whatever the
        ranking says. What a veto stopped keeps its 0, what was not judged keeps its None, and neither is shown, so that
        it takes nobody's place. Where the ranking fails, nobody of the group has a reward (invariant 4).

        The order of the answers follows from the run's seed, the example and the policy's `version` (invariant 8).
        Raises SystemicError, BudgetSpent and Interrupted.
        """
        shown = [at for at, reward in enumerate(rewards) if reward.value is not None and not reward.vetoed]
        rollouts = [Rollout(self.prompt, example.id, outputs[at]) for at in shown]
        seed = draw_seed(self.seed, NAME, example.id, version)
        said = dict(zip(shown, await self.judge.rank(example, rollouts, seed), strict=True))
        if (failed := next((verdict.error for verdict in said.values() if verdict.error), None)) is not None:
            return tuple(_unranked(reward, failed) for reward in rewards)
        return tuple(self._placed(reward, said.get(at)) for at, reward in enumerate(rewards))

    def _placed(self, reward: Reward, verdict: Verdict | None) -> Reward:
        if verdict is None or verdict.score is None or reward.value is None:
            return replace(reward, parts={**reward.parts, NAME: None})
        place = verdict.score
        return replace(
            reward,
            value=(1 - self.weight) * reward.value + self.weight * place,
            parts={**reward.parts, NAME: place},
            feedback=f"{reward.feedback}\n{NAME}: {verdict.explanation} (place {place:.2f})",
        )


def _unranked(reward: Reward, failure: Failure) -> Reward:
    parts = {**reward.parts, NAME: None}
    if reward.value is None:
        return replace(reward, parts=parts)
    error = f"{NAME}: {failure.kind}: {failure.message}"
    return replace(reward, value=None, parts=parts, error=error, unranked=True)


def open_ranking(job: Job, settings: RankingConfig, model: Model) -> Ranking:
    """The ranking of a job, by `model`."""
    judge = RelativeJudge(model, criteria_of(job, settings), name=NAME, secrets=job.secrets)
    return Ranking(judge, settings.weight, job.prompt.digest, job.search.seed)


def criteria_of(job: Job, settings: RankingConfig) -> str:
    """What makes one answer better than another."""
    return settings.criteria or job.scoring.criteria or CRITERIA


def described(job: Job, tuning: TuningConfig) -> list[Json]:
    """What makes two rankings the same; empty where there is none, so that runs without one keep their digest."""
    if tuning.ranking is None:
        return []
    settings = tuning.ranking.model_copy(update={"criteria": criteria_of(job, tuning.ranking)})
    return [settings.model_dump(mode="json"), MetaPromptFile.load("rank").digest]


def check_ranking(job: Job, tuning: TuningConfig) -> None:
    """Raise ConfigError for a ranking that could not work."""
    if tuning.ranking is None:
        return
    if tuning.group > MOST:
        raise ConfigError(
            f"tuning.ranking: a group of {tuning.group} answers is too large for one call; set tuning.group to at most "
            f"{MOST}, or leave the ranking out"
        )
    if tuning.ranking.model not in job.models():
        raise ConfigError(f"tuning.ranking asks models.{tuning.ranking.model}, and there is none; name that model")
    if any(member.judge.name == NAME for member in job.panel(job.judge).members):
        raise ConfigError(f"tuning.ranking: a judge is called {NAME!r} too; give it another `name`")
