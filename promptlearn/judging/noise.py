"""Noise: how much of a score is the judge's mood.

The same rollouts are judged several times; what differs then is the judge's. With scores s_ij of rollout i at its j-th
judgement, one-way random effects (Shrout & Fleiss 1979, "Intraclass Correlations", case 1) split the variance:

    judge     = sum_ij (s_ij - mean_i)^2 / sum_i (k_i - 1)                 within rollouts
    between   = sum_i k_i (mean_i - mean)^2 / (a - 1)                      of a rollouts
    rollouts  = max(0, (between - judge) / k0),  k0 = (N - sum_i k_i^2 / N) / (a - 1)
    share     = judge / (judge + rollouts)                                 = 1 - ICC(1,1)

A mean over n rows that are judged once each carries a noise of sqrt(judge / n), the difference of two such means one of
sqrt(2 judge / n). The *floor* is what the judge alone exceeds in 5 % of cases: that times the quantile of Student's t,
because the variance itself is estimated.

Not every row is judged once: a judge that reads the output alone is asked one question about all rows with the same
output, and the journal gives them all its one answer. Such rows share a *mood*, and moods are what is independent: a
sum of rows that weighs mood k with w_k carries sqrt(judge sum_k w_k^2), and a mean over n rows
sqrt(judge (asked + (n - 1) shared) / n), with `asked` the share of rows on which a judge spoke and `shared` that of
pairs of rows with one mood.

`flip_rate` is the share of pairs of judgements of the same rollout of which one passes (all judges that count, for a
panel) and the other does not. Knows panels and verdicts; knows no store.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from statistics import mode
from typing import NamedTuple

from promptlearn.judging.panel import Panel
from promptlearn.records import Example, Json, Rollout, Verdict, has_passed

LEVEL = 0.05
"""Two-sided share of cases in which the judge alone exceeds the floor."""


class Judged(NamedTuple):
    """A rollout and what was said about it the first time."""

    example: Example
    rollout: Rollout
    verdicts: tuple[Verdict, ...]


@dataclass(frozen=True, slots=True)
class Noise:
    """How much judgements of the same rollouts differ."""

    rollouts: int
    """That were judged at least twice; of those that share a mood, one."""
    judgements: int
    """Of these; what was not judged is not among them (invariant 4)."""
    flip_rate: float | None
    """None, as all that follows, where nothing was judged twice: that is no noise of 0."""
    judge_variance: float | None
    rollout_variance: float | None
    asked: float = 1.0
    """Share of rows on which the judge spoke, of those that it did not fail on."""
    shared: float = 0.0
    """Share of pairs of these rows that got one and the same verdict."""
    not_judged: int = 0
    """Judgements that failed; they are in no figure (invariant 4)."""

    @property
    def judge_share(self) -> float | None:
        """Share of the variance of one score that is the judge's; None where nothing varies."""
        total = (self.judge_variance or 0) + (self.rollout_variance or 0)
        return (self.judge_variance or 0) / total if total else None

    def floor(self, rows: int) -> float | None:
        """The difference of two mean scores over `rows` rows each below which it may be the judge's alone."""
        alone = self.mean_floor(rows)
        return None if alone is None else alone * math.sqrt(2)

    def mean_floor(self, rows: int) -> float | None:
        """How far the judge alone may move a mean score over `rows` rows."""
        rows = max(1, rows)
        return self._reach((self.asked + (rows - 1) * self.shared) / rows)

    def floor_of(self, weights: Iterable[float]) -> float | None:
        """How far the judge alone may move a sum of moods with these weights."""
        return self._reach(math.fsum(weight * weight for weight in weights))

    def _reach(self, squares: float) -> float | None:
        from scipy.special import stdtrit

        if self.judge_variance is None:
            return None
        quantile = float(stdtrit(self.judgements - self.rollouts, 1 - LEVEL / 2))
        return quantile * math.sqrt(self.judge_variance * squares)

    def to_json(self) -> dict[str, Json]:
        return {
            "rollouts": self.rollouts,
            "judgements": self.judgements,
            "flip_rate": self.flip_rate,
            "judge_sd": _root(self.judge_variance),
            "rollout_sd": _root(self.rollout_variance),
            "judge_share": self.judge_share,
            "asked": self.asked,
            "shared": self.shared,
            "not_judged": self.not_judged,
        }


@dataclass(frozen=True, slots=True)
class PanelNoise:
    """Of the score that the search sees, and of each judge whose word may change."""

    score: Noise
    judges: Mapping[str, Noise]
    trouble: str = ""
    """Why judgements failed, most often; empty where none did."""


