"""Two or more runs side by side: paired differences on the same examples, and what each score cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import ceil, erfc, sqrt
from typing import TYPE_CHECKING, Literal

from promptlearn.errors import UsageError
from promptlearn.records import Interval, Split, Usage
from promptlearn.report.bands import Band, Z, band
from promptlearn.report.names import baseline_of, best_of, find_run
from promptlearn.report.overview import score_points
from promptlearn.report.run import usage_of
from promptlearn.report.runs import RunSummary, summarise
from promptlearn.report.specialists import Specialists, specialists

if TYPE_CHECKING:
    from promptlearn.store import Store

MANY = 2000
"""Pairs from which on the normal approximation is as good as a bootstrap, and far quicker."""


@dataclass(frozen=True, slots=True)
class CostPoint:
    """What the best prompt scored once so much was spent.

    Spent is what all rows of the prompts up to this one and proposing them cost, those of the test split apart. Rows
    that were run later for an earlier prompt count where the prompt does.
    """

    number: int
    """Of the candidate."""
    calls: int
    """Paid for, or answered by the journal."""
    tokens: int
    cost_usd: float | None
    """None: a price is unknown."""
    score: float | None
    """Validation mean of the best prompt so far."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One run in a comparison."""

    summary: RunSummary
    best: str | None
    """Digest."""
    score: Band | None
    """Of the best prompt on the split; None: not run there."""
    usage: Usage
    """Of all roles together."""
    curve: tuple[CostPoint, ...]
    answer: Usage
    """What one answer of the best prompt costs, in the mean; `calls` is 1 where none was paid for."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One arm minus another, on the examples that both have a score for."""

    run: str
    against: str
    difference: float
    ci95: Interval
    p_value: float
    test: str
    """`mcnemar_exact`, `permutation`, or `normal` for very many pairs."""
    n: int
    """Examples in common; 0: the runs share none, and nothing can be said."""
    better: int
    worse: int


@dataclass(frozen=True, slots=True)
class BreakEven:
    """From when on the dearer of two runs has paid for itself by cheaper answers."""

    run: str
    """The one whose answers are cheaper."""
    against: str
    answers: int
    """From so many on it has cost less, learning included; 0: from the first on."""
    unit: Literal["dollars", "tokens"]
    """Tokens where a price is unknown or nothing has one."""


@dataclass(frozen=True, slots=True)
class Comparison:
    split: Split
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    """Each later arm against each earlier one."""
    break_evens: tuple[BreakEven, ...]
    """None for two arms whose answers cost the same."""
    specialists: Specialists
    """By arm, in the order of `arms`."""


def compare_runs(store: Store, runs: Sequence[str], split: Split = "test") -> Comparison:
    """Best prompts of two or more runs. Raises `UsageError` naming runs."""
    rows = [find_run(store, which) for which in dict.fromkeys(runs)]
    if len({row.id for row in rows}) < 2:
        raise UsageError("name two runs at least; `promptlearn runs` lists them")
    arms, scores = [], []
    for row in rows:
        digests = store.reader.candidate_digests(row.id)
        best = best_of(row, store.reader.decisions(row.id), baseline_of(row, digests))
        totals = [one for one in store.views.totals(row.id) if (one.prompt, one.split) == (best, split)]
        usage = sum(usage_of(store, row, store.reader.candidates(row.id)).values(), Usage())
        curve, answer = cost_curve(store, row.id), _answer(store, row.id, best)
        arms.append(Arm(summarise(store, row), best, band(totals[0]) if totals else None, usage, curve, answer))
        scores.append(store.views.scores(row.id, best, split) if best else {})
    pairs = [
        pair(arms[later].summary.id, arms[earlier].summary.id, scores[later], scores[earlier])
        for later in range(len(arms))
        for earlier in range(later)
    ]
    even = [found for one, other in combinations(arms, 2) if (found := break_even(one, other))]
    kinds = specialists(scores, store.views.plain_examples(rows[0].id, split))
    return Comparison(split, tuple(arms), tuple(pairs), tuple(even), kinds)


