"""open_judge: from `use: …` in a configuration to a judge.

Knows the names of the code judges, where judge files are and how a Python callable is named; knows no configuration
file.
"""

import importlib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from promptlearn.assets import asset_names, looks_like_path
from promptlearn.errors import AssetError, ConfigError
from promptlearn.judging.asset import load_judge_file
from promptlearn.judging.base import Judge
from promptlearn.judging.callable import Callable
from promptlearn.judging.criterion import RuleCheck
from promptlearn.judging.json_schema import JsonSchema
from promptlearn.judging.labels import LabelSet
from promptlearn.judging.llm import LLMJudge, LLMOptions
from promptlearn.judging.matching import Contains, ExactMatch, NormalizedMatch, Regex
from promptlearn.judging.numeric import Numeric
from promptlearn.judging.outcome import DiffContains, DiffTouches, ExitCode, TestsPassed
from promptlearn.models.base import Model
from promptlearn.records import Json

CODE_JUDGES: Mapping[str, Any] = {
    "label_set": LabelSet,
    "exact_match": ExactMatch,
    "normalized_match": NormalizedMatch,
    "regex": Regex,
    "contains": Contains,
    "json_schema": JsonSchema,
    "numeric": Numeric,
    "rule_check": RuleCheck,
    "exit_code": ExitCode,
    "tests_passed": TestsPassed,
    "diff_contains": DiffContains,
    "diff_touches": DiffTouches,
}
"""Name in a configuration → class. The class's fields are its options."""

EVIDENCE_JUDGES = frozenset({"exit_code", "tests_passed", "diff_contains", "diff_touches"})
"""Those that read what a command left behind, and nothing that a chat completion has."""


def open_judge(
    use: str,
    options: Mapping[str, Json] | None = None,
    *,
    labels: Sequence[str] = (),
    model: Model | None = None,
    folder: Path | None = None,
    secrets: Sequence[str] = (),
) -> Judge:
    """The judge that `use` names: a code judge, a judge file (bare name or path), or `module:function`.

    `labels` serve `label_set` where the options have none; `model` is what judge files ask; relative paths and modules
    start at `folder` (default: the working directory). Raises `AssetError` for an unknown judge, `ConfigError` for
    options that it does not have and for a judge file without a model.
    """
    options = dict(options or {})
    if use in CODE_JUDGES:
        if use == "label_set":
            options.setdefault("labels", list(labels))
        return _code_judge(use, options)
    if looks_like_path(use) or use in asset_names("judges"):
        return _llm_judge(use, options, model, folder, secrets)
    if ":" in use:
        return _python_judge(use, options, folder or Path())
    raise AssetError(_unknown(use))


def judge_needs_model(use: str) -> bool:
    """Whether `use` names a judge file, so that `models.judge` has to be there."""
    return use not in CODE_JUDGES and (looks_like_path(use) or use in asset_names("judges"))


def _code_judge(use: str, options: dict[str, Json]) -> Judge:
    judge: Judge = CODE_JUDGES[use](**_validated(use, CODE_JUDGES[use], options))
    return judge


def _llm_judge(
    use: str, options: dict[str, Json], model: Model | None, folder: Path | None, secrets: Sequence[str]
) -> Judge:
    file = load_judge_file(use, folder)
    known = LLMOptions(**_validated(use, LLMOptions, options))
    if model is None:
        raise ConfigError(f"judge {use} needs models.judge: name the model that it asks, or choose a code judge")
    return LLMJudge(file, model, known, secrets)


def _python_judge(use: str, options: dict[str, Json], folder: Path) -> Judge:
    """A function gets its options as keyword arguments; an object with the Judge protocol is taken as it is."""
    target = _imported(use, folder)
    if isinstance(target, Judge) and not isinstance(target, type):
        if options:
            raise ConfigError(f"judge {use} is a finished judge and takes no options; remove {', '.join(options)}")
        return target
    if not callable(target):
        raise AssetError(f"judge {use}: {type(target).__name__} is neither a function nor a judge")
    name = str(options.pop("name", "") or use.partition(":")[2])
    pass_at = _converted(use, "pass_at", float, options.pop("pass_at", 0.5))
    return Callable(partial(target, **options) if options else target, name, pass_at)


def _imported(use: str, folder: Path) -> Any:
    module_name, _, path = use.partition(":")
    where = str(folder.resolve())
    if where not in sys.path:
        sys.path.append(where)  # a console script does not have the user's own folder on its path
    try:
        target: Any = importlib.import_module(module_name)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise AssetError(f"judge {use}: module {module_name!r} can not be imported from {where}: {reason}") from error
    for part in path.split("."):
        if not hasattr(target, part):
            origin = getattr(sys.modules[module_name], "__file__", None) or module_name
            raise AssetError(f"judge {use}: {origin} has no {path!r}")
        target = getattr(target, part)
    return target


def _validated(use: str, record: type, options: Mapping[str, Json]) -> dict[str, Any]:
    """The options as the types of the record's fields. Raises `ConfigError` that names judge and option."""
    possible = [field.name for field in fields(record) if field.init]
    hints = get_type_hints(record)
    for key in options:
        if key not in possible:
            raise ConfigError(f"judge {use} has no option {key!r}; possible: {', '.join(possible)}")
    values = {key: _converted(use, key, hints[key], value) for key, value in options.items()}
    for field in fields(record):
        if field.init and field.default is field.default_factory is MISSING and field.name not in values:
            raise ConfigError(f"judge {use} needs the option {field.name!r}")
    return values


def _converted(use: str, key: str, kind: Any, value: Json) -> Any:
    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, (key, *first["loc"])))
        quoted = (
            "; put it in quotes (YAML reads yes, no, on and off as booleans)"
            if isinstance(first["input"], bool)
            else ""
        )
        raise ConfigError(f"judge {use}: {where} is {first['input']!r}: {first['msg']}{quoted}") from error


def _unknown(use: str) -> str:
    possible = sorted({*CODE_JUDGES, *asset_names("judges")})
    guess = get_close_matches(use, possible, n=1)
    hint = f" (did you mean {guess[0]!r}?)" if guess else ""
    return f"no judge {use!r}{hint}; possible: {', '.join(possible)}, a path to a YAML file, or module:function"
