"""JsonSchema: is the answer JSON, and does it keep the schema? If not: where.

Knows JSON Schema (through `jsonschema`, imported when such a judge is made), nothing about examples.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

from promptlearn.errors import ConfigError
from promptlearn.judging.excerpt import counted, cut_end, quote
from promptlearn.judging.finding import found
from promptlearn.records import Example, Json, Rollout, Verdict

_ONLY_JSON = "Answer with one JSON document and nothing else: no code fence and no words around it."
_SHOWN = 3


@dataclass(frozen=True, slots=True)
class JsonSchema:
    """Scores 1 for an answer that is JSON and keeps `schema` (the draft that its `$schema` names, else 2020-12).

    Labels: `right`, `not_json`, `invalid`. References to other documents are refused, never fetched.
    """

    schema: Mapping[str, Json]
    name: str = "json_schema"
    _validator: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from jsonschema import Draft202012Validator
        from jsonschema.exceptions import SchemaError
        from jsonschema.validators import validator_for
        from referencing import Registry

        schema = dict(self.schema)
        kind = validator_for(schema, default=Draft202012Validator)
        try:
            kind.check_schema(schema)
        except SchemaError as error:
            raise ConfigError(f"judge {self.name}: `schema` at {error.json_path}: {error.message}") from error
        object.__setattr__(self, "_validator", kind(schema, registry=Registry()))

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        try:
            value = json.loads(rollout.output, parse_constant=_refuse)
            faults = self._faults(value)
        except (ValueError, RecursionError) as error:
            return self._not_json(rollout, error)
        if not faults:
            return found(self.name, rollout, 1.0, "is JSON and keeps the schema", label="right")
        more = f"; {counted(len(faults) - _SHOWN, 'more fault')}" if len(faults) > _SHOWN else ""
        return found(
            self.name,
            rollout,
            0.0,
            "; ".join(f"{path}: {message}" for path, message in faults[:_SHOWN]) + more,
            label="invalid",
            suggestion=f"Answer with JSON that keeps this schema: {cut_end(json.dumps(dict(self.schema)), 1000)}",
        )

    def _faults(self, value: Json) -> list[tuple[str, str]]:
        from referencing.exceptions import Unresolvable

        try:
            errors = list(self._validator.iter_errors(value))
        except Unresolvable as error:
            raise ConfigError(f"judge {self.name}: `schema` refers to {error.ref!r}, which is not in it") from error
        return sorted({(error.json_path, cut_end(error.message, 200)) for error in errors})

    def _not_json(self, rollout: Rollout, error: Exception) -> Verdict:
        got = quote(rollout.output) if rollout.output.strip() else "an empty text"
        why = str(error) if isinstance(error, ValueError) else "nested too deeply"
        return found(self.name, rollout, 0.0, f"not JSON: {why}; got {got}", label="not_json", suggestion=_ONLY_JSON)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
