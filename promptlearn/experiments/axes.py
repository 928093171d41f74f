"""Axes of the matrix: which key of the configuration each one changes, and what its values are called.

Knows the keys of the configuration and the names of files; knows nothing of combinations.
"""

from __future__ import annotations

import difflib
import glob
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Any

from promptlearn.config import Config, DataConfig, JudgeConfig, ModelConfig, ModelsConfig, PromptConfig, put_key
from promptlearn.errors import ConfigError
from promptlearn.records import Json

KEYS: Mapping[str, str] = {
    "prompts": "prompt",
    "datasets": "data",
    "models": "models",
    "judges": "judges",
    "optimizers": "search.proposers",
    "seeds": "search.seed",
    "prompt.file": "prompt",
    "data.file": "data",
}
"""Axes that have a name of their own → the key that they change."""
PROPOSERS, NONE, ALL = "search.proposers", "none", "all"
OF_THE_BATCH = {"store": "store", "search.concurrency": "concurrency"}
"""Keys that are the same for all experiments, and what they are called at the top of the file."""
_SECTIONS: Mapping[str, tuple[type[Any], ...]] = {
    "prompt": (PromptConfig,),
    "data": (DataConfig,),
    "models": (ModelsConfig, ModelConfig),
    "judges": (JudgeConfig,),
}
_FILES = ("prompt", "data")
_ROLES = ("task", "judge", "meta")


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of an axis."""

    label: str
    value: Json


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    """As the file calls it."""
    key: str
    """Dotted key of the configuration."""
    choices: tuple[Choice, ...]

    def find(self, said: Json) -> Choice | None:
        """The value that a name or the value itself means."""
        return next((choice for choice in self.choices if said in (choice.label, choice.value)), None)


def key_of(name: str) -> str:
    """The key that an axis changes. Raises ConfigError with what exists."""
    key = KEYS.get(name, name)
    if key in OF_THE_BATCH:
        raise ConfigError(f"`{name}` is the same for all experiments: set `{OF_THE_BATCH[key]}` at the top of the file")
    if key.partition(".")[0] not in Config.model_fields:
        known = [*(alias for alias in KEYS if "." not in alias), *Config.model_fields]
        close = difflib.get_close_matches(name, known, n=1)
        hint = (
            f"did you mean `{close[0]}`?" if close else f"known are {', '.join(known)}, and keys such as search.drafts"
        )
        raise ConfigError(f"unknown axis `{name}`; {hint}")
    return key


def read_axis(name: str, given: Json, folder: Path) -> Axis:
    """An axis from what stands under its name: a list of values, names with values, or one value.

    Patterns (`prompts/*.md`) stand for the files in `folder` that they match. Raises ConfigError.
    """
    key = key_of(name)
    if isinstance(given, dict):
        choices = _named(name, key, given, folder)
    else:
        values = given if isinstance(given, list) else [given]
        found = [one for value in values for one in expanded(name, key, value, folder)]
        choices = _told_apart(name, key, [Choice(label_of(key, value), value) for value in found])
    if not choices:
        raise ConfigError(f"the axis `{name}` has no value; give a list of them")
    return Axis(name, key, tuple(choices))


def expanded(name: str, key: str, value: Json, folder: Path) -> list[Json]:
    """The values that a pattern of file names stands for; any other value is itself."""
    file = _file(value) if key in _FILES else None
    if file is None or not glob.has_magic(file) or (folder / file).exists():
        return [value]
    # Path.glob takes no absolute pattern, and reads brackets in the folder's own name as one.
    matches = glob.glob(file, root_dir=folder, recursive=True)  # noqa: PTH207
    files = sorted(path for path in matches if (folder / path).is_file())
    if not files:
        raise ConfigError(f"`{name}`: no file in {folder} matches {file}")
    return [{**value, "file": path} if isinstance(value, dict) else path for path in files]


def apply(content: dict[str, Any], key: str, value: Json, said: str) -> None:
    """Put a value of an axis into a configuration's keys.

    A file or an object replaces the keys that it names and leaves the others of its section alone.
    """
    if key in _FILES:
        _merge(content, key, value if isinstance(value, dict) else {"file": value}, "file")
    elif key == "models":
        by_role = isinstance(value, dict) and value and set(value) <= set(_ROLES)
        _merge(content, key, value if by_role else {"task": value}, "task")
    elif key == "judges":
        content[key] = value if isinstance(value, list) else [value]
    elif key == PROPOSERS:
        proposers = None if value in (NONE, ALL) else [value] if isinstance(value, str) else value
        put_key(content, key, proposers, said)
    else:
        put_key(content, key, value, said)


def label_of(key: str, value: Json) -> str:
    """A short readable name of a value."""
    if key in _FILES and (file := _file(value)) is not None:
        part = value.get("key") if isinstance(value, dict) else None
        return clean(PurePath(file).stem + (f":{part}" if part else ""))
    if key == "models":
        parts = value.values() if isinstance(value, dict) and set(value) <= set(_ROLES) else [value]
        return clean("+".join(dict.fromkeys(_model(part) for part in parts)))
    if key.startswith("models.") and isinstance(value, dict | str):
        return clean(f"{key.rpartition('.')[2]}={_model(value)}")
    if key == "judges":
        parts = value if isinstance(value, list) else [value]
        return clean("+".join(PurePath(str(_field(part, "use"))).stem for part in parts))
    if key == PROPOSERS:
        return clean(ALL if value is None else "+".join(value) if isinstance(value, list) else str(value))
    return clean(f"{key.rpartition('.')[2]}={_short(value)}")


def clean(label: str) -> str:
    """A part of an experiment's name: no space, slash or bracket, so that shells and patterns take it as it is."""
    return re.sub(r"[^\w.+=:@%,-]+", "-", label).strip("-") or "value"