def break_even(one: Arm, other: Arm) -> BreakEven | None:
    """How many answers the learning of the cheaper ones has to be spread over; None where answers cost the same."""
    costs = [used.cost_usd for arm in (one, other) for used in (arm.usage, arm.answer)]
    dollars = None not in costs and any(costs)
    cheap, dear = sorted((one, other), key=lambda arm: _spent(arm, dollars)[1])
    (learning, answer), (its_learning, its_answer) = _spent(cheap, dollars), _spent(dear, dollars)
    if answer == its_answer:
        return None
    answers = max(0, ceil((learning - its_learning) / (its_answer - answer)))
    return BreakEven(cheap.summary.id, dear.summary.id, answers, "dollars" if dollars else "tokens")


def _spent(arm: Arm, dollars: bool) -> tuple[float, float]:
    """On learning, and on one answer."""
    if dollars:
        return arm.usage.cost_usd or 0.0, arm.answer.cost_usd or 0.0
    return arm.usage.input_tokens + arm.usage.output_tokens, arm.answer.input_tokens + arm.answer.output_tokens


def _answer(store: Store, run: str, best: str | None) -> Usage:
    """Rows that were answered from the journal cost nothing, and say nothing about what an answer costs."""
    used = sum((row.usage for row in store.reader.failures(run) if row.prompt == best), Usage())
    paid = max(1, used.calls)
    cost = None if used.cost_usd is None else used.cost_usd / paid
    return Usage(1, 0, used.input_tokens // paid, used.output_tokens // paid, 0, cost)


def cost_curve(store: Store, run: str) -> tuple[CostPoint, ...]:
    """One point per decision that made a new best prompt, the baseline first, and one for all that was spent."""
    costs = _costs(store, run)
    points = score_points(store, run)
    curve: list[CostPoint] = []
    for point in points:
        if point.outcome not in ("baseline", "accepted") or point.stage not in (
            "baseline",
            "race",
            "prune",
            "objective",
        ):
            continue
        mean = point.incumbent.mean if point.incumbent else None
        curve.append(
            _cost_point(point.number, sum((used for number, used in costs if number <= point.number), Usage()), mean)
        )
    if points and costs:
        last = points[-1].incumbent
        everything = sum((used for _, used in costs), Usage())
        curve.append(_cost_point(costs[-1][0], everything, last.mean if last else None))
    return tuple(dict.fromkeys(curve))


def pair(run: str, against: str, new: Mapping[str, float | None], old: Mapping[str, float | None]) -> Pair:
    """Scores by example of one arm against those of another."""
    common = [(mine, theirs) for id_, mine in new.items() if mine is not None and (theirs := old.get(id_)) is not None]
    better, worse = sum(a > b for a, b in common), sum(a < b for a, b in common)
    binary = all(score in (0, 1) for both in common for score in both)
    if len(common) > MANY and not binary:
        return _normal(run, against, [a - b for a, b in common], better, worse)
    from promptlearn.selection.stats import paired_test

    found = paired_test([a for a, _ in common], [b for _, b in common])
    return Pair(run, against, found.difference, found.ci95, found.p_value, found.test, found.n, better, worse)


def _normal(run: str, against: str, differences: Sequence[float], better: int, worse: int) -> Pair:
    n = len(differences)
    mean = sum(differences) / n
    error = sqrt(sum((one - mean) ** 2 for one in differences) / (n - 1) / n)
    p_value = erfc(abs(mean) / error / sqrt(2)) if error else float(mean == 0)
    return Pair(run, against, mean, Interval(mean - Z * error, mean + Z * error), p_value, "normal", n, better, worse)


def _costs(store: Store, run: str) -> list[tuple[int, Usage]]:
    """Candidate's number → what it and its rows cost, in order."""
    found: dict[int, Usage] = {}
    numbers = {}
    for one in store.reader.candidates(run):
        numbers[one.candidate.digest] = one.number
        found[one.number] = one.candidate.usage
    spent = [(row.prompt, row.split, row.usage) for row in store.reader.scores(run)]
    spent += [(row.prompt, row.split, row.usage) for row in store.reader.failures(run)]
    for digest, split, usage in spent:
        number = numbers.get(digest)
        if number is not None and split != "test":
            found[number] += usage
    return sorted(found.items())


def _cost_point(number: int, spent: Usage, score: float | None) -> CostPoint:
    calls, tokens = spent.calls + spent.cached_calls, spent.input_tokens + spent.output_tokens
    return CostPoint(number, calls, tokens, spent.cost_usd, score)
