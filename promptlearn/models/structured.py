"""Named fields out of a model's reply: by JSON schema, else as a JSON object, else between tags.

Knows how to ask and how to read; knows nothing about what the fields are for. Replies of weak models are read
tolerantly, but never guessed at: a field that is not there is a failure, not a default.

    FIELDS = (
        Field("explanation", "string", "what is right and what is wrong"),
        Field("label", ("good", "bad"), "the verdict"),
    )
    reply = await complete_fields(model, messages, FIELDS)
    reply.values["label"]       # "good" or "bad"
"""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeAlias
from weakref import WeakKeyDictionary

from promptlearn.errors import ModelError, SystemicError
from promptlearn.models.base import Model, Reply, Sampling
from promptlearn.records import Json, Message, Usage

_OPENING = re.compile(r"\s*(?:```\w*\s*)?")
"""What may stand in front of a reply that is JSON from its beginning."""
Rung = Literal["schema", "object", "tagged"]
RUNGS: tuple[Rung, ...] = ("schema", "object", "tagged")
Check: TypeAlias = Callable[[Mapping[str, Json]], object]
FieldType: TypeAlias = Literal["string", "number", "boolean"] | tuple[str, ...]

_worked: dict[str, Rung] = {}
"""Model identity → the rung that its endpoint took, for the life of the process."""
_searching: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, asyncio.Lock]] = WeakKeyDictionary()
"""Model identity → held by the call that looks for its rung: one at a time, so that no latency decides which it is."""


@dataclass(frozen=True, slots=True)
class Field:
    """One part of the reply."""

    name: str
    """An identifier: the JSON key, and the tag."""
    type: FieldType = "string"
    """`string`, `number`, `boolean`, or the values that are possible."""
    description: str = ""
    required: bool = True
    """An optional field that is left out, null or empty is None."""


@dataclass(frozen=True, slots=True)
class Fields:
    """What was read, and what reading it cost."""

    values: Mapping[str, Json]
    """Every field by name, in the order asked for."""
    usage: Usage
    """Of all calls that it took, the repair included."""
    text: str = ""
    """The reply that the values were read from."""


async def complete_fields(
    model: Model,
    messages: Sequence[Message],
    fields: Sequence[Field],
    sampling: Sampling | None = None,
    repeat: int = 0,
    check: Check | None = None,
) -> Fields:
    """Ask for `fields`, in their order, so put the explanation before what it explains.

    `check` raises `ModelError("unparseable", …)` for fields that can be read and make no sense together.

    A rung that the endpoint refuses (`bad_request`) is skipped; the one that it takes is remembered. A reply that can
    not be read is asked for once more, with what was wrong. Raises `ModelError`: `truncated` at the token limit,
    `unparseable` after the repair, `bad_request` where every rung is refused, and whatever the model raises.
    """
    if model.identity not in _worked:
        locks = _searching.setdefault(asyncio.get_running_loop(), {})
        async with locks.setdefault(model.identity, asyncio.Lock()):
            if model.identity not in _worked:
                return await _on_a_rung(model, RUNGS, messages, fields, sampling, repeat, check)
    return await _on_a_rung(model, (_worked[model.identity],), messages, fields, sampling, repeat, check)


async def _on_a_rung(
    model: Model,
    rungs: Sequence[Rung],
    messages: Sequence[Message],
    fields: Sequence[Field],
    sampling: Sampling | None,
    repeat: int,
    check: Check | None,
) -> Fields:
    """The fields from the first rung that the endpoint takes."""
    refusal: ModelError | None = None
    for rung in rungs:
        try:
            reply = await _ask(model, rung, messages, fields, sampling, repeat)
        except ModelError as error:
            if error.kind != "bad_request" or isinstance(error, SystemicError):
                raise
            refusal = error
            continue
        _worked[model.identity] = rung
        return await _read_or_repair(model, rung, messages, fields, sampling, repeat, reply, check)
    raise refusal or ModelError("bad_request", f"{model.name} refused to answer")


