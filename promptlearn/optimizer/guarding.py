"""Guards: a prompt that loses what reviewers taught does not take the place of one that keeps it.

Each guard is a rule with its criterion (code, or the judge's model), and the examples that its comments were about.
Both prompts are compared on the same rows: validation rows that decisions have read anyway, in their order, and the
guard's own examples of the train and validation splits. A guard is *lost* where

* one of its own examples passes with the incumbent and fails with the candidate, or
* the candidate keeps it on fewer rows, by the exact McNemar test, one-sided, at `LEVEL`, or
* the candidate keeps it on at most half of the rows on which the incumbent does, and on two fewer at least (for rules
  that apply to few rows, on which no test could tell).

Rows that the rule does not apply to with either prompt, and rows that were not judged, stay out (invariant 4). A guard
of which nothing could be judged is not measured: it stops no winner and is told, and pruning leaves nothing out then.
The incumbent sets the measure, so a rule that it never kept stops nobody. Deterministic: what is read depends on what
decisions have read (invariant 8).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import mode

from promptlearn.dataset import Dataset
from promptlearn.errors import BudgetSpent
from promptlearn.evaluation import Row
from promptlearn.judging import NOT_APPLICABLE, Judge, open_criterion
from promptlearn.models.base import Model
from promptlearn.optimizer.reading import Reader
from promptlearn.proposing.wording import as_rule, says
from promptlearn.records import Decision, Example, Guard, Prompt, Review, Split, Verdict
from promptlearn.selection.stats import one_sided_p
from promptlearn.store.feedback_rows import GuardRow

LEVEL = 0.05
MOST_JUDGED = 16
"""Rows of a guard about which a language model is asked, for each prompt."""
_SHOWN = 80


@dataclass(frozen=True, slots=True)
class Standing:
    """How far two prompts keep one guard, on the same rows."""

    guard: Guard
    rows: int
    """Rows that it applies to, judged with both prompts."""
    before: int
    """Of these, how many the incumbent keeps."""
    after: int
    """And the candidate."""
    p_value: float
    """Of "the candidate keeps it as often", one-sided."""
    failed: tuple[str, ...] = ()
    """The guard's own examples that passed and do not any more."""
    unmeasured: bool = False
    """Whether every judgement that was asked for failed for one of the prompts at least."""

    @property
    def lost(self) -> bool:
        halved = self.before - self.after >= 2 and 2 * self.after <= self.before
        return bool(self.failed) or self.p_value <= LEVEL or halved

    @property
    def words(self) -> str:
        """What was lost, or not measured, for people; names the guard."""
        rule = self.guard.rule
        shown = rule if len(rule) <= _SHOWN else f"{rule[: _SHOWN - 1]}…"
        name = f"guard {self.guard.id} “{shown}”"
        if self.failed:
            return f"{name}: loses its example {self.failed[0]}"
        if self.unmeasured:
            return f"{name}: could not be judged"
        return f"{name}: kept on {self.after} of {self.rows} rows, by the incumbent on {self.before}"


@dataclass(frozen=True, slots=True)
class _Watched:
    guard: Guard
    judge: Judge | None
    """None: only its examples can tell, by what the run's own judges say."""
    examples: tuple[tuple[Split, Example], ...]
    by_model: bool


def review_guards(reviews: Iterable[Review], variables: Iterable[str] = ()) -> list[Guard]:
    """One guard per approved review, in the wording that it has as a rule in a prompt."""
    names = frozenset(variables)
    made = [
        Guard(
            as_rule(review.suggestion or review.body, names),
            (review.url or review.id, *review.sources),
            review.examples,
        )
        for review in reviews
    ]
    return [guard for guard in made if guard.rule]


