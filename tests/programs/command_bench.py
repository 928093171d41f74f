"""A small repository, commands that are written into the test, and a way to run them."""

from __future__ import annotations

import asyncio
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from promptlearn.programs.command import Command, CommandOptions
from promptlearn.prompt import read_prompt
from promptlearn.records import Example, Prompt, Rollout

RULES = "# House rules\n\n<!-- promptlearn:begin -->\nBe brief.\n<!-- promptlearn:end -->\n\nThe end.\n"


def write_repo(folder: Path) -> Path:
    """Two files, rules with a managed block, and something that is ignored."""
    folder.mkdir()
    (folder / "shop").mkdir()
    (folder / "shop/prices.py").write_text("PRICE = 1\n", encoding="utf-8")
    (folder / "notes.txt").write_text("one\ntwo\nthree\n", encoding="utf-8")
    (folder / "AGENTS.md").write_text(RULES, encoding="utf-8")
    (folder / ".gitignore").write_text("build/\n*.log\n", encoding="utf-8")
    (folder / "build").mkdir()
    (folder / "build/big.bin").write_text("made here\n", encoding="utf-8")
    return folder


def script(folder: Path, code: str, name: str = "agent.py") -> tuple[str, ...]:
    """The words of a command that runs this Python code."""
    path = folder / name
    path.write_text(textwrap.dedent(code), encoding="utf-8")
    return (sys.executable, "-S", str(path))


def example(**inputs: Any) -> Example:
    return Example(id="e1", inputs=inputs or {"task": "Raise the price."}, expected="secret answer")


@contextmanager
def opened(options: CommandOptions, prompt: Path | None = None) -> Iterator[Command]:
    command = Command(options, read_prompt(prompt) if prompt else None)
    try:
        yield command
    finally:
        asyncio.run(command.model.close())


def run(options: CommandOptions, prompt: Path | None = None, asked: Example | None = None) -> Rollout:
    """One rollout of the prompt that stands in the file."""
    with opened(options, prompt) as command:
        text = read_prompt(prompt).prompt if prompt else Prompt.of("Be brief.")
        return asyncio.run(command.open(command.model).run(text, asked or example()))
