"""Progress: where a run that trains stands, apart from the weights, and what has to be known to go on exactly.

Pure data and what follows from it. Random numbers are no part of it: seeds are made from a group's place in the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace

from promptlearn.config import TuningConfig
from promptlearn.ledger import Charge, Ledger
from promptlearn.records import ROLES, Json, Role, Usage
from promptlearn.store.tuning_rows import TuningValidation
from promptlearn.tuning.base import Sample
from promptlearn.tuning.device import DeviceTime
from promptlearn.tuning.rewards import Reward

NO_SPREAD = "no spread"
"""Why training ended: there was nothing to learn from."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A group that was drawn beforehand, without what it was asked, which follows from its place in the run."""

    samples: tuple[Sample, ...]
    seconds: float
    """As `stream.Draw` has it."""
    rewards: tuple[Reward, ...] = ()
    """In the order of the samples; empty: not judged."""


@dataclass(slots=True)
class Progress:
    """Changes as steps end."""

    step: int = 0
    """Steps that have ended."""
    readings: list[TuningValidation] = field(default_factory=list)
    """Of the validation split, in order."""
    read_version: int | None = None
    """Of the policy that the last reading is of."""
    flat: int = 0
    """The last steps, as many as there are in a row, in which no group had any spread."""
    gpu_s: float = 0.0
    """Seconds in which the device sampled or trained, as of the last checkpoint."""
    paid: dict[Role, Usage] = field(default_factory=dict)
    """What earlier stretches spent up to `step`, by role; what came after it is done again."""
    charged: dict[Role, Charge] = field(default_factory=dict)
    """The same as caps count it, the journal's replies included."""
    rankings: int = 0
    """Groups whose answers were to be ranked, in steps that have ended."""
    failed_rankings: int = 0
    """Those of them that nobody could rank."""
    ahead: list[list[Drawn]] = field(default_factory=list)
    """Batches that were drawn beforehand: their policy is gone, so they could not be drawn again."""

    @property
    def best(self) -> TuningValidation | None:
        """The best reading so far, the earliest of equals."""
        return next((reading for reading in reversed(self.readings) if reading.best), None)

    @property
    def idle(self) -> int:
        """Readings since the best one."""
        best = self.best
        return 0 if best is None else len(self.readings) - 1 - self.readings.index(best)

    def has_read(self, step: int) -> bool:
        return any(reading.step == step for reading in self.readings)

    def end_step(self, *, learned: bool) -> None:
        """Count a step; `learned` says whether any of its groups had something to say."""
        self.step += 1
        self.flat = 0 if learned else self.flat + 1

    def over(self, tuning: TuningConfig) -> str | None:
        """Why no step comes after the last one, whatever validation says; None: one does."""
        if self.step >= tuning.steps:
            return "steps"
        return NO_SPREAD if tuning.flat_steps is not None and self.flat >= tuning.flat_steps else None

    def add(self, reading: TuningValidation) -> TuningValidation:
        """Keep a reading; returns it with `best` set. One without a score is never the best."""
        best = self.best
        better = reading.score is not None and (best is None or best.score is None or reading.score > best.score)
        self.readings.append(replace(reading, best=better))
        return self.readings[-1]

    def note_spending(self, ledger: Ledger, device: DeviceTime) -> None:
        """Remember what was spent so far, for the ledger and the device time of a later stretch."""
        self.gpu_s = device.seconds
        self.paid = {role: ledger.usage(role) for role in ROLES}
        self.charged = {role: ledger.spent(role) for role in ROLES}

    def charge(self, ledger: Ledger) -> None:
        """Put what earlier stretches spent on a new ledger, so that caps hold over all of them (invariant 1)."""
        for role, charge in self.charged.items():
            ledger.carry(role, charge, self.paid[role])

    def to_json(self) -> Json:
        return {
            "step": self.step,
            "readings": [asdict(reading) for reading in self.readings],
            "read_version": self.read_version,
            "flat": self.flat,
            "gpu_s": self.gpu_s,
            "paid": {role: asdict(usage) for role, usage in self.paid.items()},
            "charged": {role: asdict(charge) for role, charge in self.charged.items()},
            "rankings": [self.rankings, self.failed_rankings],
            "ahead": [[asdict(drawn) for drawn in batch] for batch in self.ahead],
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Json]) -> Progress:
        rankings, failed = content.get("rankings", (0, 0))
        return cls(
            step=content["step"],
            readings=[TuningValidation.from_json(reading) for reading in content["readings"]],
            read_version=content.get("read_version"),
            flat=content.get("flat", 0),
            gpu_s=content["gpu_s"],
            paid={role: Usage(**usage) for role, usage in content["paid"].items()},
            charged={role: Charge(**charge) for role, charge in content["charged"].items()},
            rankings=rankings,
            failed_rankings=failed,
            ahead=[[_drawn(group) for group in batch] for batch in content["ahead"]],
        )


def _drawn(content: Mapping[str, Json]) -> Drawn:
    rewards = tuple(Reward(**reward) for reward in content.get("rewards", ()))
    return Drawn(tuple(map(_sample, content["samples"])), content["seconds"], rewards)


def _sample(content: Mapping[str, Json]) -> Sample:
    columns = {name: tuple(content[name]) for name in ("token_ids", "logprobs")}
    return Sample(**{**content, **columns})
