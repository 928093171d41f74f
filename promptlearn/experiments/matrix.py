"""From an experiments file to experiments: every combination of the axes, some left out, some added.

Names come from the values of the axes that have more than one, in the order of the file, so that the same file always
gives the same experiments under the same names. Opens nothing.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, TypeAlias

from promptlearn.config import Config, parse_config
from promptlearn.errors import ConfigError
from promptlearn.experiments.axes import (
    NONE,
    PROPOSERS,
    Axis,
    Choice,
    apply,
    clean,
    expanded,
    key_of,
    label_of,
    read_axis,
)
from promptlearn.experiments.file import ExperimentsFile
from promptlearn.records import Json

MOST = 10_000
"""Experiments of one file."""

Combination: TypeAlias = Mapping[str, Choice]
"""Name of an axis → the value chosen."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One configuration to run."""

    name: str
    axes: Mapping[str, str]
    """Axis → what its value is called."""
    config: Config
    """With absolute paths."""
    learns: bool
    """False: the prompt is measured as it is."""
    own_caps: frozenset[str] = frozenset()
    """Keys of the budget that this experiment has for itself, such as `calls` or `roles.judge.usd`."""


def expand(file: ExperimentsFile) -> tuple[Experiment, ...]:
    """All experiments of a file, in a fixed order. Raises ConfigError naming file, experiment and key."""
    try:
        axes = _axes(file)
        named = _named_combinations(file, axes)
        experiments = [_experiment(file, axes, name, chosen) for name, chosen in named.items()]
        experiments += [_included(file, axes, number, entry) for number, entry in enumerate(file.settings.include, 1)]
    except ConfigError as error:
        words = str(error)
        raise ConfigError(words if words.startswith(file.where) else f"{file.where}: {words}") from None
    seen: set[str] = set()
    for experiment in experiments:
        if experiment.name in seen:
            raise ConfigError(f"{file.where}: two experiments are called {experiment.name!r}; give one another `name`")
        seen.add(experiment.name)
    if not experiments:
        raise ConfigError(f"{file.where}: `exclude` leaves no experiment")
    return tuple(experiments)


def _axes(file: ExperimentsFile) -> tuple[Axis, ...]:
    """The axes of the matrix; a pattern in the base's own `prompt.file` is one too."""
    axes = [read_axis(name, given, file.folder) for name, given in file.settings.matrix.items()]
    for one, other in itertools.combinations(axes, 2):
        if one.key == other.key:
            raise ConfigError(f"the axes `{one.name}` and `{other.name}` change the same key, {one.key}; keep one")
    prompt = file.base.get("prompt")
    if prompt is not None and not any(axis.key == "prompt" for axis in axes):
        files = expanded("prompt", "prompt", prompt, file.folder)
        if files != [prompt]:
            axes.insert(0, read_axis("prompts", files, file.folder))
    size = math.prod(len(axis.choices) for axis in axes)
    if size > MOST:
        raise ConfigError(f"the matrix has {size} combinations, more than {MOST}; split it into several files")
    return tuple(axes)


def _named_combinations(file: ExperimentsFile, axes: Sequence[Axis]) -> dict[str, Combination]:
    """What is left of the product, by name. One that only measures does not depend on the search's other axes."""
    rules = [_rule(entry, axes) for entry in file.settings.exclude]
    unused = set(range(len(rules)))
    found: dict[str, Combination] = {}
    # An empty matrix is the base alone, unless there is an `include` to say what is wanted.
    products = itertools.product(*(axis.choices for axis in axes)) if axes or not file.settings.include else ()
    for choices in products:
        chosen = dict(zip((axis.name for axis in axes), choices, strict=True))
        hits = [number for number, rule in enumerate(rules) if _matches(rule, chosen)]
        unused.difference_update(hits)
        if not hits:
            needed = _needed(axes, chosen)
            found.setdefault(_name(file, axes, needed), needed)
    if unused:
        raise ConfigError(f"`exclude.{min(unused)}` matches no combination; mend or remove it")
    return found


