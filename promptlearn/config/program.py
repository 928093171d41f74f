"""`program`: a command that answers instead of a model, or a DSPy program that asks one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from promptlearn.config.section import Section


class ProcessLimitsConfig(Section):
    """What each process of a command may take; null is no limit."""

    cpu_s: float | None = Field(600, gt=0)
    """Seconds of processor time."""
    memory_mb: int | None = Field(4096, gt=0)
    """Private memory in MiB; Linux only."""
    file_mb: int | None = Field(512, gt=0)
    """Size of any one file that it writes, in MiB."""
    processes: int | None = Field(1024, gt=0)
    """More than the user has when the run begins; has no power over root."""


class ProgramConfig(Section):
    """What answers instead of one chat completion: a command (a coding agent, or anything else that reads a prompt from
    a file), or a DSPy program."""

    dspy: str | None = None
    """`path.py:function` or `module:function`: a `dspy.Module`, or a function that makes one; it asks `models.task`. Of
    the keys below `answer` alone goes with it."""
    answer: str | None = None
    """The program's output field that judges see; by default the last one."""
    command: str | tuple[str, ...] = ()
    """Words, or a line that is split as a shell would, and given to none. A word that names a file beside the
    configuration, and none in `repo`, means that file."""
    repo: Path | None = None
    """Folder of which every rollout gets a copy, without what git ignores; by default an empty one."""
    prompt_path: str | None = None
    """Where the prompt is written in the copy; by default where it stands in `repo`, else AGENTS.md."""
    check: str | tuple[str, ...] = ()
    """Run afterwards in the copy, such as `pytest -q`; it alone sees expected answers."""
    junit: str | None = None
    """Where the check leaves a JUnit file, in the copy."""
    timeout_s: float = Field(600, gt=0)
    """Seconds for the command, and as many for the check."""
    env: tuple[str, ...] = ()
    """Names of environment variables that the command gets, such as its model's key; the check gets none."""
    cwd: str = "."
    """Folder of the copy in which both run."""
    output_bytes: int = Field(200_000, ge=1000)
    """Of the command's output that are kept; the middle of a longer one is left out."""
    network: bool = True
    """False: no network but its own loopback; Linux only."""
    shell: bool = False
    """Give `command` and `check`, each a line then, to /bin/sh."""
    git: bool = False
    """Make each copy a git repository of its own, with one commit."""
    limits: ProcessLimitsConfig = ProcessLimitsConfig()
    """What each process may take."""
    version: str | int = ""
    """Change it with whatever changes the command and stands neither in its words, nor in files that they name, nor in
    `repo`, so that what the old one did is not found again."""

    @model_validator(mode="after")
    def _says_something(self) -> ProgramConfig:
        if self.dspy is not None:
            others = sorted(self.model_fields_set - {"dspy", "answer"})
            if others:
                raise ValueError(f"with dspy, {others[0]} has no meaning; leave it out")
            return self
        if self.answer is not None:
            raise ValueError("answer names an output field of a DSPy program; set dspy, or leave it out")
        if self.shell and not (isinstance(self.command, str) and isinstance(self.check or "", str)):
            raise ValueError("with shell: true, command and check are lines of text, not lists of words")
        if not any(word.strip() for word in self.words(self.command)):
            raise ValueError(
                "command is empty; name a program and its arguments, such as [python, agent.py], or set dspy"
            )
        self.words(self.check)
        return self

    def words(self, line: str | tuple[str, ...]) -> tuple[str, ...]:
        """A command or check as the words that are run. Raises ValueError for a line that is not closed."""
        if not isinstance(line, str) or not line.strip():
            return tuple(line)
        return ("/bin/sh", "-c", line) if self.shell else tuple(shlex.split(line))

    def resolve(self, folder: Path) -> ProgramConfig:
        """The same with absolute paths."""
        repo = None if self.repo is None else folder / self.repo
        update: dict[str, Any] = {"repo": repo}
        if self.dspy is not None:
            where, _, name = self.dspy.rpartition(":")
            return self.model_copy(update={"dspy": f"{folder / where}:{name}"} if where.endswith(".py") else {})
        if not self.shell:
            for key, line in (("command", self.command), ("check", self.check)):
                update[key] = tuple(_beside(word, folder, repo) for word in self.words(line))
        return self.model_copy(update=update)


def _beside(word: str, folder: Path, repo: Path | None) -> str:
    """The file beside the configuration that a word names, unless the repository has one of that name."""
    is_file = bool(word.strip("./")) and (folder / word).is_file()
    return str(folder / word) if is_file and not (repo is not None and (repo / word).exists()) else word
