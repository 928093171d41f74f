"""The report of a batch: outcomes, ranks and totals, as one document, a table of values and an exit code.

Its keys are a promise: more may come, these stay. How it looks on a screen is the command line's matter.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from promptlearn.experiments.outcome import Outcome
from promptlearn.experiments.plan import Batch
from promptlearn.experiments.ranks import LEVEL, MOST, Place, Ranking, rank
from promptlearn.records import Json, Usage
from promptlearn.result import Measure

EXIT_FAILED, EXIT_UNWANTED = 1, 3
"""As of `run`: 1 something failed, 3 no improvement is proven."""


@dataclass(frozen=True, slots=True)
class BatchReport:
    name: str
    shard: str | None
    outcomes: tuple[Outcome, ...]
    """In the order of the file."""
    rankings: tuple[Ranking, ...]
    """One for each set of finished experiments that were judged alike on the same test rows."""
    fail_on: tuple[str, ...]
    budget: Json

    @classmethod
    def of(cls, batch: Batch, outcomes: Sequence[Outcome], fail_on: Collection[str] | None = None) -> BatchReport:
        settings = batch.settings
        budget = settings.budget.model_dump(mode="json", exclude_none=True) if settings.budget else None
        unwanted = tuple(settings.fail_on if fail_on is None else fail_on)
        return cls(batch.name, batch.shard, tuple(outcomes), _rankings(outcomes), unwanted, budget)

    def place(self, name: str) -> Place | None:
        """None for an experiment without an outcome, or with nobody to be compared with."""
        return next((ranking.places[name] for ranking in self.rankings if name in ranking.places), None)

    def ranked(self) -> list[Outcome]:
        """The best first, those that can be compared together; then those that are not finished."""
        group = {name: number for number, ranking in enumerate(self.rankings) for name in ranking.places}

        def key(outcome: Outcome) -> tuple[bool, int, int, int, float]:
            place = self.place(outcome.name)
            low, high = (place.low, place.high) if place else (0, 0)
            score = outcome.after.score if outcome.after else None
            return (outcome.state != "finished", group.get(outcome.name, len(group)), low, high, -(score or 0.0))

        return sorted(self.outcomes, key=key)

    def unwanted(self, outcome: Outcome) -> str | None:
        """Why this outcome makes the command fail; None where it does not.

        What has not ended counts as failed: whoever asks for the whole wants to know that a part is missing.
        """
        if outcome.state != "finished":
            return "failed" if "failed" in self.fail_on else None
        return outcome.decision if outcome.decision in self.fail_on else None

    @property
    def exit_code(self) -> int:
        """0; 1 where an experiment failed; 3 where another outcome is unwanted."""
        found = {self.unwanted(outcome) for outcome in self.outcomes} - {None}
        return EXIT_FAILED if "failed" in found else EXIT_UNWANTED if found else 0

    @property
    def total(self) -> Usage:
        """Of every run once; experiments that are the same share one."""
        runs = {outcome.run: outcome.total for outcome in self.outcomes if outcome.run is not None}
        return sum(runs.values(), Usage())

    def counts(self) -> dict[str, int]:
        """How many experiments ended how; those without a decision by their state."""
        found: dict[str, int] = {}
        for outcome in self.outcomes:
            word = outcome.decision or outcome.state
            found[word] = found.get(word, 0) + 1
        return found

    def to_json(self) -> dict[str, Json]:
        """The document of `batch --json`."""
        total = self.total
        return {
            "name": self.name,
            "shard": self.shard,
            "experiments": [self._experiment(outcome) for outcome in self.outcomes],
            "rankings": [
                {
                    "level": LEVEL,
                    "experiments": list(ranking.places),
                    "comparisons": [one.to_json() for one in ranking.comparisons],
                }
                for ranking in self.rankings
            ],
            "totals": {
                "experiments": len(self.outcomes),
                "outcomes": self.counts(),
                "calls": total.calls,
                "cached_calls": total.cached_calls,
                "cost_usd": total.cost_usd,
            },
            "budget": self.budget,
            "fail_on": list(self.fail_on),
            "exit_code": self.exit_code,
        }

    def _experiment(self, outcome: Outcome) -> Json:
        place = self.place(outcome.name)
        rank = {"low": place.low, "high": place.high, "of": place.of} if place else None
        return outcome.to_json() | {"rank": rank, "unwanted": self.unwanted(outcome)}

    def values(self) -> list[dict[str, Json]]:
        """One flat row for each experiment, for CSV; the same columns in every row."""
        axes = list(dict.fromkeys(name for outcome in self.outcomes for name in outcome.axes))
        return [self._values(outcome, axes) for outcome in self.outcomes]

    def _values(self, outcome: Outcome, axes: Iterable[str]) -> dict[str, Json]:
        place, delta, total = self.place(outcome.name), outcome.delta, outcome.total
        ended = outcome.state == "finished"
        return {
            "name": outcome.name,
            **{axis: outcome.axes.get(axis) for axis in axes},
            "state": outcome.state,
            "decision": outcome.decision,
            **_columns("before", outcome.before),
            **_columns("after", outcome.after),
            "difference": delta.score if delta else None,
            "difference_low": delta.ci95.low if delta else None,
            "difference_high": delta.ci95.high if delta else None,
            "p_value": delta.p_value if delta else None,
            "rank_low": place.low if place else None,
            "rank_high": place.high if place else None,
            "ranked": place.of if place else None,
            "calls": total.calls if ended else None,
            "cached_calls": total.cached_calls if ended else None,
            "cost_usd": total.cost_usd if ended else None,
            "seconds": round(outcome.seconds, 3),
            "run_id": outcome.run,
            "stop_reason": outcome.stop_reason,
            "path": outcome.path,
            "error": outcome.error.message if outcome.error else None,
        }


def _columns(name: str, measure: Measure | None) -> dict[str, Json]:
    return {
        name: measure.score if measure else None,
        f"{name}_low": measure.ci95.low if measure else None,
        f"{name}_high": measure.ci95.high if measure else None,
        f"{name}_n": measure.n if measure else None,
        f"{name}_errors": measure.errors if measure else None,
    }


def _rankings(outcomes: Iterable[Outcome]) -> tuple[Ranking, ...]:
    """Comparisons within every set of experiments that have the same rows and judges; more than `MOST` are too many."""
    groups: dict[str, dict[str, tuple[float | None, ...]]] = {}
    for outcome in outcomes:
        if outcome.state == "finished":
            groups.setdefault(outcome.rows, {})[outcome.name] = outcome.scores
    return tuple(rank(scores) for scores in groups.values() if 1 < len(scores) <= MOST)