def _rule(entry: Mapping[str, Json], axes: Sequence[Axis]) -> dict[str, tuple[Choice, ...]]:
    """Axis → the values that an entry of `exclude` means."""
    rule = {}
    for name, said in entry.items():
        axis = next((axis for axis in axes if name in (axis.name, axis.key)), None)
        if axis is None:
            raise ConfigError(f"`exclude`: `{name}` is no axis of the matrix: {', '.join(axis.name for axis in axes)}")
        whole = axis.find(said)
        parts = [whole] if whole else [axis.find(part) for part in (said if isinstance(said, list) else [said])]
        rule[axis.name] = tuple(part for part in parts if part is not None)
        if len(rule[axis.name]) < len(parts):
            known = ", ".join(choice.label for choice in axis.choices)
            raise ConfigError(f"`exclude`: {said!r} is no value of `{axis.name}`: {known}")
    return rule


def _matches(rule: Mapping[str, tuple[Choice, ...]], chosen: Combination) -> bool:
    return all(chosen[name] in choices for name, choices in rule.items())


def _needed(axes: Sequence[Axis], chosen: Combination) -> Combination:
    if not any(axis.key == PROPOSERS and chosen[axis.name].value == NONE for axis in axes):
        return chosen
    of_search = {axis.name for axis in axes if axis.key.startswith("search.") and axis.key != PROPOSERS}
    return {name: choice for name, choice in chosen.items() if name not in of_search}


def _name(file: ExperimentsFile, axes: Iterable[Axis], chosen: Combination) -> str:
    parts = [chosen[axis.name].label for axis in axes if axis.name in chosen and len(axis.choices) > 1]
    return "/".join(parts) or _short_name(file, axes, chosen)


def _short_name(file: ExperimentsFile, axes: Iterable[Axis], chosen: Combination) -> str:
    """For the only experiment: what its prompt is called."""
    prompts = [chosen[axis.name].label for axis in axes if axis.key == "prompt" and axis.name in chosen]
    prompt = file.base.get("prompt")
    return prompts[0] if prompts else label_of("prompt", prompt) if prompt else clean(PurePath(file.where).stem)


def _experiment(file: ExperimentsFile, axes: Iterable[Axis], name: str, chosen: Combination) -> Experiment:
    values = {axis.name: (axis.key, chosen[axis.name].value) for axis in axes if axis.name in chosen}
    labels = {name: choice.label for name, choice in chosen.items()}
    return _made(file, name, values, labels)


def _included(file: ExperimentsFile, axes: Sequence[Axis], number: int, entry: Mapping[str, Json]) -> Experiment:
    """The base with the keys of one entry; a value may be called as an axis of the matrix calls it."""
    values: dict[str, tuple[str, Json]] = {}
    labels: dict[str, str] = {}
    for name, said in entry.items():
        if name == "name":
            continue
        key = key_of(name)
        axis = next((axis for axis in axes if axis.key == key), None)
        choice = axis.find(said) if axis else None
        value = choice.value if choice else said
        if len(expanded(name, key, value, file.folder)) > 1:
            raise ConfigError(f"`include.{number - 1}.{name}` matches several files; name one, or use the matrix")
        values[name] = (key, value)
        labels[axis.name if axis else name] = choice.label if choice else label_of(key, value)
    name = clean_name(str(entry["name"])) if "name" in entry else "/".join(labels.values())
    return _made(file, name or f"include-{number}", values, labels)


def clean_name(name: str) -> str:
    return "/".join(clean(part) for part in name.split("/"))


def _made(
    file: ExperimentsFile, name: str, values: Mapping[str, tuple[str, Json]], labels: Mapping[str, str]
) -> Experiment:
    content: dict[str, Any] = copy.deepcopy(file.base)
    learns, own = True, set()
    # Sections before single keys, so that `models` does not undo `models.task.temperature`.
    for axis, (key, value) in sorted(values.items(), key=lambda item: item[1][0].count(".")):
        apply(content, key, value, axis)
        learns = learns and not (key == PROPOSERS and value == NONE)
        if key.partition(".")[0] == "budget":
            own |= set(caps(value if key == "budget" else {key.partition(".")[2]: value}))
    config = parse_config(content, f"{file.where}: experiment {name}").resolve(file.folder)
    return Experiment(name, dict(labels), config, learns, frozenset(own))


def caps(budget: Json, before: str = "") -> dict[str, float]:
    """The caps that a `budget` section sets, by dotted key."""
    found: dict[str, float] = {}
    for key, value in (budget or {}).items():
        if isinstance(value, dict):
            found |= caps(value, f"{before}{key}.")
        elif value is not None:
            found[before + key] = value
    return found