async def measure_noise(panel: Panel, rows: Sequence[Judged], repeats: int) -> PanelNoise:
    """Judge a rollout of each mood until it was judged `repeats` times, by those that may say something else.

    `repeats - 1` calls per mood and judge. Raises what concerns the whole run.
    """
    asked = [panel.questions(*row) for row in rows]
    found = moods(asked)
    chosen = first_of_each(rows, found)
    again = await asyncio.gather(
        *(panel.judge_again(*row, repeat) for row in chosen for repeat in range(1, repeats)), return_exceptions=True
    )
    for one in again:
        if isinstance(one, BaseException):
            raise one
    times = [one for one in again if not isinstance(one, BaseException)]
    per_row = [
        [row.verdicts, *times[index * (repeats - 1) : (index + 1) * (repeats - 1)]] for index, row in enumerate(chosen)
    ]
    given = [row.verdicts for row in rows]
    said = [*given, *times]
    scored = [panel.score(verdicts) is not None for verdicts in given]
    score = replace(
        _among(compress(found, scored), noise_of([_of_panel(panel, column) for column in per_row])),
        not_judged=sum(panel.score(verdicts) is None for verdicts in said),
    )
    judges = {}
    for name in panel.stochastic_judges:
        own = moods([frozenset(one for one in row if one.startswith(f"{name}/")) for row in asked])
        judged = [not _failed(name, verdicts) for verdicts in given]
        judges[name] = replace(
            _among(compress(own, judged), noise_of([_of_judge(name, column) for column in per_row])),
            not_judged=sum(_failed(name, verdicts) for verdicts in said),
        )
    failed = [verdict.error.message for verdicts in said for verdict in verdicts if verdict.error is not None]
    return PanelNoise(score, judges, mode(failed) if failed else "")


def moods(asked: Sequence[frozenset[str]]) -> list[int | None]:
    """The mood of each row, by what judges were asked about it; None where nobody was who may waver.

    Rows with one question in common share a mood, and so do those that a chain of such rows connects. With several
    judges that takes for one what may be two in part, and so a floor that is rather too high.
    """
    by_question: dict[str, int] = {}
    rows: dict[int, set[str]] = {}
    for number, questions in enumerate(asked):
        joined = set(questions)
        for old in {by_question[one] for one in questions if one in by_question}:
            joined |= rows.pop(old)
        if joined:
            rows[number] = joined
            by_question |= dict.fromkeys(joined, number)
    return [by_question[min(questions)] if questions else None for questions in asked]


def first_of_each(rows: Sequence[Judged], found: Sequence[int | None]) -> list[Judged]:
    """One row of each mood, in order."""
    first: dict[int, Judged] = {}
    for row, one in zip(rows, found, strict=True):
        if one is not None:
            first.setdefault(one, row)
    return [*first.values()]


def _among(rows: Iterable[int | None], noise: Noise) -> Noise:
    """The noise with how many of the rows (their moods) the judge spoke on, and how many pairs of them share one.

    What it failed on is in no mean, so that it is none of these rows.
    """
    found = [*rows]
    n, sizes = len(found), Counter(one for one in found if one is not None)
    pairs = sum(size * (size - 1) for size in sizes.values())
    return replace(noise, asked=sizes.total() / max(1, n), shared=pairs / max(1, n * (n - 1)))


def noise_of(columns: Sequence[Sequence[tuple[float, bool]]]) -> Noise:
    """From (score, passed) of each judgement, one column per rollout; columns of fewer than two tell nothing."""
    usable = [column for column in columns if len(column) > 1]
    counts = [len(column) for column in usable]
    total, groups = sum(counts), len(usable)
    if not groups:
        return Noise(0, 0, None, None, None)
    means = [math.fsum(score for score, _ in column) / len(column) for column in usable]
    within = math.fsum(
        (score - mean) ** 2 for column, mean in zip(usable, means, strict=True) for score, _ in column
    ) / (total - groups)
    flips = [_flips([passed for _, passed in column]) for column in usable]
    return Noise(groups, total, math.fsum(flips) / groups, within, _between(counts, means, within))


def _failed(name: str, verdicts: Sequence[Verdict]) -> bool:
    return any(verdict.name == name and verdict.error is not None for verdict in verdicts)


def _of_panel(panel: Panel, said: Sequence[Sequence[Verdict]]) -> list[tuple[float, bool]]:
    scores = [(panel.score(verdicts), panel.passed(verdicts)) for verdicts in said]
    return [(score, bool(passed)) for score, passed in scores if score is not None]


def _of_judge(name: str, said: Sequence[Sequence[Verdict]]) -> list[tuple[float, bool]]:
    own = [verdict for verdicts in said for verdict in verdicts if verdict.name == name and verdict.error is None]
    return [(verdict.score, has_passed(verdict)) for verdict in own if verdict.score is not None]


def _between(counts: Sequence[int], means: Sequence[float], within: float) -> float:
    """The variance of rollouts, without what the judge adds to their means."""
    total, groups = sum(counts), len(counts)
    if groups < 2:
        return 0.0
    grand = math.fsum(n * mean for n, mean in zip(counts, means, strict=True)) / total
    between = math.fsum(n * (mean - grand) ** 2 for n, mean in zip(counts, means, strict=True)) / (groups - 1)
    size = (total - sum(n * n for n in counts) / total) / (groups - 1)
    return max(0.0, (between - within) / size)


def _root(variance: float | None) -> float | None:
    return None if variance is None else math.sqrt(variance)


def _flips(passed: Sequence[bool]) -> float:
    """Share of pairs that differ."""
    n, yes = len(passed), sum(passed)
    return yes * (n - yes) / (n * (n - 1) / 2)