async def _ask(
    model: Model,
    rung: Rung,
    messages: Sequence[Message],
    fields: Sequence[Field],
    sampling: Sampling | None,
    repeat: int,
    *turns: Message,
) -> Reply:
    """One call on one rung; a reply that ran into its token limit is a failure."""
    chat = [*_with_request(messages, _request(rung, fields)), *turns]
    sampling = sampling or model.sampling
    if rung == "object":
        sampling = replace(sampling, extra={**sampling.extra, "response_format": {"type": "json_object"}})
    reply = await model.complete(chat, sampling, json_schema(fields) if rung == "schema" else None, repeat)
    if reply.finish_reason == "length":
        limit = sampling.max_tokens
        raise ModelError(
            "truncated", f"{model.name} was cut at {limit} tokens before its reply ended: raise max_tokens"
        )
    return reply


async def _read_or_repair(
    model: Model,
    rung: Rung,
    messages: Sequence[Message],
    fields: Sequence[Field],
    sampling: Sampling | None,
    repeat: int,
    reply: Reply,
    check: Check | None,
) -> Fields:
    try:
        return Fields(_checked(reply.text, fields, check), reply.usage, reply.text)
    except ModelError as error:
        complaint = f"That reply can not be read: {error}.\n\n{_request(rung, fields)}"
    turns = (Message("assistant", reply.text), Message("user", complaint))
    second = await _ask(model, rung, messages, fields, sampling, repeat, *turns)
    usage = reply.usage + second.usage
    try:
        return Fields(_checked(second.text, fields, check), usage, second.text)
    except ModelError as error:
        raise ModelError("unparseable", f"{model.name} twice gave a reply that can not be read: {error}") from None


def _checked(text: str, fields: Sequence[Field], check: Check | None) -> dict[str, Json]:
    values = read_fields(text, fields)
    if check is not None:
        check(values)
    return values


def json_schema(fields: Sequence[Field]) -> dict[str, Json]:
    """A strict JSON schema: every key required, as strict endpoints want it; an optional field may be null."""
    return {
        "type": "object",
        "properties": {field.name: _property(field) for field in fields},
        "required": [field.name for field in fields],
        "additionalProperties": False,
    }


def read_fields(text: str, fields: Sequence[Field]) -> dict[str, Json]:
    """The fields of a reply, whether it is JSON (bare, fenced, or with words around it) or tagged text.

    Raises `ModelError("unparseable" | "truncated")` that says which field is missing or has no possible value, and for
    a reply that says one thing here and another there: one of the two may be quoted.
    """
    objects = _json_objects(text, fields)
    found: Mapping[str, Json]
    if objects:
        found = objects[-1].value
        _refuse_several(text, objects, fields)
    else:
        names = [field.name for field in fields]
        found = _tagged(text, names, [field.name for field in fields if field.required])
        _refuse_quoted(text, names)
        _refuse_two(text, fields)
    return {field.name: _value(field, found.get(field.name)) for field in fields}


def parse_tagged(text: str, names: Sequence[str]) -> dict[str, str]:
    """The text of each `<name>…</name>`, without the white space around it; the last one where there are several.

    A tag counts wherever it stands, but one at the start of a line is preferred, because models also mention tags in
    passing. Raises `ModelError`: `truncated` for a tag that is opened and not closed after the last complete one,
    `unparseable` for one that is missing, or closed twice.
    """
    return _tagged(text, names, names)


def _tagged(text: str, names: Sequence[str], required: Sequence[str]) -> dict[str, str]:
    spans = {name: span for name in names if (span := _last_tag(text, name)) is not None}
    for name in required:
        if name not in spans:
            raise ModelError("unparseable", f"the reply has no <{name}>…</{name}>")
    return {name: text[start:end].strip() for name, (start, end) in spans.items()}


