"""Files that people write: read, checked, and explained where they are wrong."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from promptlearn.config.section import Section
from promptlearn.errors import ConfigError

S = TypeVar("S", bound=Section)


def read_mapping(path: Path, missing: str, needs: str) -> dict[str, Any]:
    """The keys of a YAML file. Raises ConfigError: `missing` where it is not there, `needs` where it has no keys."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise ConfigError(missing) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise ConfigError(f"{path} can not be read: {reason}; name a YAML file") from None
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {_yaml_problem(error)}") from None
    if not isinstance(content, dict):
        holds = "is empty" if content is None else f"holds a {type(content).__name__}"
        raise ConfigError(f"{path} {holds}; {needs}")
    return content


def parse_section(section: type[S], content: dict[str, Any], where: str) -> S:
    """Check a file that people write, whose keys are those of `section`. Raises ConfigError naming keys."""
    try:
        return section.model_validate(content)
    except ValidationError as error:
        problems = {_place(problem): problem for problem in reversed(error.errors(include_url=False))}
        said = [problem for place, problem in reversed(problems.items()) if not _follows(place, problems)]
        words = [_explain(problem, section) for problem in said]
        raise ConfigError(f"{where}: {'; '.join(words[:3])}") from None


def _place(problem: Any) -> tuple[str, ...]:
    """Keys down to the problem, without pydantic's names for validators and the choices of a union."""
    parts = (str(part) for part in problem["loc"])
    return tuple(part for part in parts if not part.startswith(("function-", "tuple[", "dict[")))


def _follows(place: tuple[str, ...], places: Collection[tuple[str, ...]]) -> bool:
    """Whether a problem is only what comes of one further down: a list whose entries are wrong seems empty."""
    return bool(place) and any(other[: len(place)] == place for other in places if other != place)


_WANTED = {
    "model_type": "Input should hold keys",
    "dict_type": "Input should hold keys",
    "tuple_type": "Input should be a list, such as [a, b]",
    "path_type": "Input should be a path",
}


def _yaml_problem(error: yaml.YAMLError) -> str:
    """What is wrong and where, on one line."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    mark = error.problem_mark
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    return where + str(error.problem)


def _explain(problem: Any, root: type[Section]) -> str:
    place = list(_place(problem))
    key = ".".join(place)
    if problem["type"] == "extra_forbidden":
        known = _keys_beside(place, root)
        close = difflib.get_close_matches(place[-1], known, n=1)
        hint = f"; did you mean `{close[0]}`?" if close else f"; known here: {', '.join(known)}" if known else ""
        return f"unknown key `{key}`{hint}"
    if problem["type"] == "missing":
        return f"`{key}` is missing"
    given = problem["input"]
    shown = f", not {given!r:.60}" if given is None or isinstance(given, str | int | float) else ""
    wanted = _WANTED.get(problem["type"], problem["msg"].removeprefix("Value error, "))
    if problem["type"] == "model_type":
        wanted += f": {', '.join(_keys_beside([*place, ''], root))}"
    return f"`{key}`: {wanted}{shown}" if key else f"{wanted}{shown}"


def _keys_beside(place: list[str], root: type[Section]) -> list[str]:
    """Keys that the section of `place` knows."""
    section: Any = root.model_json_schema()
    definitions = section.get("$defs", {})
    for part in place[:-1]:
        node = section.get("properties", {}).get(part) or section.get("items") or {}
        options = [node, *node.get("anyOf", []), node.get("items", {})]
        found = next((option["$ref"] for option in options if "$ref" in option), None)
        section = definitions[found.rsplit("/", 1)[1]] if found else {} if part not in {"0", "1", "2"} else section
    return list(section.get("properties", {}))
