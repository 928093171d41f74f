"""What a run came to, as `run --json` prints it. Its keys are a promise: more may come, these stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal

from promptlearn.ledger import Charge
from promptlearn.records import Interval, Json, Prompt, Role, Usage

Conclusion = Literal["improved", "not_proven", "regressed"]


@dataclass(frozen=True, slots=True)
class Measure:
    """A prompt on the test split."""

    score: float | None
    """Mean over the rows that were judged; None without one."""
    n: int
    """Rows that were judged."""
    errors: int
    """Rows that were not."""
    ci95: Interval


@dataclass(frozen=True, slots=True)
class Difference:
    """Learned prompt minus baseline on the test split, paired."""

    score: float
    ci95: Interval
    p_value: float
    test: str
    n: int


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """One objective on the test split."""

    name: str
    better: Literal["higher", "lower"]
    baseline: float | None
    """Mean; None: not known."""
    challenger: float | None
    """Of the prompt that was proven or not."""
    delta: Difference | None
    """Challenger minus baseline, paired, in the objective's own unit."""
    verdict: Literal["better", "worse", "equal", "unknown"]
    """By the paired test (two-sided, 5 %)."""


@dataclass(frozen=True, slots=True)
class Alarm:
    """A sign that a prompt may please its judges and nobody else. Decides nothing."""

    kind: Literal["all_pass", "length", "gold"]
    message: str
    figures: Mapping[str, Json]
    """What it was read from; see `promptlearn.alarms`."""


@dataclass(slots=True)
class Tally:
    """What became of the candidates."""

    proposed: int = 0
    rejected_by_contract: int = 0
    gated_out: int = 0
    """Rejected before a race: no better than their parent on train rows, behind a better one there, or unread."""
    raced: int = 0
    accepted: int = 0
    unread: int = 0
    """Of those that were gated out: another optimizer did not read them on every validation row, and so not choose."""
    pruned: int = 0
    """Beside those proposed: prompts without one part each, by which pruning measured what the parts are worth."""


@dataclass(frozen=True, slots=True)
class RunResult:
    """The outcome of one run. `prompt` is the one to ship: the learned prompt where it is proven, else the baseline."""

    run_id: str
    state: str
    stop_reason: str
    decision: Conclusion
    prompt: Prompt
    baseline_digest: str
    baseline: Measure
    best_digest: str
    best_path: str | None
    best: Measure
    delta: Difference
    usage: dict[Role, Usage]
    candidates: Tally
    wall_s: float
    challenger_digest: str | None = None
    """A prompt that won on validation and was not proven on test; kept for reading, not shipped."""
    challenger_path: str | None = None
    rules_path: str | None = None
    """Where the shipped prompt's parts came from and what they are worth, where its own file can not say so."""
    challenger_rules_path: str | None = None
    warnings: tuple[str, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    noise: Json = None
    """What judging some answers again has shown (`judging.noise`), with the `floor` of this test split's difference;
    None where no judge wavers or no difference seemed proven."""
    objectives: tuple[ObjectiveResult, ...] = ()
    """Where the configuration has some: the challenger beside the baseline by each, on the test split."""
    test_reads: int = 1
    """How often this run has read the test split; more than one means that the figures are no longer untouched."""
    spent: Mapping[Role, Charge] = field(default_factory=dict)
    """In all stretches of the run, as caps count it: replies from the journal like paid ones, so what the run would
    cost on its own. `usd` is None where a price is unknown."""
    resumed: bool = False
    """Whether this went on with an earlier stretch: `usage` and `wall_s` are of the last one alone."""

    def to_json(self) -> dict[str, Json]:
        """The document of `run --json`."""
        usage_keys = ("calls", "cached_calls", "input_tokens", "output_tokens", "cached_tokens", "cost_usd")
        return {
            "run_id": self.run_id,
            "state": self.state,
            "stop_reason": self.stop_reason,
            "decision": self.decision,
            "baseline": {"digest": self.baseline_digest, "test": _measure(self.baseline)},
            "best": {
                "digest": self.best_digest,
                "path": self.best_path,
                "rules": self.rules_path,
                "test": _measure(self.best),
            },
            "delta": _difference(self.delta),
            "usage": {role: {key: getattr(usage, key) for key in usage_keys} for role, usage in self.usage.items()},
            "resumed": self.resumed,
            "spent": {role: asdict(charge) for role, charge in self.spent.items()},
            "candidates": asdict(self.candidates),
            "challenger": {
                "digest": self.challenger_digest,
                "path": self.challenger_path,
                "rules": self.challenger_rules_path,
            },
            "test_reads": self.test_reads,
            "warnings": list(self.warnings),
            "noise": self.noise,
            "objectives": [
                {**asdict(one), "delta": _difference(one.delta) if one.delta else None} for one in self.objectives
            ],
            "alarms": [asdict(alarm) for alarm in self.alarms],
            "wall_s": round(self.wall_s, 3),
        }


def _difference(delta: Difference) -> dict[str, Json]:
    return {
        "score": delta.score,
        "ci95": [delta.ci95.low, delta.ci95.high],
        "p_value": delta.p_value,
        "test": delta.test,
        "n": delta.n,
    }


def _measure(measure: Measure) -> dict[str, Json]:
    ci95 = [measure.ci95.low, measure.ci95.high]
    return {"score": measure.score, "n": measure.n, "errors": measure.errors, "ci95": ci95}
