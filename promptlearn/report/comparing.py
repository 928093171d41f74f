"""Two or more runs side by side: paired differences on the same examples, and what each score cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import erfc, sqrt
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Interval, Split, Usage
from promptlearn.report.bands import Band, Z, band
from promptlearn.report.names import baseline_of, best_of, find_run
from promptlearn.report.overview import score_points
from promptlearn.report.run import usage_of
from promptlearn.report.runs import RunSummary, summarise

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
class Comparison:
    split: Split
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    """Each later arm against each earlier one."""


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
        arms.append(Arm(summarise(row), best, band(totals[0]) if totals else None, usage, cost_curve(store, row.id)))
        scores.append(store.views.scores(row.id, best, split) if best else {})
    pairs = [
        pair(arms[later].summary.id, arms[earlier].summary.id, scores[later], scores[earlier])
        for later in range(len(arms))
        for earlier in range(later)
    ]
    return Comparison(split, tuple(arms), tuple(pairs))


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
