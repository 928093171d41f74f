"""Panel: several judges on one rollout, and one score from what they say.

Knows the Judge protocol and verdicts; knows no file, model or store. `score` reads verdicts alone, so it gives the same
for verdicts that come back from the store.
"""

import asyncio
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.errors import ConfigError
from promptlearn.judging.base import Judge
from promptlearn.judging.checks import check_examples
from promptlearn.judging.finding import not_judged, raised
from promptlearn.records import Example, Failure, Rollout, Verdict


@dataclass(frozen=True, slots=True)
class Member:
    """A judge and what its word is worth."""

    judge: Judge
    weight: float = 1.0
    """Its part in the mean, relative to the other weights; 0 for a judge that only comments or only vetoes."""
    veto: bool = False
    """A rollout that does not pass this judge scores 0, whatever the others say."""
    optional: bool = False
    """Where this judge fails to judge, the others' scores stand."""


class Panel:
    """The judges of a run. Names are unique; at least one weight is above zero."""

    def __init__(self, members: Sequence[Member]) -> None:
        """Raises `ConfigError` for an empty panel, equal names, and weights that make no mean."""
        self.members = tuple(members)
        names = [member.judge.name for member in self.members]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ConfigError(f"two judges are called {double[0]!r}; give one of them another `name`")
        if any(not (math.isfinite(member.weight) and member.weight >= 0) for member in self.members):
            raise ConfigError("a judge's weight has to be a finite number of at least 0")
        if not any(member.weight for member in self.members):
            raise ConfigError("no judge has a weight above 0; give `judges` at least one that counts")

    def check(self, examples: Sequence[Example]) -> None:
        """Raises the first `UsageError` of a member that can not judge these examples."""
        check_examples((member.judge for member in self.members), examples)

    async def judge(self, example: Example, rollout: Rollout) -> tuple[Verdict, ...]:
        """One verdict per member, in the members' order; none for a failed rollout.

        What a judge raises is a verdict with an error, except what concerns the whole run (`SystemicError`,
        `BudgetSpent`, `UsageError`): that is raised once the other judges have finished what they are paid for.
        """
        if rollout.error is not None:
            return ()
        asked = (_ask(member.judge, example, rollout) for member in self.members)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        verdicts = tuple(answer for answer in answers if isinstance(answer, Verdict))
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return verdicts

    def score(self, verdicts: Sequence[Verdict]) -> float | None:
        """Weighted mean of the members' scores, 0 to 1; 0 where a veto judge did not pass; None for *not judged*.

        None where a member that is not optional has no verdict or no score (invariant 4). Verdicts of others than the
        members, a person's for instance, are left alone.
        """
        by_name = {verdict.name: verdict for verdict in verdicts}
        counted: list[tuple[float, float]] = []
        vetoed = False
        for member in self.members:
            verdict = by_name.get(member.judge.name)
            if verdict is None or verdict.score is None or verdict.error is not None:
                if member.optional:
                    continue
                return None
            vetoed = vetoed or (member.veto and not _passes(verdict))
            counted.append((member.weight, verdict.score))
        total = math.fsum(weight for weight, _ in counted)
        if not total:
            return None
        return 0.0 if vetoed else math.fsum(weight * score for weight, score in counted) / total


async def _ask(judge: Judge, example: Example, rollout: Rollout) -> Verdict:
    try:
        verdict = await judge.judge(example, rollout)
    except Exception as error:
        return not_judged(judge.name, rollout, raised(error))
    if verdict.score is not None and not 0.0 <= verdict.score <= 1.0:
        failure = Failure("program", f"{judge.name} gave the score {verdict.score}; possible: 0 to 1, or None")
        return replace(verdict, name=judge.name, rollout=rollout.id, score=None, passed=None, error=failure)
    return replace(verdict, name=judge.name, rollout=rollout.id)


def _passes(verdict: Verdict) -> bool:
    """A judge that does not say passes from one half on."""
    return verdict.passed if verdict.passed is not None else (verdict.score or 0.0) >= 0.5
