"""`--set KEY=VALUE`: values put into a document before it is checked."""

from __future__ import annotations

import copy
from typing import Any

import yaml

from promptlearn.errors import ConfigError
from promptlearn.records import Json


def with_overrides(content: dict[str, Any], overrides: tuple[str, ...]) -> dict[str, Any]:
    """The same document with `KEY=VALUE` pairs put in."""
    changed = copy.deepcopy(content)
    for override in overrides:
        _override(changed, override)
    return changed


def _override(content: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise ConfigError(f"`--set {override}` is not KEY=VALUE, such as search.seed=3")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError:
        raise ConfigError(f"`--set {override}`: the value is not YAML; put it in quotes: {key}='\"…\"'") from None
    put_key(content, key, parsed, f"--set {override}")


def put_key(content: dict[str, Any], key: str, value: Json, said: str) -> None:
    """Set a dotted key of a document. Raises ConfigError quoting what was `said` where the way there is no section."""
    *path, last = key.split(".")
    node = content
    for part in path:
        below = node.get(part)
        if isinstance(below, str) and part in {"prompt", "task", "judge", "meta"}:
            below = {"file" if part == "prompt" else "model": below}
        node[part] = below = {} if below is None else below
        if not isinstance(below, dict):
            raise ConfigError(f"`{said}`: `{part}` holds a value, not keys")
        node = below
    node[last] = value
