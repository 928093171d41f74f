"""The comparison: every arm on the test split, every pair of arms, and what it all cost. Its keys are a promise: more
may come, these stay.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from promptlearn.compare.cost import PerCall, Point, Training, break_even_calls, mean_per_call, mean_training
from promptlearn.compare.learning import Learned
from promptlearn.compare.plan import LEVEL, Plan
from promptlearn.compare.reading import Reading
from promptlearn.config import ArmName
from promptlearn.records import Json
from promptlearn.selection.crossed import Gap, Mean, crossed_gap, crossed_mean
from promptlearn.selection.stats import holm

WEIGHTS: tuple[ArmName, ...] = ("weights", "prompt+weights", "weights+prompt", "rejection_sft")
"""Arms that train; the first that is there is the one whose training has to pay for itself."""
WITHOUT: tuple[ArmName, ...] = ("prompt", "best_of_n", "base")
"""What one would do instead, in this order."""


@dataclass(frozen=True, slots=True)
class Arm:
    """One way to get better answers, over all its seeds."""

    name: ArmName
    learned: tuple[Learned, ...]
    """One for each seed."""
    readings: tuple[Reading, ...]
    """The same."""
    samples: int = 1
    """Answers per example."""

    @property
    def scores(self) -> list[tuple[float | None, ...]]:
        return [reading.scores for reading in self.readings]

    @property
    def test(self) -> Mean:
        return crossed_mean(self.scores)

    @property
    def training(self) -> Training:
        """Of one seed, in the mean."""
        return mean_training([one.training for one in self.learned])

    @property
    def per_call(self) -> PerCall:
        return mean_per_call([reading.per_call for reading in self.readings])

    @property
    def curves(self) -> list[tuple[Point, ...]]:
        return [one.curve for one in self.learned]


@dataclass(frozen=True, slots=True)
class Pair:
    """Arm b minus arm a."""

    a: ArmName
    b: ArmName
    gap: Gap
    p_holm: float
    cheaper_from: int | None
    """Calls from which on b, learning included, has cost less than a."""

    @property
    def better(self) -> ArmName | None:
        """The arm that is shown to score higher: by the corrected test, and by the interval over seeds."""
        ci95 = self.gap.ci95
        if self.p_holm >= LEVEL or ci95.low <= 0 <= ci95.high:
            return None
        return self.b if self.gap.difference > 0 else self.a

    @property
    def break_even_calls(self) -> int | None:
        """As `cheaper_from`; None where b is shown to score lower, because what is worse pays for nothing."""
        return None if self.better == self.a else self.cheaper_from


@dataclass(frozen=True, slots=True)
class Comparison:
    plan: Plan
    arms: tuple[Arm, ...]
    pairs: tuple[Pair, ...]
    examples: tuple[str, ...]
    """Ids of the test rows, in the order of scores."""

    @classmethod
    def of(cls, plan: Plan, arms: Sequence[Arm], examples: Sequence[str]) -> Comparison:
        known = {arm.name: arm for arm in arms}
        gaps = [crossed_gap(known[a].scores, known[b].scores) for a, b in plan.pairs]
        adjusted = holm([gap.p_value for gap in gaps])
        pairs = [
            Pair(a, b, gap, p_holm, _break_even(known[a], known[b]))
            for (a, b), gap, p_holm in zip(plan.pairs, gaps, adjusted, strict=True)
        ]
        return cls(plan, tuple(arms), tuple(pairs), tuple(examples))

    @property
    def break_even_calls(self) -> int | None:
        """After how many calls training weights has cost less than the alternative; None: never, or nobody knows, or
        it is shown to score lower.
        """
        known = {arm.name: arm for arm in self.arms}
        trained = next((name for name in WEIGHTS if name in known), None)
        instead = next((name for name in WITHOUT if name in known), None)
        if trained is None or instead is None:
            return None
        worse = any({pair.a, pair.b} == {trained, instead} and pair.better == instead for pair in self.pairs)
        return None if worse else _break_even(known[instead], known[trained])

    def to_json(self) -> dict[str, Json]:
        """The document of `compare --json`."""
        return {
            "arms": [_arm_json(arm) for arm in self.arms],
            "pairs": [_pair_json(pair) for pair in self.pairs],
            "mde": self.plan.mde,
            "mde_assumes": self.plan.assumes,
            "break_even_calls": self.break_even_calls,
            "seeds": list(self.plan.seeds),
            "rows": dict(self.plan.rows),
            "warnings": list(self.plan.warnings),
        }

    def rows(self) -> list[Mapping[str, Json]]:
        """Every score, so that anybody can compute the rest again."""
        return [
            {"arm": arm.name, "seed": seed, "example": example, "score": score, "run_id": reading.run}
            for arm in self.arms
            for seed, reading in zip(self.plan.seeds, arm.readings, strict=True)
            for example, score in zip(self.examples, reading.scores, strict=True)
        ]


def _break_even(a: Arm, b: Arm) -> int | None:
    return break_even_calls((a.training, a.per_call), (b.training, b.per_call))


def _arm_json(arm: Arm) -> dict[str, Json]:
    test, per_call = arm.test, arm.per_call
    return {
        "name": arm.name,
        "test": {
            "score": test.score,
            "n": test.n,
            "ci95": [test.ci95.low, test.ci95.high],
            "errors": test.errors,
            "by_seed": list(test.by_seed),
            "reads": max(reading.times for reading in arm.readings),
        },
        "train": arm.training.to_json(),
        "per_call": {
            "input_tokens": per_call.input_tokens,
            "output_tokens": per_call.output_tokens,
            "cost_usd": per_call.cost_usd,
            "samples": arm.samples,
        },
        "curves": [[asdict(point) for point in curve] for curve in arm.curves],
        "runs": [[*learned.runs, reading.run] for learned, reading in zip(arm.learned, arm.readings, strict=True)],
    }


def _pair_json(pair: Pair) -> dict[str, Json]:
    gap = pair.gap
    return {
        "a": pair.a,
        "b": pair.b,
        "delta": gap.difference,
        "ci95": [gap.ci95.low, gap.ci95.high],
        "p_value": gap.p_value,
        "p_holm": pair.p_holm,
        "test": gap.test,
        "n": gap.n,
        "by_seed": list(gap.by_seed),
        "rows_won": {"a": gap.lower, "b": gap.higher},
        "better": pair.better,
        "break_even_calls": pair.break_even_calls,
    }
