"""`compare`: which ways to learn are set against each other, and how often each is tried."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, PositiveFloat, field_validator

from promptlearn.config.section import Section

ArmName = Literal["base", "prompt", "best_of_n", "weights", "prompt+weights", "weights+prompt", "rejection_sft"]


class CompareConfig(Section):
    arms: tuple[ArmName, ...] = Field(("base", "prompt"), json_schema_extra={"minItems": 2})
    """`base` (the prompt as it is), `prompt` (a learned one), `best_of_n` (the prompt as it is, several answers, the
    most frequent one), `weights` (an adapter), `prompt+weights` (an adapter trained on the learned prompt),
    `weights+prompt` (a prompt learned for the adapter), `rejection_sft` (an adapter that learned the samples which
    every judge passes)."""
    seeds: int = Field(3, ge=1, le=50)
    """How often each arm learns; the first seed is `search.seed`. Fewer than three say little."""
    learning_rates: tuple[PositiveFloat, ...] = ()
    """Trials of every arm that trains: it trains with each of these rates, validation chooses, and all are paid for. By
    default one, with `tuning.learning_rate`."""
    at_once: int = Field(1, ge=1, le=64)
    """Trainings side by side, in one process. More than one is faster where each has processors of its own, by
    `tuning.threads`; figures of time and device are those of each training."""
    samples: int | None = Field(None, ge=2, le=256)
    """Answers of `best_of_n`; by default as many as cost what one call of the dearest other arm does."""
    temperature: float = Field(0.7, gt=0)
    """Of `best_of_n`'s answers."""
    discordance: float = Field(0.2, gt=0, le=1)
    """Share of test rows on which two arms are expected to disagree: decides which difference can be found."""

    @field_validator("arms")
    @classmethod
    def _two_or_more_each_once(cls, arms: tuple[ArmName, ...]) -> tuple[ArmName, ...]:
        if len(arms) < 2:
            raise ValueError(f"{' '.join(arms) or 'nothing'} alone compares with nothing; name two arms or more")
        double = next((arm for arm in arms if arms.count(arm) > 1), None)
        if double is not None:
            raise ValueError(f"{double} is named twice; name each arm once")
        return arms
