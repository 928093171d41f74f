"""What a run of a DSPy program leaves behind: as JSON for what is kept, and made into DSPy's objects again.

A rollout's `evidence.fields` has the program's output, its `evidence.steps` one entry for each call of a predictor:
`predictor` (empty for one that is none of the program's own), `inputs` and `outputs`. Metrics are given what is made of
these, in the process that ran the program too, so that they say the same after a resume (invariants 3 and 8).

JSON holds models, dataclasses, enums, dates and sets by their contents, and anything else as text. A field comes back
as the type that its signature names, where that reads the JSON without a conversion; else it stays JSON.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.errors import PydanticUserError
from pydantic_core import to_jsonable_python

from promptlearn.programs.dspy_lm import load_dspy
from promptlearn.records import Json


@dataclass(frozen=True, slots=True)
class Passed:
    """What one run of a program left behind, as DSPy has it."""

    prediction: Any
    trace: Sequence[tuple[Any, Mapping[str, Any], Any]] = ()
    """(predictor, inputs, prediction), in the order of the calls; predictors are the program's own."""
    names: Sequence[str] = ()
    """The name of the predictor of each call; empty for one that is none of the program's own."""


def steps_of(module: Any, trace: Sequence[Any]) -> list[Json]:
    """DSPy's trace of a run of `module`, as it is kept."""
    names = {id(predictor): name for name, predictor in module.named_predictors()}
    return [
        {"predictor": names.get(id(predictor), ""), "inputs": plain(inputs), "outputs": plain_fields(prediction)}
        for predictor, inputs, prediction in trace
    ]


def passed_of(module: Any, evidence: Mapping[str, Json]) -> Passed:
    """What a run of `module` left behind. A rollout from before steps were kept has no trace."""
    predictors = dict(module.named_predictors())
    outputs = {name: kind for one in predictors.values() for name, kind in _kinds(one.signature.output_fields).items()}
    steps = evidence.get("steps") or []
    return Passed(
        load_dspy().Prediction(_typed(evidence.get("fields") or {}, outputs)),
        [_step(predictors.get(step["predictor"]), step) for step in steps],
        [step["predictor"] for step in steps],
    )


def plain_fields(example: Any) -> dict[str, Json]:
    """The fields of an example or a prediction of DSPy's, as JSON."""
    return {str(name): plain(value) for name, value in example.items()}


def plain(value: Any) -> Json:
    """A value as JSON; what JSON can not hold, as text."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, load_dspy().Example):
        return plain_fields(value)
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, set | frozenset):
        return [plain(each) for each in sorted(value, key=repr)]
    try:
        return to_jsonable_python(value, fallback=str, bytes_mode="base64")
    except ValueError:  # its own way to JSON fails
        return str(value)


def _step(predictor: Any, step: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any], Any]:
    dspy, inputs, outputs = load_dspy(), step["inputs"], step["outputs"]
    if predictor is None:
        predictor = dspy.Predict(f"{', '.join(inputs)} -> {', '.join(outputs)}")
    signature = predictor.signature
    prediction = dspy.Prediction(_typed(outputs, _kinds(signature.output_fields)))
    return predictor, _typed(inputs, _kinds(signature.input_fields)), prediction


def _kinds(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: field.annotation for name, field in fields.items()}


def _typed(values: Mapping[str, Json], kinds: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _as(kinds[name], value) if name in kinds else value for name, value in values.items()}


def _as(kind: Any, value: Json) -> Any:
    if type(value) is kind:
        return value
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except (ValidationError, PydanticUserError):
        return value
