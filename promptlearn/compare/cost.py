"""What learning costs, what a call costs, and after how many calls the one pays for the other.

Unknown dollars are None, never 0. Plain functions and data.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import ceil

from promptlearn.records import Json


@dataclass(frozen=True, slots=True)
class Training:
    """What it took to learn something, as if nothing had been known before: replies from the journal count like paid
    ones. Means over seeds have fractions.
    """

    calls: float = 0
    """Of every role."""
    tokens: float = 0
    """Read and written."""
    gpu_s: float = 0.0
    """Seconds in which this machine's device was at work: sampling, training, and runs whose model lives here."""
    cost_usd: float | None = 0.0
    """Calls and device; None where a part of it is unknown."""
    wall_s: float = 0.0
    """Less than learning takes where the journal knew replies: they come at once."""

    def __add__(self, other: Training) -> Training:
        return Training(
            self.calls + other.calls,
            self.tokens + other.tokens,
            self.gpu_s + other.gpu_s,
            None if self.cost_usd is None or other.cost_usd is None else self.cost_usd + other.cost_usd,
            self.wall_s + other.wall_s,
        )

    def to_json(self) -> dict[str, Json]:
        return asdict(self) | {"gpu_s": round(self.gpu_s, 3), "wall_s": round(self.wall_s, 3)}


@dataclass(frozen=True, slots=True)
class PerCall:
    """What one answer costs once everything is learned, as measured on the test rows."""

    input_tokens: float
    output_tokens: float
    cost_usd: float | None
    """Tokens, and device seconds where the model lives here; None where a part of it is unknown."""

    @property
    def tokens(self) -> float:
        return self.input_tokens + self.output_tokens


@dataclass(frozen=True, slots=True)
class Point:
    """How good an arm was on validation once it had spent so much."""

    calls: float
    tokens: float
    cost_usd: float | None
    wall_s: float
    score: float | None
    """Mean over the validation rows that were read."""

    def after(self, before: Training) -> Point:
        """The same point of an arm that had spent `before` on its earlier stages."""
        spent = before + Training(self.calls, self.tokens, 0.0, self.cost_usd, self.wall_s)
        return Point(spent.calls, spent.tokens, spent.cost_usd, spent.wall_s, self.score)


def mean_training(trainings: Sequence[Training]) -> Training:
    """Of one seed, in the mean."""
    total, count = sum(trainings, Training()), max(1, len(trainings))
    cost = None if total.cost_usd is None else total.cost_usd / count
    return Training(total.calls / count, total.tokens / count, total.gpu_s / count, cost, total.wall_s / count)


def mean_per_call(calls: Sequence[PerCall]) -> PerCall:
    costs = [one.cost_usd for one in calls]
    known = [cost for cost in costs if cost is not None]
    return PerCall(
        sum(one.input_tokens for one in calls) / len(calls),
        sum(one.output_tokens for one in calls) / len(calls),
        sum(known) / len(known) if len(known) == len(costs) else None,
    )


def break_even_calls(a: tuple[Training, PerCall], b: tuple[Training, PerCall]) -> int | None:
    """The number of calls from which on `b`, learning included, has cost less than `a`.

    N* = (train_b - train_a) / (call_a - call_b), in dollars. 0 where `b` is cheaper from the first call on; None where
    it never is, or where a price is unknown.
    """
    costs = (a[0].cost_usd, a[1].cost_usd, b[0].cost_usd, b[1].cost_usd)
    if any(cost is None for cost in costs):
        return None
    train_a, call_a, train_b, call_b = (cost or 0.0 for cost in costs)
    if call_b >= call_a:
        return None
    return max(0, ceil((train_b - train_a) / (call_a - call_b)))


def equal_cost(base: PerCall, other: PerCall) -> int:
    """How many calls like `base` cost what one like `other` does: in dollars where both have a price above 0, else in
    tokens. At least 1.
    """
    if base.cost_usd and other.cost_usd:
        return max(1, int(other.cost_usd / base.cost_usd + 1e-9))
    return max(1, int(other.tokens / base.tokens + 1e-9)) if base.tokens else 1
