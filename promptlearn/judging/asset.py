"""JudgeFile: what a YAML file has to say to be a judge.

Knows the file's keys and checks them before the first call; knows no model. `judges/README.md` shows how to write one.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from promptlearn.assets import load_yaml_asset
from promptlearn.errors import AssetError
from promptlearn.judging.checklist import check_names
from promptlearn.records import Json
from promptlearn.template import template_variables

JudgeInput = Literal["input", "output", "expected", "context", "conversation", "evidence", "criteria"]
"""What a template may ask for. All but `criteria` is material: fenced, because it comes from outside."""

ALWAYS = ("labels",)
"""Template variables that need not be declared."""


def _quoted_keys(value: Json) -> Json:
    for key in value if isinstance(value, Mapping) else ():
        if not isinstance(key, str):
            raise ValueError(f"label {key!r} is not text; YAML reads yes, no, on and off as booleans: put it in quotes")
    return value


class Scale(BaseModel):
    """A number that the judge gives instead of a label; `low` becomes the score 0 and `high` the score 1."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    low: float = 1
    high: float = 5

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if not self.low < self.high:
            raise ValueError("low has to be below high")
        return self

    def share(self, number: float) -> float | None:
        """The number as a score of 0 to 1; None for one that the scale does not have."""
        return (number - self.low) / (self.high - self.low) if self.low <= number <= self.high else None


class JudgeFile(BaseModel):
    """One judge as a file: one question to a model, and what its answers are worth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(pattern=r"^[A-Za-z][\w-]*$")]
    version: Annotated[int, Field(ge=1)]
    """Raise it with every change of the templates: verdicts name it."""
    description: Annotated[str, Field(min_length=1)]
    inputs: Annotated[tuple[JudgeInput, ...], Field(min_length=1)]
    labels: Annotated[
        dict[str, Annotated[float, Field(ge=0, le=1)]], Field(default_factory=dict), BeforeValidator(_quoted_keys)
    ]
    """Label → score. Either labels or a scale."""
    scale: Scale | None = None
    checklist: Annotated[dict[str, str], Field(default_factory=dict)]
    """Name → criterion, in place of labels and scale: each gets a verdict with a quote, and the score is the share that
    is met. Templates show them as `{{ criteria }}`."""
    turn_notes: bool = False
    """Ask also which turns of the `conversation` helped or hurt, and why."""
    pass_at: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The lowest score that passes."""
    criteria: str = ""
    """What `{{ criteria }}` says unless the configuration says otherwise."""
    system: Annotated[str, Field(min_length=1)]
    user: Annotated[str, Field(min_length=1)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.labels) + bool(self.scale) + bool(self.checklist) != 1:
            raise ValueError(
                "needs either labels (label: score) or a scale (low, high), or a checklist (name: criterion)"
            )
        check_names([*self.checklist])
        if self.checklist and "criteria" not in self.inputs:
            raise ValueError("a checklist needs the input criteria, where the templates show it")
        if self.turn_notes and "conversation" not in self.inputs:
            raise ValueError("turn_notes needs the input conversation")
        if len(self.labels) == 1:
            raise ValueError("one label tells nothing apart; give at least two")
        if "output" not in self.inputs:
            raise ValueError("inputs: a judge needs the output")
        self._check_templates()
        return self

    def _check_templates(self) -> None:
        used = template_variables(self.system, "system") | template_variables(self.user, "user")
        unknown = sorted(used.difference(self.inputs, ALWAYS))
        if unknown:
            possible = ", ".join(get_args(JudgeInput) + ALWAYS)
            raise ValueError(f"template variable {unknown[0]!r} is not among its inputs; possible inputs: {possible}")
        idle = [name for name in self.inputs if name not in used]
        if idle:
            raise ValueError(f"input {idle[0]!r} stands in neither template; write {{{{ {idle[0]} }}}} or remove it")


def load_judge_file(use: str, folder: Path | None = None) -> JudgeFile:
    """A shipped judge by its bare name, or a file by its path. Raises `AssetError` that names file and key."""
    content = load_yaml_asset("judges", use, folder)
    try:
        return JudgeFile.model_validate(content)
    except ValidationError as error:
        raise AssetError(f"{use}: {_first_problem(error)}") from error
    except AssetError as error:
        raise AssetError(f"{use}: {error}") from error


def _first_problem(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    key = ".".join(map(str, first["loc"]))
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        message = f"unknown key; possible: {', '.join(JudgeFile.model_fields)}"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{key}: {message}{more}" if key else f"{message}{more}"