class Guarding:
    """The guards of a run."""

    def __init__(
        self, guards: Iterable[Guard], dataset: Dataset, model: Model | None = None, secrets: Sequence[str] = ()
    ) -> None:
        """`model` is what judges rules that no code can check; `secrets` are kept from it. Of equal guards the first
        one counts.
        """
        self._dataset = dataset
        splits: tuple[tuple[Split, Sequence[Example]], ...] = (
            ("train", dataset.train),
            ("validation", dataset.validation),
        )
        places = {example.id: (split, example) for split, examples in splits for example in examples}
        distinct = {guard.id: guard for guard in reversed([*guards])}
        found = [_watch(guard, places, model, secrets) for guard in reversed(distinct.values())]
        self._watched = [watched for watched in found if watched.judge is not None or watched.examples]
        self._asked: dict[tuple[str, str], str] = {}
        """Guard and rollout → why the judgement failed, empty where it did not."""

    def __bool__(self) -> bool:
        return bool(self._watched)

    @property
    def examples(self) -> int:
        """Rows of each prompt that guards may have to read."""
        return len({example.id for watched in self._watched for _, example in watched.examples})

    async def check(
        self, incumbent: Prompt, candidate: Prompt, won: Decision, reader: Reader
    ) -> tuple[Decision, BudgetSpent | None]:
        """The decision on a candidate that `won` its race: the same, or that a guard stands in its way."""
        try:
            standings = await self.standings(incumbent, candidate, reader)
        except BudgetSpent as spent:
            return replace(
                won, outcome="undecided", reason=f"{won.reason}; no budget is left to read its guards"
            ), spent
        if lost := "; ".join(one.words for one in standings if one.lost):
            return replace(won, stage="guard", outcome="rejected", reason=lost), None
        return replace(won, reason="; ".join(filter(None, (won.reason, _unmeasured(standings))))), None

    async def lost(self, incumbent: Prompt, candidate: Prompt, reader: Reader, strict: bool = False) -> str:
        """The guards that the candidate loses, in words; empty where it keeps them all. `strict`: and those of which
        nobody can tell, where it loses none. Raises `BudgetSpent`.
        """
        standings = await self.standings(incumbent, candidate, reader)
        lost = "; ".join(one.words for one in standings if one.lost)
        return lost or (_unmeasured(standings) if strict else "")

    def shortfall(self, standings: Sequence[Standing]) -> str:
        """How many judgements failed so far, how many of these guards were not measured, and why, in one line."""
        reasons = [why for why in self._asked.values() if why]
        if not reasons:
            return ""
        blank = sum(one.unmeasured for one in standings)
        unmeasured = f", so {blank} of {len(standings)} guards were not measured" if blank else ""
        return f"{len(reasons)} of {len(self._asked)} guard judgements failed{unmeasured}; most often: {mode(reasons)}"

    async def standings(self, incumbent: Prompt, candidate: Prompt, reader: Reader) -> list[Standing]:
        """One per guard. Raises `BudgetSpent` and what reading rows raises."""
        if not self._watched:
            return []
        prompts = (incumbent, candidate)
        both = [
            example
            for example in self._dataset.validation
            if all(reader.has("validation", (prompt.digest, example.id)) for prompt in prompts)
        ]
        before, after = await reader.rows(prompts, both, "validation")
        pairs = [*zip(before, after, strict=True)]
        return [await self._standing(watched, pairs, prompts, reader) for watched in self._watched]

    async def _standing(
        self, watched: _Watched, pairs: Sequence[tuple[Row, Row]], prompts: tuple[Prompt, Prompt], reader: Reader
    ) -> Standing:
        usable = [] if watched.judge is None else [pair for pair in pairs if _answered(pair)]
        usable = usable[:MOST_JUDGED] if watched.by_model else usable
        own = [pair for split, one in watched.examples if _answered(pair := await _pair(one, split, prompts, reader))]
        if watched.judge is None:
            said, scores = [], [(before.score, after.score) for before, after in own]
        else:
            said = await self._judged(watched, watched.judge, [*usable, *own], reader)
            scores = [(before.score, after.score) for before, after in said[len(usable) :]]
        failed = [
            before.example.id
            for (before, _), (old, new) in zip(own, scores, strict=True)
            if old is not None and new is not None and old >= 1 > new
        ]
        kept = _applying(said[: len(usable)])
        old, new = [one for one, _ in kept], [other for _, other in kept]
        return Standing(
            watched.guard,
            len(kept),
            round(sum(old)),
            round(sum(new)),
            one_sided_p(old, new),
            tuple(failed),
            bool(said) and all(before.error or after.error for before, after in said),
        )

    async def _judged(
        self, watched: _Watched, judge: Judge, pairs: Sequence[tuple[Row, Row]], reader: Reader
    ) -> list[tuple[Verdict, Verdict]]:
        rows = [row for pair in pairs for row in pair]
        with reader.judging():
            said = await asyncio.gather(
                *(judge.judge(row.example, row.rollout) for row in rows), return_exceptions=True
            )
        verdicts = [one for one in said if isinstance(one, Verdict)]
        for one in said:
            if isinstance(one, BaseException):
                raise one
        for verdict in verdicts:
            self._asked[watched.guard.id, verdict.rollout] = verdict.error.message if verdict.error else ""
        return [*zip(verdicts[::2], verdicts[1::2], strict=True)]


def adopted(standings: Iterable[Standing], shipped: Prompt, scope: str, run: str) -> list[GuardRow]:
    """What later runs may not lose: rules that the shipped prompt states, or keeps as well as the first one."""
    return [
        GuardRow(scope, replace(one.guard, run=run), one.rows, one.before, one.after)
        for one in standings
        if says(shipped.learned_text(), one.guard.rule) or one.after >= max(1, one.before)
    ]


def _watch(
    guard: Guard, places: dict[str, tuple[Split, Example]], model: Model | None, secrets: Sequence[str]
) -> _Watched:
    judge = open_criterion(guard.rule, model, name=f"guard {guard.id}", secrets=secrets)
    examples = tuple(places[id] for id in guard.examples if id in places)
    return _Watched(guard, judge, examples, by_model=judge is not None and hasattr(judge, "model"))


async def _pair(example: Example, split: Split, prompts: tuple[Prompt, Prompt], reader: Reader) -> tuple[Row, Row]:
    [before], [after] = await reader.rows(prompts, [example], split)
    return before, after


def _answered(pair: tuple[Row, Row]) -> bool:
    return not any(row.rollout.error for row in pair)


def _unmeasured(standings: Sequence[Standing]) -> str:
    """The guards that could not be judged, in words; empty where all could."""
    found = [one for one in standings if one.unmeasured]
    if not found:
        return ""
    return found[0].words + (f", nor could {len(found) - 1} more" if len(found) > 1 else "")


def _applying(verdicts: Sequence[tuple[Verdict, Verdict]]) -> list[tuple[float, float]]:
    """1 for kept and 0 for broken, where both were judged and the rule applies to one of them at least."""
    return [
        (float(before.score >= 1), float(after.score >= 1))
        for before, after in verdicts
        if before.score is not None and after.score is not None and {before.label, after.label} != {NOT_APPLICABLE}
    ]
