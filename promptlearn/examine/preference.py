"""Two versions of a run's prompt against each other: whose answers does a judge prefer?

Reads answers that the run has kept, so that it costs judgements alone: two for each pair that differs, one in each
order (`judging.relative`). Says which of two prompts answers better, not whether either is good; proves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count

from promptlearn.errors import DataError, UsageError
from promptlearn.examine.agreement import check_judged
from promptlearn.judging import RelativeJudge
from promptlearn.judging.relative import IDENTICAL
from promptlearn.records import Example, Interval, Json, Rollout, Split, Usage, Verdict
from promptlearn.report import locate
from promptlearn.selection.stats import PairedTest, paired_test
from promptlearn.store import Store

SWAPPED = "swapped"
"""Label of a pair on which the two orders contradict each other: the position decided."""


@dataclass(frozen=True, slots=True)
class Pair:
    """What both versions answered to one example."""

    example: Example
    old: Rollout
    new: Rollout


@dataclass(frozen=True, slots=True)
class Preference:
    """A pair and what was said about both answers."""

    pair: Pair
    old: Verdict
    new: Verdict


@dataclass(frozen=True, slots=True)
class PreferenceReport:
    """How often the new version's answer is preferred."""

    run: str
    old: str
    """Digest; so is the next."""
    new: str
    split: Split
    source: str
    """What judged."""
    preferences: tuple[Preference, ...]
    usage: Usage
    """What judging cost, as the verdicts say it; a reply that nobody could read stands in no verdict."""

    @property
    def judged(self) -> tuple[Preference, ...]:
        return tuple(one for one in self.preferences if one.new.score is not None)

    @property
    def test(self) -> PairedTest:
        """Preferred minus not preferred, as a share of the pairs; equals and swapped ones count half on each side."""
        return paired_test([one.new.score or 0.0 for one in self.judged], [one.old.score or 0.0 for one in self.judged])

    def count(self, outcome: str) -> int:
        """`preferred`, `not_preferred`, `swapped`, `equal`, `identical` or `not_judged`."""
        return sum(_outcome(one) == outcome for one in self.preferences)


OUTCOMES = ("preferred", "not_preferred", "equal", SWAPPED, IDENTICAL, "not_judged")


async def examine_preference(
    store: Store,
    judge: RelativeJudge,
    run: str,
    versions: tuple[str, str] = ("baseline", "best"),
    split: Split = "validation",
    rows: int = 20,
    heard: Callable[[int, int], None] = lambda done, of: None,
) -> PreferenceReport:
    """Compare the answers of two versions on the first `rows` examples that both have answered.

    `heard` is told how many pairs are judged, of how many.

    Raises PromptlearnError, `UsageError` where both are one prompt, `DataError` where no example has two answers,
    `TooManyErrors` where none of the pairs that differ was judged.
    """
    old, new = (locate(store, run, version) for version in versions)
    if old.digest == new.digest:
        raise UsageError(
            f"{versions[0]} and {versions[1]} are the same prompt of run {old.run}, so there is nothing to prefer; "
            "name two that differ"
        )
    pairs = _pairs(store, old.run, (old.digest, new.digest), split)[:rows]
    if not pairs:
        raise DataError(
            f"run {old.run} has no {split} row that {versions[0]} and {versions[1]} both answered; choose another "
            "--split, or other versions"
        )
    done = count(1)

    async def compared(pair: Pair) -> tuple[Verdict, Verdict]:
        said = await judge.compare(pair.example, pair.old, pair.new)
        heard(next(done), len(pairs))
        return said

    verdicts = await asyncio.gather(*map(compared, pairs))
    check_judged([new for _, new in verdicts if new.label != IDENTICAL], "pairs that differ")
    found = tuple(Preference(pair, *said) for pair, said in zip(pairs, verdicts, strict=True))
    usage = sum((one.old.usage + one.new.usage for one in found), Usage())
    return PreferenceReport(old.run, old.digest, new.digest, split, judge.source, found, usage)


def preference_document(report: PreferenceReport) -> dict[str, Json]:
    """What `judge compare --json` prints."""
    test = report.test
    return {
        "run_id": report.run,
        "old": report.old,
        "new": report.new,
        "split": report.split,
        "source": report.source,
        "pairs": len(report.preferences),
        **{outcome: report.count(outcome) for outcome in OUTCOMES},
        "difference": test.difference,
        "ci95": _bounds(test.ci95),
        "p_value": test.p_value,
        "judge_calls": report.usage.calls + report.usage.cached_calls,
        "cost_usd": report.usage.cost_usd,
        "cases": [_case(one) for one in report.preferences if _outcome(one) != IDENTICAL],
    }


def _pairs(store: Store, run: str, prompts: tuple[str, str], split: Split) -> list[Pair]:
    """By example; failed rollouts are no answers."""
    old, new = (
        {one.rollout.example: one.rollout for one in store.reader.rollouts(run, prompt, split) if not one.rollout.error}
        for prompt in prompts
    )
    kept: Sequence[Example] = [row.example for row in store.reader.examples(run, split)]
    return [Pair(one, old[one.id], new[one.id]) for one in kept if one.id in old and one.id in new]


def _outcome(one: Preference) -> str:
    if one.new.score is None:
        return "not_judged"
    if one.new.label in (IDENTICAL, SWAPPED):
        return one.new.label
    return "equal" if one.new.score == 0.5 else "preferred" if one.new.score > 0.5 else "not_preferred"


def _case(one: Preference) -> dict[str, Json]:
    return {
        "example": one.pair.example.id,
        "outcome": _outcome(one),
        "old": one.pair.old.output,
        "new": one.pair.new.output,
        "about_old": one.old.explanation,
        "about_new": one.new.explanation,
        "error": one.new.error.message if one.new.error else None,
    }


def _bounds(interval: Interval) -> list[float]:
    return [interval.low, interval.high]
