"""What a command says on its standard output.

Plain text is the output as it is. A command that has more to tell prints JSON objects, one a line, among any other
lines:

    {"turn": {"role": "assistant", "content": "…", "tool_calls": [{"name": "edit", "arguments": {…}, "result": "…"}]}}
    {"turn": "…"}                                a turn of the assistant's
    {"turn": {"content": "…", "prompt": "plan"}}            said under one of several prompts, for credit
    {"usage": {"input_tokens": 812, "output_tokens": 90, "cached_tokens": 0, "cost_usd": 0.0021}}      adds up
    {"output": "…"}                              the output; the last one counts; any JSON value
    {"stop_reason": "max_turns"}
    {"error": {"kind": "rate_limit", "message": "…"}}       it could not work: a failure, which is no score

An object may have several of these keys, and may be written over several lines where it is all there is. Lines that
are none of this count as text only where no `output` is named. Knows text; nothing about processes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from promptlearn.errors import FAILURE_KINDS
from promptlearn.records import Failure, Json, ToolCall, Turn, Usage, as_text

KEYS = frozenset({"turn", "usage", "output", "stop_reason", "error"})


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _ToolCall(_Said):
    name: str
    arguments: dict[str, Json] = Field(default_factory=dict)
    result: str | None = None


class _Turn(_Said):
    role: str = "assistant"
    content: str = ""
    tool_calls: tuple[_ToolCall, ...] = ()
    prompt: str = ""


class _Usage(_Said):
    input_tokens: int = Field(0, ge=0)
    output_tokens: int = Field(0, ge=0)
    cached_tokens: int = Field(0, ge=0)
    cost_usd: float | None = Field(None, ge=0)


class _Error(_Said):
    kind: str = "program"
    message: str


def _content(value: Json) -> Json:
    return {"content": value} if isinstance(value, str) else value


def _message(value: Json) -> Json:
    return {"message": value} if isinstance(value, str) else value


class _Line(_Said):
    turn: Annotated[_Turn | None, BeforeValidator(_content)] = None
    usage: _Usage | None = None
    output: Json = None
    stop_reason: str | None = None
    error: Annotated[_Error | None, BeforeValidator(_message)] = None


@dataclass(frozen=True, slots=True)
class Report:
    """All that a command said."""

    output: str
    turns: tuple[Turn, ...] = ()
    usage: Usage | None = None
    """None: it said nothing about usage."""
    stop_reason: str = ""
    error: Failure | None = None


def read_report(text: str) -> Report:
    """Read a command's standard output. Raises ValueError, naming the line, for an object that is not as above."""
    lines = list(_lines(text))
    said = [(number, line) for number, line in lines if isinstance(line, dict)]
    parts = [_parsed(number, line) for number, line in said]
    outputs = [as_text(part.output) for part in parts if "output" in part.model_fields_set]
    plain = "\n".join(line for _, line in lines if isinstance(line, str)).strip()
    errors = [part.error for part in parts if part.error]
    return Report(
        output=outputs[-1] if outputs else plain,
        turns=tuple(_turn(part.turn) for part in parts if part.turn),
        usage=_usage([part.usage for part in parts if part.usage]),
        stop_reason=next((part.stop_reason for part in reversed(parts) if part.stop_reason), ""),
        error=_failure(errors[-1]) if errors else None,
    )


def _lines(text: str) -> Iterator[tuple[int, str | dict[str, Json]]]:
    """Numbered lines; those of the protocol as objects."""
    whole = _object(text)
    if whole is not None:
        yield 1, whole
        return
    for number, line in enumerate(text.splitlines(), start=1):
        yield number, _object(line) or line


def _object(text: str) -> dict[str, Json] | None:
    """The JSON object that `text` is, where it has a key of the protocol."""
    if not text.lstrip().startswith("{"):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) and not KEYS.isdisjoint(value) else None


def _parsed(number: int, line: dict[str, Json]) -> _Line:
    try:
        return _Line.model_validate(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ValueError(f"line {number} of its output: {where}: {first['msg']}") from None


def _turn(said: _Turn) -> Turn:
    calls = tuple(ToolCall(call.name, call.arguments, call.result) for call in said.tool_calls)
    return Turn(said.role, said.content, calls, said.prompt)


def _usage(said: list[_Usage]) -> Usage | None:
    """All together, as one call; a cost that one of them leaves out is unknown."""
    if not said:
        return None
    costs = [one.cost_usd for one in said if one.cost_usd is not None]
    return Usage(
        calls=1,
        input_tokens=sum(one.input_tokens for one in said),
        output_tokens=sum(one.output_tokens for one in said),
        cached_tokens=sum(one.cached_tokens for one in said),
        cost_usd=sum(costs) if len(costs) == len(said) else None,
    )


def _failure(said: _Error) -> Failure:
    return Failure(said.kind if said.kind in FAILURE_KINDS else "program", said.message)
