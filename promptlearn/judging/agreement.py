"""Agreement between a judge and people: Cohen's kappa, the confusion table, and where they disagree.

Pure functions of pairs of labels; knows no judge, model or file. With p_o the share of pairs that agree and p_e the
share that would by chance (products of both sides' shares, summed over labels),

    kappa = (p_o - p_e) / (1 - p_e)                        Cohen 1960, "A Coefficient of Agreement for Nominal Scales"

The 95 % interval takes p_e as given, as Cohen did, and Wilson's interval for p_o, which stays honest where nearly all
pairs agree (a normal one has no width there).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from promptlearn.records import Interval, Json


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two sides give the same labels to the same outputs."""

    n: int
    observed: float
    """Share of pairs that agree."""
    chance: float
    """Share that would if both sides labelled by chance, each with its own shares."""
    kappa: float | None
    """1 is full agreement, 0 what chance gives; None where one label is all that both sides use, or without pairs."""
    ci95: Interval
    """Of kappa."""
    table: Mapping[str, Mapping[str, int]]
    """The people's label → the judge's label → pairs."""

    def to_json(self) -> dict[str, Json]:
        return {
            "n": self.n,
            "observed": self.observed,
            "chance": self.chance,
            "kappa": self.kappa,
            "ci95": [self.ci95.low, self.ci95.high],
            "confusion": {label: dict(row) for label, row in self.table.items()},
        }


def agreement_of(pairs: Sequence[tuple[str, str]], labels: Sequence[str]) -> Agreement:
    """From (a person's label, the judge's label); every label is one of `labels`, which orders the table."""
    counts = Counter(pairs)
    table = {human: {judge: counts[human, judge] for judge in labels} for human in labels}
    n = len(pairs)
    if not n:
        return Agreement(0, 0.0, 0.0, None, Interval(-1.0, 1.0), table)
    people, judges = Counter(human for human, _ in pairs), Counter(judge for _, judge in pairs)
    agreed = sum(counts[label, label] for label in labels)
    chance = sum(people[label] * judges[label] for label in labels) / n**2
    if chance == 1.0:
        return Agreement(n, 1.0, 1.0, None, Interval(-1.0, 1.0), table)
    wilson = _wilson(agreed, n)
    low, high = ((bound - chance) / (1 - chance) for bound in (wilson.low, wilson.high))
    return Agreement(n, agreed / n, chance, (agreed / n - chance) / (1 - chance), Interval(max(-1.0, low), high), table)


def _wilson(successes: int, n: int) -> Interval:
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(float(interval.low), float(interval.high))