def _named(name: str, key: str, given: Mapping[Any, Json], folder: Path) -> list[Choice]:
    """Values that have names of their own."""
    fields = {field for section in _SECTIONS.get(key, ()) for field in section.model_fields}
    if given and set(given) <= fields:
        raise ConfigError(f"`{name}` needs a list of values, or names with values; put [ ] around {dict(given)}")
    choices = []
    for label, value in given.items():
        found = expanded(name, key, value, folder)
        if len(found) > 1:
            raise ConfigError(f"`{name}.{label}` matches {len(found)} files; put patterns into a list, without a name")
        choices.append(Choice(clean(str(label)), found[0]))
    return _told_apart(name, key, choices)


def _told_apart(name: str, key: str, choices: list[Choice]) -> list[Choice]:
    """The same values under labels of which no two are equal: files of one name get that of their folder too."""
    if key in _FILES and _doubles(choices):
        double = _doubles(choices)
        choices = [_with_folder(choice) if choice.label in double else choice for choice in choices]
    for label in _doubles(choices):
        raise ConfigError(
            f"two values of `{name}` are called {label!r}; name them: {{{name}: {{first: …, second: …}}}}"
        )
    return choices


def _doubles(choices: Iterable[Choice]) -> list[str]:
    return [label for label, count in Counter(choice.label for choice in choices).items() if count > 1]


def _with_folder(choice: Choice) -> Choice:
    file = _file(choice.value)
    folder = PurePath(file).parent.name if file else ""
    return replace(choice, label=clean(f"{folder}.{choice.label}") if folder else choice.label)


def _merge(content: dict[str, Any], key: str, value: Mapping[str, Json], shorthand: str) -> None:
    known = content.get(key)
    content[key] = {**({shorthand: known} if isinstance(known, str) else known or {}), **value}


def _file(value: Json) -> str | None:
    file = _field(value, "file")
    return file if isinstance(file, str) else None


def _field(value: Json, name: str) -> Json:
    return value.get(name) if isinstance(value, dict) else value


def _model(value: Json) -> str:
    """The last part of a model's name, without the ending of a file."""
    name = str(_field(value, "model")).rpartition("/")[2]
    return re.sub(r"\.(gguf|yaml|yml)$", "", name)


def _short(value: Json) -> str:
    if isinstance(value, list):
        return "+".join(_short(part) for part in value)
    if isinstance(value, dict):
        return ",".join(f"{key}:{_short(part)}" for key, part in value.items())
    return PurePath(value).name if isinstance(value, str) else str(value).lower()
