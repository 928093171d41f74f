"""Records to JSON text and back, without a loss.

Knows the shape of a dataclass from its annotations (pydantic reads them), and nothing about tables. What comes back is
equal to what went in, for every character: braces, `$`, NUL, all of Unicode, any line end (invariant 12). That holds
for lone surrogates too, which a model's reply may hold where a provider cuts an emoji in two: they are written as
`\\udXXX`. (A high one directly in front of a low one is not lone: JSON reads the pair as the character they spell.)
Sets are written sorted, so equal records give equal text. Unknown keys, from a newer version, are left aside.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from promptlearn.errors import StoreError
from promptlearn.records import Json

if TYPE_CHECKING:
    from pydantic import TypeAdapter

R = TypeVar("R")

_ADAPTERS: dict[type[Any], TypeAdapter[Any]] = {}
_SURROGATE = re.compile("[\ud800-\udfff]")


def encode(record: object) -> str:
    """The JSON text of a dataclass from `promptlearn.records`."""
    return dumps(_adapter(type(record)).dump_python(record, warnings=False))


def decode(cls: type[R], text: str) -> R:
    """The record that `encode` wrote. Raises `StoreError` for text that is none."""
    from pydantic import ValidationError

    try:
        record: R = _adapter(cls).validate_python(json.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StoreError(
            f"a stored {cls.__name__} can not be read: {where}: {first['msg']}; restore the store"
        ) from error
    except ValueError as error:
        raise StoreError(f"a stored {cls.__name__} can not be read: {error}; restore the store") from error
    return record


def dumps(value: Json) -> str:
    """JSON text that any database takes: UTF-8 can write it, and it holds no NUL."""
    text = _ENCODER.encode(value)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    return text


def _plain(value: object) -> Json:
    if isinstance(value, set | frozenset):
        return sorted(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__} is not a JSON value")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain)


def _adapter(cls: type[Any]) -> TypeAdapter[Any]:
    if cls not in _ADAPTERS:
        from pydantic import TypeAdapter  # here, so that commands which read no record start faster

        _ADAPTERS[cls] = TypeAdapter(cls)
    return _ADAPTERS[cls]