def _refuse_quoted(text: str, names: Sequence[str]) -> None:
    """Raises where a tag stands inside of another's text alone: there it is quoted, not said."""
    spans = {name: span for name in names if (span := _last_tag(text, name)) is not None}
    for name, (start, end) in spans.items():
        for other, (first, last) in spans.items():
            if first <= start and end <= last and name != other:
                raise ModelError("unparseable", f"<{name}> stands inside of <{other}>; give it behind </{other}>")


def _refuse_two(text: str, fields: Sequence[Field]) -> None:
    """Raises where a mark (a label, a number) is given twice and differs: one may be quoted; no place tells which."""
    names = {field.name for field in fields}
    for name in [field.name for field in fields if field.required and field.type != "string"]:
        tag = rf"<\s*{re.escape(name)}\s*>([^<]*)<\s*/\s*{re.escape(name)}\s*>"
        given = re.finditer(tag, text, re.IGNORECASE)
        own = {_plain(one[1]) for one in given if not _in_a_tag(text, one.start(), one.end(), names - {name})}
        if len(own) > 1:
            raise _two_things(name)


def _two_things(name: str) -> ModelError:
    return ModelError("unparseable", f"it says two things about `{name}`; answer once, and quote no answer")


def _last_tag(text: str, name: str) -> tuple[int, int] | None:
    """Where the text of the last well-formed occurrence of one tag stands; None where the reply does not have it."""
    marks = [*_marks(text, name)]
    if not marks:
        return None
    closings = [i for i, match in enumerate(marks) if match[1]]
    if not closings:
        raise ModelError("truncated", f"<{name}> is opened and never closed")
    end = closings[-1]
    if any(_begins_line(text, match) for match in marks[end + 1 :]):
        raise ModelError("truncated", f"<{name}> is opened again and not closed")
    start = closings[-2] + 1 if len(closings) > 1 else 0
    openings = marks[start:end]
    if not openings:
        raise ModelError("unparseable", f"</{name}> stands twice for one <{name}>")
    at_line_starts = [match for match in openings if _begins_line(text, match)]
    opening = (at_line_starts or openings)[-1]
    return opening.end(), marks[end].start()


def _marks(text: str, name: str) -> Iterator[re.Match[str]]:
    """Every `<name>` and `</name>`; the first group of the second holds a slash."""
    return re.finditer(rf"<\s*(/?)\s*{re.escape(name)}\s*>", text, re.IGNORECASE)


def _begins_line(text: str, match: re.Match[str]) -> bool:
    return not text[text.rfind("\n", 0, match.start()) + 1 : match.start()].strip()


class _Object(NamedTuple):
    """A JSON object and where it stands."""

    value: dict[str, Json]
    start: int
    end: int


def _json_objects(text: str, fields: Sequence[Field]) -> list[_Object]:
    """The JSON objects in `text` that have one of the fields, at any place in it but inside of a field's tag.

    None where a bracket is closed behind the last that was opened before: then it stands inside of a broken object, as
    a quotation does, and is not the reply.
    """
    decoder = json.JSONDecoder(strict=False)
    names = {field.name for field in fields}
    found: list[_Object] = []
    at = text.find("{")
    while at != -1:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            end = at + 1
        else:
            if isinstance(value, dict) and not names.isdisjoint(value) and not _in_a_tag(text, at, end, names):
                found.append(_Object(value, at, end))
        at = text.find("{", end)
    behind = text[found[-1].end :] if found else ""
    return [] if behind.partition("{")[0].count("}") else found


def _in_a_tag(text: str, start: int, end: int, names: Iterable[str]) -> bool:
    """Whether what stands there is a part of what is said between two tags."""
    for name in names:
        before = [*_marks(text[:start], name)]
        after = next(_marks(text[end:], name), None)
        if before and not before[-1][1] and after is not None and after[1]:
            return True
    return False


