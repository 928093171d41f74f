"""What a training run came to, as the CLI, the API and `compare` have it. Pure data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from promptlearn.records import Json, Role, Usage
from promptlearn.store.rows import RunState
from promptlearn.store.tuning_rows import TuningSpending, TuningValidation
from promptlearn.tuning.spending import spending_of


@dataclass(frozen=True, slots=True)
class TuneResult:
    """A trained adapter and what it took. Proves nothing: validation chose it, and the test split was not read."""

    run_id: str
    state: RunState
    """`finished`, or `budget` where a cap ended it; the same command with a larger one goes on then."""
    stop_reason: str
    """`steps`, `patience`, or which cap."""
    adapter: Path
    """Folder in PEFT's format, of the best reading of the validation split; it changes nothing where that is step 0."""
    gguf: Path | None
    """The same for llama.cpp; None where the base is no model that it can be written for."""
    steps: int
    """Steps that were taken."""
    best_step: int
    """0: no adapter was better on validation than the base."""
    validation: tuple[TuningValidation, ...]
    """The curve; the first point is the base."""
    usage: dict[Role, Usage]
    """Rollouts and readings of validation are calls of the role `task`."""
    gpu_s: float
    """Seconds in which the device sampled or trained, over all stretches; what it did at the same time counts once."""
    gpu_cost_usd: float | None
    """`gpu_s` at `tuning.gpu_usd_per_hour`; None: nobody knows the price."""
    wall_s: float
    """Working time, over all stretches."""
    spending: TuningSpending
    """All of it by role, with what the journal's replies would have cost."""
    warnings: tuple[str, ...]

    @property
    def baseline(self) -> float | None:
        """The base's score on validation."""
        return self.validation[0].score if self.validation else None

    @property
    def best(self) -> float | None:
        """The kept adapter's score on validation."""
        return next((reading.score for reading in self.validation if reading.step == self.best_step), None)

    @property
    def improved(self) -> bool:
        """Whether an adapter was better than the base on validation."""
        return self.best_step > 0

    @property
    def cost_usd(self) -> float | None:
        """Calls and device together; None where a part of it is unknown."""
        parts = [self.gpu_cost_usd, *(usage.cost_usd for usage in self.usage.values())]
        return None if any(part is None for part in parts) else sum(part for part in parts if part is not None)

    @classmethod
    def from_json(cls, content: Mapping[str, Json]) -> TuneResult:
        """What `to_json` wrote, in this version or an older one."""
        usage: dict[Role, Usage] = {role: Usage(**one) for role, one in content["usage"].items()}
        gpu_s, wall_s = content["gpu_s"], content["wall_s"]
        spent = content.get("spending")
        return cls(
            run_id=content["run_id"],
            state=content["state"],
            stop_reason=content["stop_reason"],
            adapter=Path(content["adapter"]),
            gguf=Path(content["gguf"]) if content["gguf"] else None,
            steps=content["steps"],
            best_step=content["best_step"],
            validation=tuple(TuningValidation.from_json(reading) for reading in content["validation"]),
            usage=usage,
            gpu_s=gpu_s,
            gpu_cost_usd=content["gpu_cost_usd"],
            wall_s=wall_s,
            spending=TuningSpending(**spent) if spent else spending_of(usage, gpu_s, wall_s),
            warnings=tuple(content["warnings"]),
        )

    def to_json(self) -> dict[str, Json]:
        return {
            "run_id": self.run_id,
            "state": self.state,
            "stop_reason": self.stop_reason,
            "improved": self.improved,
            "adapter": str(self.adapter),
            "gguf": str(self.gguf) if self.gguf else None,
            "steps": self.steps,
            "best_step": self.best_step,
            "baseline": self.baseline,
            "best": self.best,
            "validation": [asdict(reading) for reading in self.validation],
            "usage": {role: asdict(usage) for role, usage in self.usage.items()},
            "gpu_s": self.gpu_s,
            "gpu_cost_usd": self.gpu_cost_usd,
            "cost_usd": self.cost_usd,
            "wall_s": self.wall_s,
            "spending": asdict(self.spending),
            "warnings": list(self.warnings),
        }
