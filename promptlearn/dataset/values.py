"""One cell of a table as a JSON value. Knows no file, no row and no column; the caller names those in errors."""

import datetime
import json
import math
import uuid
from collections.abc import Mapping
from decimal import Decimal

from promptlearn.records import Json

CELL_LIMIT = 16 * 1024 * 1024
"""Characters in one cell. Longer ones are almost always a quote that was never closed."""

_MISSING = frozenset({"NAType", "NaTType"})


def to_json(value: object) -> Json:
    """The value as JSON has it: NaN, NaT and NA are None; dates ISO text; decimals and UUIDs text, digit by digit.

    Raises `ValueError` saying what the value is, where JSON can not hold it.
    """
    if isinstance(value, str):
        return _text(value)
    if value is None or type(value).__name__ in _MISSING:
        return None
    if isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    return _foreign(value)


def as_key(value: Json) -> str:
    """One text for equal values of any file format: 5, 5.0 and "5" are the same, and so are None and ""."""
    if isinstance(value, str):
        return value
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def _text(value: str) -> str:
    if len(value) > CELL_LIMIT:
        raise ValueError(f"holds {len(value):,} characters; at most {CELL_LIMIT:,} are possible")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"holds half a surrogate pair at character {error.start + 1}") from None
    return str(value)


def _number(value: float) -> float | None:
    if math.isinf(value):
        raise ValueError("holds an infinite number, which JSON does not have")
    return None if math.isnan(value) else value


def _foreign(value: object) -> Json:
    """Types of the standard library and of numpy, which is not imported for it."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, Decimal):
        return None if value.is_nan() else str(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, bytes):
        try:
            return _text(value.decode())
        except UnicodeDecodeError:
            raise ValueError(f"holds {len(value)} bytes that are not UTF-8 text") from None
    if type(value).__name__ in ("datetime64", "timedelta64"):
        return None if str(value) == "NaT" else str(value)
    listed = getattr(value, "tolist", None)
    if listed is None:
        raise ValueError(f"holds a {type(value).__name__}, which JSON does not have")
    return to_json(listed())
