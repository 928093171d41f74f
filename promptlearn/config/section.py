"""What every part of the file is made of."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the file; an unknown key is an error, not a silence."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


def named(value: Any, key: str) -> Any:
    """A bare text is a section with one key."""
    return {key: value} if isinstance(value, str) else value


def switched(value: Any) -> Any:
    """`true` is a section with its defaults, `false` none."""
    return value if not isinstance(value, bool) else {} if value else None
