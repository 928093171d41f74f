"""Finds what ships beside the code: judges, meta-prompts and examples, in an install or in a checkout.

Knows folders, names and YAML; knows nothing about what a judge or a meta-prompt has to say. In a wheel the folders lie
inside the package (`promptlearn/judges`), in a checkout beside it (`judges`).
"""

from collections.abc import Mapping
from difflib import get_close_matches
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, get_args

import yaml

from promptlearn.errors import AssetError
from promptlearn.records import Json

AssetKind = Literal["judges", "meta_prompts", "examples", "app"]

_CHECKOUT = Path(__file__).resolve().parents[1]
_SUFFIXES = (".yaml", ".yml")


def asset_dir(name: str) -> Traversable:
    """The folder of that name (`judges`, `meta_prompts`, `examples`, `app`): the installed one, else the checkout's.

    Raises `AssetError` where neither is there.
    """
    packaged = files("promptlearn") / name
    if packaged.is_dir():
        return packaged
    beside = _CHECKOUT / name
    if name in get_args(AssetKind) and (_CHECKOUT / "pyproject.toml").is_file() and beside.is_dir():
        return beside
    raise AssetError(f"promptlearn has no folder {name!r}; possible: {_join(get_args(AssetKind))}")


def asset_names(kind: AssetKind) -> tuple[str, ...]:
    """The bare names of the YAML files that ship in that folder, sorted."""
    found = (entry.name for entry in asset_dir(kind).iterdir() if entry.name.endswith(_SUFFIXES))
    return tuple(sorted(name.rpartition(".")[0] for name in found))


def looks_like_path(use: str) -> bool:
    """Whether `use` is meant as a file: it ends in .yaml or .yml, or has a slash in it."""
    return use.endswith(_SUFFIXES) or "/" in use or "\\" in use


def load_yaml_asset(kind: AssetKind, use: str, folder: Path | None = None) -> Mapping[str, Json]:
    """The mapping in a shipped file, by its bare name (`correctness`), or in a file of the user's, by its path.

    A relative path starts at `folder` (default: the working directory). `judges/tone.yaml` means the shipped file
    where the user has none of that name. Raises `AssetError` for a missing or malformed file.
    """
    text = _read(kind, use, folder)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise AssetError(f"{use}: not valid YAML: {_one_line(str(error))}") from error
    if not isinstance(content, dict):
        raise AssetError(f"{use}: holds {type(content).__name__}, not a mapping of keys to values")
    return content


def _read(kind: AssetKind, use: str, folder: Path | None) -> str:
    source = _locate(kind, use, folder)
    try:
        return source.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise AssetError(f"{use}: not UTF-8 text (byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise AssetError(f"{use}: can not be read: {error.strerror or error}") from error


def _locate(kind: AssetKind, use: str, folder: Path | None) -> Traversable:
    shipped = asset_names(kind)
    name = use
    if looks_like_path(use):
        path = (folder or Path()) / Path(use).expanduser()
        if path.is_file():
            return path
        name = Path(use).stem if Path(use).parent == Path(kind) else ""
    if name in shipped:
        entries = (entry for entry in asset_dir(kind).iterdir() if entry.name.endswith(_SUFFIXES))
        return next(entry for entry in entries if entry.name.rpartition(".")[0] == name)
    guess = get_close_matches(name or Path(use).stem, shipped, n=1)
    hint = f" (did you mean {guess[0]!r}?)" if guess else ""
    where = f"no file {use!r}" if looks_like_path(use) else f"no {use!r} in {kind}"
    raise AssetError(f"{where}{hint}; possible: {_join(shipped)}, or a path to a YAML file of your own")


def _join(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "nothing"


def _one_line(text: str) -> str:
    return " ".join(text.split())
