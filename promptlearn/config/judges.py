"""`judges`: who says what is right."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from promptlearn.config.section import Section, named
from promptlearn.records import Json


class JudgeConfig(Section):
    use: str
    """A code judge, a name from judges/, a path to YAML, or `module:function`."""
    weight: float = Field(1.0, ge=0)
    """Its part in the mean of the judges' scores."""
    veto: bool = False
    """If this judge does not pass an example, the example scores 0, whatever other judges say or fail to say."""
    when: Literal["always", "passed"] = "always"
    """`passed`: asked only about what passes every judge that is always asked; elsewhere it counts 0 in the mean."""
    gold: bool = False
    """Judges validation and test rows but does not steer: in no score and no critique. An alarm is raised where the
    other judges rise and this one falls."""
    options: dict[str, Json] = Field(default_factory=dict)
    """The judge's own settings, such as `labels`, `pattern` or `tolerance`."""

    @model_validator(mode="after")
    def _gold_steers_nothing(self) -> JudgeConfig:
        if self.gold and self.veto:
            raise ValueError("a gold judge is in no score, so its veto means nothing; leave out `gold` or `veto`")
        return self


NamedJudge = Annotated[JudgeConfig, BeforeValidator(lambda value: named(value, "use"))]


class ScoringConfig(Section):
    """How verdicts become one score, and which difference counts."""

    all_pass: bool = False
    """No partial credit: 1 where every judge that counts passes, 0 elsewhere; without it the weighted mean."""
    criteria: str | None = None
    """What makes one answer better than another, for `judge compare` and `tuning.ranking`; by default that it answers
    what was asked, is true, and is no longer than needed."""
    noise_rows: int = Field(8, ge=0)
    """Where a prompt seems proven and a judge is a language model, so many answers are judged again, to see how far the
    judge's mood alone moves a mean score: a smaller difference is no improvement. 0 is never."""
    noise_repeats: int = Field(3, ge=2)
    """How often each of these is judged, the first time included."""
