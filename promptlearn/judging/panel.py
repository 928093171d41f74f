"""Panel: several judges on one rollout, and one score from what they say.

Knows the Judge protocol and verdicts; knows no file, model or store. `score` reads verdicts alone, so it gives the same
for verdicts that come back from the store.
"""

import asyncio
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from promptlearn.errors import ConfigError
from promptlearn.judging.base import Judge, Questioner, Stochastic
from promptlearn.judging.checks import check_examples
from promptlearn.judging.excerpt import listing
from promptlearn.judging.finding import as_record, not_judged, raised
from promptlearn.records import SKIPPED, Example, Rollout, Split, Verdict, has_passed, is_skipped

When = Literal["always", "passed"]


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
    when: When = "always"
    """`passed`: asked only about what passes every judge that is always asked."""
    gold: bool = False
    """Judges, but does not steer: in no score and no critique, and not asked about train rows."""

    @property
    def counts(self) -> bool:
        """Whether passing it matters."""
        return not self.gold and (self.weight > 0 or self.veto)


class Panel:
    """The judges of a run. Names are unique; at least one weight is above zero."""

    def __init__(self, members: Sequence[Member], all_pass: bool = False) -> None:
        """`all_pass`: no partial credit, 1 where every judge that counts passes and 0 elsewhere.

        Raises `ConfigError` for an empty panel, equal names, weights that make no mean, and judges that all wait.
        """
        self.members = tuple(members)
        self.all_pass = all_pass
        names = [member.judge.name for member in self.members]
        double = sorted({name for name in names if names.count(name) > 1})
        if double:
            raise ConfigError(f"two judges are called {double[0]!r}; give one of them another `name`")
        if any(not (math.isfinite(member.weight) and member.weight >= 0) for member in self.members):
            raise ConfigError("a judge's weight has to be a finite number of at least 0")
        if not any(member.weight for member in self.members if not member.gold):
            raise ConfigError("no judge has a weight above 0; give `judges` at least one that counts and is not `gold`")
        if not any(member.counts and member.when == "always" for member in self.members):
            raise ConfigError("every judge waits for others to pass; leave out `when` at one that counts")

    def check(self, examples: Sequence[Example]) -> None:
        """Raises the first `UsageError` of a member that can not judge these examples."""
        check_examples((member.judge for member in self.members), examples)

    @property
    def stochastic(self) -> bool:
        """Whether a judge that steers may say something else when it is asked again."""
        return bool(self.stochastic_judges)

    @property
    def stochastic_judges(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(m.judge.name for m in self.members if isinstance(m.judge, Stochastic) and not m.gold)

    async def judge(self, example: Example, rollout: Rollout, split: Split | None = None) -> tuple[Verdict, ...]:
        """One verdict per member that is asked, in the members' order; none for a failed rollout.

        What a judge raises is a verdict with an error, except what concerns the whole run (`SystemicError`,
        `BudgetSpent`, `UsageError`): that is raised once the other judges have finished what they are paid for.
        """
        members = [member for member in self.members if not (member.gold and split == "train")]
        return await self._judge(members, example, rollout, 0)

    async def judge_again(
        self, example: Example, rollout: Rollout, verdicts: Sequence[Verdict], repeat: int
    ) -> tuple[Verdict, ...]:
        """What the judges that steer say when they are asked for the `repeat`-th time (1, 2, …), instead of `verdicts`.

        A judge that can only say the same again is not asked.
        """
        members = [member for member in self.members if not member.gold]
        return await self._judge(members, example, rollout, repeat, verdicts)

    def score(self, verdicts: Sequence[Verdict]) -> float | None:
        """Weighted mean of the members' scores, 0 to 1; None for *not judged*.

        0 where a veto judge did not pass, whatever the others say or fail to say. Otherwise None where a member that is
        not optional has no verdict or no score (invariant 4). A judgement that was skipped
        counts 0: what fails a gate earns nothing behind it. Verdicts of gold judges stay out of the mean, as do those
        of others than the members, a person's for instance.
        """
        if self.vetoed(verdicts):
            return 0.0
        counted = self._counted(verdicts)
        if counted is None:
            return None
        total = math.fsum(member.weight for member, _ in counted)
        if not total:
            return None
        if self.all_pass:
            return float(_all_passed(counted))
        return math.fsum(member.weight * (verdict.score or 0.0) for member, verdict in counted) / total

    def passed(self, verdicts: Sequence[Verdict]) -> bool | None:
        """Whether every judge that counts passes; None where there is no score."""
        if self.score(verdicts) is None:
            return None
        return not self.vetoed(verdicts) and _all_passed(self._counted(verdicts) or ())

    def vetoed(self, verdicts: Sequence[Verdict]) -> bool:
        """Whether a judge with a veto, of those that steer, was asked and did not pass."""
        vetoes = {member.judge.name for member in self.members if member.veto and not member.gold}
        return any(one.name in vetoes and one.score is not None and not has_passed(one) for one in verdicts)

    def questions(self, example: Example, rollout: Rollout, verdicts: Sequence[Verdict]) -> frozenset[str]:
        """Names what judges that may waver were asked about a rollout; what two rollouts share got one verdict.

        Of judges that steer and came to a verdict.
        """
        by_name = {verdict.name: verdict for verdict in verdicts}
        asked = set()
        for member in self.members:
            judge, verdict = member.judge, by_name.get(member.judge.name)
            if member.gold or not isinstance(judge, Stochastic) or verdict is None or verdict.score is None:
                continue
            own = judge.question(example, rollout) if isinstance(judge, Questioner) else rollout.id
            asked.add(f"{judge.name}/{own}")
        return frozenset(asked)

    def _counted(self, verdicts: Sequence[Verdict]) -> list[tuple[Member, Verdict]] | None:
        """Members that steer with what they said, skipped judgements among them; None for *not judged*."""
        by_name = {verdict.name: verdict for verdict in verdicts}
        counted: list[tuple[Member, Verdict]] = []
        for member in self.members:
            verdict = by_name.get(member.judge.name)
            if member.gold:
                continue
            waited = member.when == "passed" and verdict is not None and is_skipped(verdict)
            if verdict is not None and (waited or (verdict.score is not None and verdict.error is None)):
                counted.append((member, verdict))
            elif not member.optional:
                return None
        return counted

    async def _judge(
        self,
        members: Sequence[Member],
        example: Example,
        rollout: Rollout,
        repeat: int,
        before: Sequence[Verdict] = (),
    ) -> tuple[Verdict, ...]:
        if rollout.error is not None:
            return ()
        known = {verdict.name: verdict for verdict in before if not is_skipped(verdict)}
        first = [member for member in members if member.when == "always"]
        said = await _ask_all(first, example, rollout, repeat, known)
        waiting = [member for member in members if member.when == "passed"]
        held_up = _not_passed(first, said) if waiting else []
        if held_up:
            said |= {member.judge.name: _skipped(member.judge.name, rollout, held_up, said) for member in waiting}
        else:
            said |= await _ask_all(waiting, example, rollout, repeat, known)
        return tuple(said[member.judge.name] for member in members)


def _all_passed(counted: Iterable[tuple[Member, Verdict]]) -> bool:
    return all(has_passed(verdict) for member, verdict in counted if member.counts)


def _not_passed(members: Iterable[Member], said: dict[str, Verdict]) -> list[str]:
    """Who of those that count does not let a rollout through; an optional judge that failed holds nothing up."""
    verdicts = [(m, said[m.judge.name]) for m in members if m.counts]
    return [m.judge.name for m, one in verdicts if not has_passed(one) and not (m.optional and one.score is None)]


def _skipped(name: str, rollout: Rollout, held_up: list[str], said: dict[str, Verdict]) -> Verdict:
    failed = [gate for gate in held_up if said[gate].score is None]
    why = f"{listing(failed)} could not judge" if failed else f"{listing(held_up)} did not pass"
    reason = f"not judged: {why}, and {name} is asked about what passes"
    return Verdict(name=name, rollout=rollout.id, label=SKIPPED, explanation=reason, source=name)


async def _ask_all(
    members: Sequence[Member], example: Example, rollout: Rollout, repeat: int, known: dict[str, Verdict]
) -> dict[str, Verdict]:
    asked = (_ask(member, example, rollout, repeat, known) for member in members)
    answers = await asyncio.gather(*asked, return_exceptions=True)
    verdicts = {answer.name: answer for answer in answers if isinstance(answer, Verdict)}
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return verdicts


async def ask(judge: Judge, example: Example, rollout: Rollout) -> Verdict:
    """One judge's verdict, as a panel gets it: what it raises is a verdict with an error, or concerns the whole run."""
    return await _ask(Member(judge), example, rollout, 0, {})


async def _ask(member: Member, example: Example, rollout: Rollout, repeat: int, known: dict[str, Verdict]) -> Verdict:
    judge = member.judge
    try:
        said: object
        if not repeat:
            said = await judge.judge(example, rollout)
        elif isinstance(judge, Stochastic):
            said = await judge.judge_again(example, rollout, repeat)
        else:
            said = known[judge.name] if judge.name in known else await judge.judge(example, rollout)
        verdict = as_record(judge.name, rollout, said)
    except Exception as error:
        verdict = not_judged(judge.name, rollout, raised(error))
    return replace(verdict, name=judge.name, rollout=rollout.id, gold=member.gold)
