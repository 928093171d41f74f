"""Arms: what each does before it is measured. Knows names alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from promptlearn.config import ArmName
from promptlearn.errors import ConfigError

Stage = Literal["prompt", "weights", "rejection_sft"]

STAGES: Mapping[ArmName, tuple[Stage, ...]] = {
    "base": (),
    "prompt": ("prompt",),
    "best_of_n": (),
    "weights": ("weights",),
    "prompt+weights": ("prompt", "weights"),
    "weights+prompt": ("weights", "prompt"),
    "rejection_sft": ("rejection_sft",),
}
"""What an arm learns, in this order; each stage starts from what the one before it has learned."""
NAMES: tuple[ArmName, ...] = get_args(ArmName)


def parse_arms(text: str) -> tuple[ArmName, ...]:
    """`base,prompt` as names. Raises ConfigError for one that is not there."""
    given = [name.strip() for name in text.split(",") if name.strip()]
    for name in given:
        if name not in NAMES:
            raise ConfigError(f"no arm is called {name!r}; possible: {', '.join(NAMES)}")
    return tuple(arm for name in given for arm in NAMES if arm == name)


def beginnings(arms: Sequence[ArmName]) -> list[tuple[Stage, ...]]:
    """Every beginning of what an arm learns, each once, in the order of the arms."""
    return list(dict.fromkeys(STAGES[arm][:size] for arm in arms for size in range(1, len(STAGES[arm]) + 1)))


def trains(arms: Sequence[ArmName]) -> bool:
    """Whether one of them trains weights."""
    return any(stage != "prompt" for arm in arms for stage in STAGES[arm])
