"""Where a prompt stands in a copy of the repository, and which bytes stand there.

Knows prompt files; nothing about processes. The command reads what the user's own agent would read once the learned
prompt is exported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from promptlearn.errors import ConfigError, PromptError
from promptlearn.prompt import PromptFile, read_prompt
from promptlearn.prompt.bundle import Bundle
from promptlearn.records import Layout, Message, Prompt

USUAL = "AGENTS.md"
VARIABLE = "PROMPTLEARN_PROMPT"
_UNFIT = re.compile(r"\W")


@dataclass(frozen=True, slots=True)
class PromptPlace:
    """A path in the copy, and the form in which a prompt is written there."""

    path: str
    """Relative, with `/`; links are followed already."""
    file: PromptFile | None
    """Whose form the prompt takes; None: its text alone."""
    is_own: bool = True
    """Whether that is the file that the prompt was read from."""

    @property
    def paths(self) -> frozenset[str]:
        return frozenset({self.path})

    @property
    def variables(self) -> dict[str, str]:
        """Environment variable → path in the copy."""
        return {VARIABLE: self.path}

    def files(self, content: bytes) -> dict[str, bytes]:
        """Path in the copy → bytes, of what `content` gave."""
        return {self.path: content}

    def content(self, prompt: Prompt) -> bytes:
        """The bytes of the file. Raises PromptError where it can not hold this prompt."""
        if self.file is None:
            return _text(prompt).encode("utf-8", "surrogatepass") + b"\n"
        if self.is_own:
            return self.file.render_file(prompt)
        return self.file.render_file(replace(self.file.prompt, messages=(Message("system", _text(prompt)),)))


@dataclass(frozen=True, slots=True)
class PromptPlaces:
    """The paths of several prompts in the copy, each in the form of its own file."""

    bundle: Bundle
    path_of: Mapping[str, str]
    """Name of a prompt → path, relative, with `/`."""

    @property
    def path(self) -> str:
        """All of them, as part of a command's identity."""
        return json.dumps(self.path_of, sort_keys=True)

    @property
    def paths(self) -> frozenset[str]:
        return frozenset(self.path_of.values())

    @property
    def variables(self) -> dict[str, str]:
        """Environment variable → path in the copy: `plan` is in PROMPTLEARN_PROMPT_PLAN."""
        return {f"{VARIABLE}_{_UNFIT.sub('_', name).upper()}": path for name, path in self.path_of.items()}

    def files(self, content: bytes) -> dict[str, bytes]:
        """Path in the copy → bytes, of what `content` gave."""
        return {path: text.encode("utf-8", "surrogateescape") for path, text in json.loads(content).items()}

    def content(self, prompt: Prompt) -> bytes:
        """All files as JSON. Raises PromptError where a heading is missing."""
        rendered = self.bundle.render(prompt)
        texts = {self.path_of[name]: data.decode("utf-8", "surrogateescape") for name, data in rendered.items()}
        return json.dumps(texts, sort_keys=True).encode()


Place: TypeAlias = PromptPlace | PromptPlaces


def find_places(bundle: Bundle, repo: Path | None) -> PromptPlaces:
    """Where the prompts of a bundle go in copies of `repo`: where they stand in it, else by their names."""
    root = repo.resolve() if repo is not None else None
    paths = {}
    for name, file in bundle.files.items():
        own = file.path.resolve()
        inside = root is not None and own.is_relative_to(root)
        paths[name] = _inside(own.relative_to(root).as_posix() if inside and root is not None else own.name, root)
    return PromptPlaces(bundle, paths)


def find_place(file: PromptFile | None, repo: Path | None, path: str | None) -> PromptPlace:
    """Where the prompt of `file` goes in copies of `repo`.

    By default where it stands in the repository, else `AGENTS.md`. A file of the same name is written in its own form;
    where another file stands there that has a managed block, the prompt goes into the block; anywhere else the learned
    text is written alone. Raises ConfigError for a path that leads out of the repository.
    """
    own = file.path.resolve() if file is not None else None
    root = repo.resolve() if repo is not None else None
    if path is None:
        inside = own is not None and root is not None and own.is_relative_to(root)
        path = own.relative_to(root).as_posix() if inside and own is not None and root is not None else USUAL
    path = _inside(path, root)
    if file is not None and file.path.name == Path(path).name:
        return PromptPlace(path, file)
    return PromptPlace(path, _block(root / path) if root is not None else None, is_own=False)


def _inside(path: str, root: Path | None) -> str:
    """`path` with links followed."""
    parts = Path(path).parts
    if Path(path).is_absolute() or not parts or ".." in parts or ".git" in parts:
        raise ConfigError(f"program.prompt_path: {path!r} is no path within the repository, such as AGENTS.md")
    if root is None:
        return Path(path).as_posix()
    target = (root / path).resolve()
    if not target.is_relative_to(root) or target.is_dir():
        raise ConfigError(f"program.prompt_path: {path!r} leads to {target}, which is no file of {root}")
    return target.relative_to(root).as_posix()


def _block(path: Path) -> PromptFile | None:
    """The file with a managed block that stands at `path`, or None."""
    if not path.is_file():
        return None
    try:
        found = read_prompt(path)
    except PromptError:  # no text, or no prompt of ours: it gives way to the learned text
        return None
    return found if found.format == "block" else None


def _text(prompt: Prompt) -> str:
    """The learned text with all that belongs to it, demonstrations as a section."""
    layout = prompt.layout
    return layout.before + replace(prompt, layout=Layout("text")).learned_text() + layout.after
