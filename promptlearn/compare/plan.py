"""The plan: what can be said about a comparison before anything is spent, and what could not work.

Knows jobs as they are opened; runs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

from promptlearn.compare.arms import STAGES, beginnings, trains
from promptlearn.compare.lab import Lab
from promptlearn.compare.learning import tuning_of
from promptlearn.compare.outlay import calls_at_most
from promptlearn.config import ArmName
from promptlearn.errors import ConfigError
from promptlearn.job import Job, check_job
from promptlearn.records import Json, Role
from promptlearn.selection.stats import detectable_difference, rows_to_detect
from promptlearn.tuning.engines import check_engine

LEVEL = 0.05
"""Of all pairs of arms together, two-sided (Holm)."""
POWER = 0.8
FEWEST_SEEDS = 3


@dataclass(frozen=True, slots=True)
class Plan:
    """Arms, seeds and what they can show."""

    arms: tuple[ArmName, ...]
    seeds: tuple[int, ...]
    rows: dict[str, int]
    """Split → rows."""
    runs: int
    """Learning runs that it takes at most; arms share what they have in common."""
    calls: dict[Role, int]
    """Role → calls of learning and of reading the test split, at most."""
    samples: int | None
    """Answers of `best_of_n`; None: as many as equal cost allows, of which `calls` has one per row."""
    discordance: float
    mde: float
    """The smallest difference between two arms that is found with 80 % power at the strictest level that Holm's
    correction asks for. `better` asks for more: an interval over seeds and rows that leaves 0 out."""
    rows_needed: int
    """Test rows from which on there is such a difference at all: none is larger than `discordance`."""
    warnings: tuple[str, ...]

    @property
    def pairs(self) -> tuple[tuple[ArmName, ArmName], ...]:
        return tuple(combinations(self.arms, 2))

    @classmethod
    def of(cls, lab: Lab) -> Plan:
        """Raises UsageError for what would fail later."""
        settings, job = lab.settings, lab.job(lab.seed)
        _check(lab, job)
        data, trials = job.dataset, max(1, len(settings.learning_rates))
        pairs = len(settings.arms) * (len(settings.arms) - 1) // 2
        needed = rows_to_detect(settings.discordance, LEVEL / pairs, POWER)
        return cls(
            arms=settings.arms,
            seeds=lab.seeds,
            rows={"train": len(data.train), "validation": len(data.validation), "test": len(data.test)},
            runs=sum(1 if stages[-1] == "prompt" else trials for stages in beginnings(settings.arms)) * settings.seeds,
            calls=calls_at_most(lab, job),
            samples=settings.samples,
            discordance=settings.discordance,
            mde=detectable_difference(len(data.test), settings.discordance, LEVEL / pairs, POWER),
            rows_needed=needed,
            warnings=(*_warnings(lab, job, needed), *job.warnings),
        )

    def to_json(self) -> dict[str, Json]:
        return {
            "arms": list(self.arms),
            "seeds": list(self.seeds),
            "rows": dict(self.rows),
            "learning_runs": self.runs,
            "calls_at_most": dict(self.calls),
            "mde": self.mde,
            "mde_assumes": self.assumes,
            "warnings": list(self.warnings),
        }

    @property
    def blind(self) -> bool:
        """Whether the test rows are too few to find any difference."""
        return self.rows["test"] < self.rows_needed

    @property
    def assumes(self) -> dict[str, Json]:
        """What `mde` rests on."""
        return {
            "level": LEVEL / len(self.pairs),
            "pairs": len(self.pairs),
            "power": POWER,
            "discordance": self.discordance,
            "n": self.rows["test"],
        }


def _check(lab: Lab, job: Job) -> None:
    arms = lab.settings.arms
    check_job(job, learns=any("prompt" in STAGES[arm] for arm in arms))
    if not job.dataset.test:
        raise ConfigError("the test split is empty, so there is nothing to compare arms on; set data.split")
    if job.program is not None and any(arm not in ("base", "prompt") for arm in arms):
        raise ConfigError("`program` answers here: only the arms base and prompt can be compared; name these")
    if trains(arms):
        if lab.weights is None:
            raise ConfigError("nothing here can train weights; possible arms: base, prompt, best_of_n")
        lab.weights.check(job)
        for stage in {stage for arm in arms for stage in STAGES[arm]} - {"prompt"}:
            check_engine(tuning_of(stage, lab.tuning))
    room = reading_room(job)
    if lab.settings.samples and "best_of_n" in arms and room is not None and lab.settings.samples > room:
        raise ConfigError(
            f"best_of_n with compare.samples = {lab.settings.samples} needs "
            f"{lab.settings.samples * len(job.dataset.test)} task calls to read the test split, more than the budget "
            f"allows; raise budget.task_calls and budget.calls, or take at most {room} samples"
        )


def reading_room(job: Job) -> int | None:
    """How many calls per test row the budget allows; None where it does not say."""
    caps = [cap for cap in (job.budget.task_calls, job.budget.calls) if cap is not None]
    return min(caps) // len(job.dataset.test) if caps else None


def _warnings(lab: Lab, job: Job, rows_needed: int) -> Iterator[str]:
    settings, rows = lab.settings, len(job.dataset.test)
    if rows < rows_needed:
        yield (
            f"{rows} test rows can show nothing where arms disagree on {settings.discordance:.0%} of them: they differ "
            f"by {settings.discordance:g} at most then, and the test finds only what is larger; {rows_needed} rows "
            "would do, or fewer where arms disagree on more (compare.discordance)"
        )
    if settings.seeds < FEWEST_SEEDS and any(STAGES[arm] for arm in settings.arms):
        yield (
            f"{settings.seeds} seed{'s' * (settings.seeds > 1)}: what one run learned may be luck; "
            f"take {FEWEST_SEEDS} or more (--seeds {FEWEST_SEEDS})"
        )
    if "best_of_n" in settings.arms and not job.dataset.labels:
        yield "best_of_n takes the most frequent answer, which says little where answers are free text"
    if job.task.sampling.temperature > 0 and job.task.sampling.seed is None:
        yield "models.task is not at temperature 0: a part of each difference is chance of sampling"