def _refuse_several(text: str, objects: Sequence[_Object], fields: Sequence[Field]) -> None:
    """Raises where the last object says something else than another whole reply: one that the text begins with, or one
    between tags. What stands in the middle of words before it is quoted, and does no harm.
    """
    required = [field.name for field in fields if field.required]
    marks = [field.name for field in fields if field.required and field.type != "string"] or required
    first, last = objects[0], objects[-1]
    others = [first.value] if _OPENING.fullmatch(text[: first.start]) else []
    around = text
    for one in objects:
        around = around[: one.start] + " " * (one.end - one.start) + around[one.end :]
    with suppress(ModelError):  # where there is no whole reply between tags
        others.append(dict(_tagged(around, required, required)))
    for other in others:
        if not set(required) <= set(other):
            continue
        for name in marks:
            if name in last.value and _plain(other[name]) != _plain(last.value[name]):
                raise _two_things(name)


def _plain(value: Json) -> str:
    return " ".join(str(value).casefold().split())


def _value(field: Field, raw: Json) -> Json:
    """`raw` as the field's type wants it."""
    if raw is None or (isinstance(raw, str) and not raw.strip()):
        if not field.required:
            return None
        raise ModelError("unparseable", f"`{field.name}` is missing")
    if field.type == "string":
        return raw if isinstance(raw, str) else json.dumps(raw, ensure_ascii=False)
    read = {"number": _number, "boolean": _boolean}.get(field.type) if isinstance(field.type, str) else None
    value = read(raw) if read is not None else _choice(raw, field.type)
    if value is None:
        shown = " ".join(str(raw).split())[:80]
        raise ModelError("unparseable", f"`{field.name}` is {shown!r}, which is not {_possible(field)}")
    return value


def _number(raw: Json) -> float | None:
    if isinstance(raw, bool) or not isinstance(raw, int | float | str):
        return None
    try:
        number = float(raw)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _boolean(raw: Json) -> bool | None:
    if isinstance(raw, bool):
        return raw
    return {"true": True, "yes": True, "false": False, "no": False}.get(str(raw).strip().strip("\"'.`*").lower())


def _choice(raw: Json, possible: Sequence[str]) -> str | None:
    """The possible value that `raw` names, whatever its case and the quotes around it."""
    if isinstance(raw, bool):
        raw = str(raw).lower()
    bare = " ".join(str(raw).strip().strip("\"'.`*").lower().split())
    return next((value for value in possible if " ".join(value.lower().split()) == bare), None)


def _possible(field: Field) -> str:
    if isinstance(field.type, tuple):
        return "one of " + ", ".join(field.type)
    return {"string": "a text", "number": "a number", "boolean": "true or false"}[field.type]


def _property(field: Field) -> dict[str, Json]:
    said: dict[str, Json] = {"description": field.description} if field.description else {}
    if isinstance(field.type, tuple):
        values: list[Json] = [*field.type] if field.required else [*field.type, None]
        return {"type": "string" if field.required else ["string", "null"], "enum": values, **said}
    return {"type": field.type if field.required else [field.type, "null"], **said}


def _request(rung: Rung, fields: Sequence[Field]) -> str:
    """What the model is told about the form of its reply."""
    rows = [(field.name, _possible(field), field) for field in fields]
    if rung == "tagged":
        lines = [f"<{name}>{_described(form, field)}</{name}>" for name, form, field in rows]
        return "Answer in exactly this form, in this order, with every tag closed:\n" + "\n".join(lines)
    lines = [f'- "{name}": {_described(form, field)}' for name, form, field in rows]
    return "Answer with one JSON object and nothing else. Its keys, in this order:\n" + "\n".join(lines)


def _described(form: str, field: Field) -> str:
    said = f"{field.description} ({form})" if field.description else form
    return said if field.required else f"{said}; empty if there is none"


def _with_request(messages: Sequence[Message], request: str) -> list[Message]:
    """The chat with the request behind its last user message, or as a user message of its own."""
    chat = list(messages)
    if chat and chat[-1].role == "user":
        chat[-1] = replace(chat[-1], content=f"{chat[-1].content}\n\n{request}")
        return chat
    return [*chat, Message("user", request)]
