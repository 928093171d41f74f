"""`objectives`: what a prompt is measured by, in the order in which it counts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from promptlearn.config.section import Section, named

QUALITY = "quality"
UNITS = {"cost": "US$", "tokens": "", "latency": "s", "length": "characters"}
"""Measures of an answer of which less is better, with the unit of each."""


class ObjectiveConfig(Section):
    """One named score. The first of the list leads: it has to be proven better. Of prompts that are no worse by it, the
    next one chooses, and so on. `quality` leads where it is not in the list."""

    name: str
    """`quality` (the score of all judges), `cost` (US dollars per answer), `tokens` (read and written per answer),
    `latency` (seconds per answer), `length` (characters of an answer), or a judge's name."""
    better: Literal["higher", "lower"] | None = None
    """By default higher for `quality` and judges, lower for the others."""
    may_lose: float | None = Field(None, ge=0, allow_inf_nan=False)
    """How much worse the mean may be: of the objective that leads, than that of the best prompt found (without it, by
    nothing); of any other, than that of your prompt (without it, by anything)."""
    at_most: float | None = Field(None, allow_inf_nan=False)
    """Upper bound of the mean."""
    at_least: float | None = Field(None, allow_inf_nan=False)
    """Lower bound of the mean."""

    @property
    def sign(self) -> int:
        """1 where higher is better, else -1."""
        higher = self.better == "higher" if self.better is not None else self.name not in UNITS
        return 1 if higher else -1

    @model_validator(mode="after")
    def _makes_sense(self) -> ObjectiveConfig:
        if self.name == QUALITY and self.better == "lower":
            raise ValueError("quality is what the search raises; leave out `better`")
        if self.at_most is not None and self.at_least is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}")
        return self


NamedObjective = Annotated[ObjectiveConfig, BeforeValidator(lambda value: named(value, "name"))]


def in_order(objectives: Sequence[ObjectiveConfig]) -> tuple[ObjectiveConfig, ...]:
    """With `quality` in the lead where nobody named it. Raises ValueError for what can not be meant."""
    names = [one.name for one in objectives]
    double = next((name for name in names if names.count(name) > 1), None)
    if double is not None:
        raise ValueError(f"objectives name {double} twice; give it one place")
    if QUALITY not in names:
        return (ObjectiveConfig(name=QUALITY), *objectives)
    quality = objectives[names.index(QUALITY)]
    if names[0] != QUALITY and quality.may_lose is None:
        raise ValueError(
            f"{names[0]} leads, and nothing says how much quality may be lost for it; "
            "give {name: quality, may_lose: 0.01}, or put quality first"
        )
    return tuple(objectives)
