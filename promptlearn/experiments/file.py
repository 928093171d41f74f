"""`experiments.yaml`: its shape and its defaults.

Knows the keys of the file and what `--set` may change; what an axis means stands in `matrix`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from promptlearn.config import BudgetConfig, Section, load_config, parse_section, read_mapping, with_overrides
from promptlearn.errors import ConfigError
from promptlearn.experiments.axes import KEYS
from promptlearn.records import Json

DEFAULT_EXPERIMENTS = "experiments.yaml"
Unwanted = Literal["regressed", "not_proven", "failed"]
"""What may make the command fail."""


class SharedBudgetConfig(BudgetConfig):
    """Caps over all experiments together; nothing is capped that is not named."""

    task_calls: int | None = Field(None, gt=0)
    """Answers to examples, those on test splits included."""


class ExperimentsConfig(Section):
    """The whole of `experiments.yaml`."""

    base: Path | dict[str, Json] = Path("promptlearn.yaml")
    """What all experiments have in common: a promptlearn.yaml, or its keys right here."""
    matrix: dict[str, Json] = Field(default_factory=dict)
    """Axes: `prompts`, `datasets`, `models`, `judges`, `optimizers`, `seeds`, or any key of the configuration. Each has
    a list of values, or names with values."""
    include: tuple[dict[str, Json], ...] = ()
    """Further experiments: the base with these keys, under `name`."""
    exclude: tuple[dict[str, Json], ...] = ()
    """Combinations to leave out: those that match all keys of an entry."""
    budget: SharedBudgetConfig | None = None
    """One budget for all, dealt out equally."""
    concurrency: int | None = Field(None, ge=1, le=1024)
    """Calls at the same time over all experiments; by default the base's `search.concurrency`."""
    at_once: int = Field(8, ge=1, le=256)
    """Experiments at work at the same time."""
    fail_on: Annotated[
        tuple[Unwanted, ...], BeforeValidator(lambda value: [value] if isinstance(value, str) else value)
    ] = ("regressed", "failed")
    """Outcomes for which the command ends with another exit code than 0."""
    store: str | None = None
    """SQLAlchemy URL or path; by default the base's."""


@dataclass(frozen=True, slots=True)
class ExperimentsFile:
    """An experiments file that was read; nothing of what it names is opened yet."""

    settings: ExperimentsConfig
    base: dict[str, Any]
    """Keys of the common configuration; paths are absolute where it is a file of its own."""
    folder: Path
    """Where relative paths start."""
    where: str
    """For error messages."""

    @property
    def store(self) -> str | None:
        """What the file says, else what its base says."""
        named = self.settings.store if self.settings.store is not None else self.base.get("store")
        return named if named is None or "://" in named else str(self.folder / named)


def load_experiments(path: Path, overrides: Sequence[str] = ()) -> ExperimentsFile:
    """Read and check the file. `overrides` are KEY=VALUE pairs: keys of this file, else of the base configuration.

    Raises ConfigError naming file and key.
    """
    missing = f"no experiments at {path}; write a file with the keys base and matrix, or name yours"
    content = read_mapping(path, missing, "it needs the keys base and matrix")
    own = [text for text in overrides if _head(text) in ExperimentsConfig.model_fields and _head(text) != "base"]
    others = tuple(text.removeprefix("base.") for text in overrides if text not in own)
    settings = parse_section(ExperimentsConfig, with_overrides(content, tuple(own)), str(path))
    _refuse_axes(settings, others)
    folder = path.resolve().parent
    return ExperimentsFile(settings, _base(settings.base, others, folder, str(path)), folder, str(path))


def _base(base: Path | dict[str, Json], overrides: tuple[str, ...], folder: Path, where: str) -> dict[str, Any]:
    if isinstance(base, dict):
        return with_overrides(base, overrides)
    if not (folder / base).exists():
        raise ConfigError(
            f"{where}: `base`: no configuration at {folder / base}; name yours, or make one with `promptlearn init`"
        )
    return load_config(folder / base, overrides).model_dump(mode="json", exclude_unset=True)


def _refuse_axes(settings: ExperimentsConfig, overrides: Sequence[str]) -> None:
    for text in overrides:
        key = text.partition("=")[0]
        for name in settings.matrix:
            axis = KEYS.get(name, name)
            if f"{key}.".startswith(f"{axis}.") or f"{axis}.".startswith(f"{key}."):
                raise ConfigError(
                    f"`--set {text}`: `{name}` is an axis of the matrix; choose from it with --only, or set "
                    f"`matrix.{name}`"
                )


def _head(override: str) -> str:
    return override.partition("=")[0].partition(".")[0]
