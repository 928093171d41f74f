"""Prompts of a run as texts for people, and what changed between two of them."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Message, Prompt, as_text
from promptlearn.report.names import Version, locate
from promptlearn.sections import own_section

if TYPE_CHECKING:
    from promptlearn.store import Store


def prompt(store: Store, run: str, version: str | int = "best") -> Prompt:
    """Any prompt of a run. Raises `UsageError` naming versions where there is none such."""
    return prompt_of(store, locate(store, run, version))


def diff(store: Store, run: str, old: str | int = "baseline", new: str | int = "best") -> str:
    """What changed between two prompts of a run, as a unified diff; empty where nothing did."""
    texts = [as_document(prompt(store, run, version)) for version in (old, new)]
    return unified_diff(texts[0], texts[1], (str(old), str(new)))


def unified_diff(a: str, b: str, names: tuple[str, str] = ("baseline", "best")) -> str:
    """A unified diff of two texts, lines ending at `\\n` alone; empty where they are equal."""
    lines = difflib.unified_diff(_lines(a), _lines(b), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def as_document(prompt: Prompt) -> str:
    """Everything that a prompt says, as one text for people: its messages by role, then demonstrations as turns."""
    messages = list(prompt.messages)
    learned = prompt.layout.before + prompt.learned_text() + prompt.layout.after
    messages[prompt.learned] = Message(messages[prompt.learned].role, learned)
    turns = prompt.demonstrations if prompt.layout.demonstrations == "turns" else ()
    if len(messages) == 1 and not turns:
        return learned
    parts = [f"[{message.role}]\n{message.content}" for message in messages]
    for demo in turns:
        shown = "\n".join(f"{name}: {as_text(value)}" for name, value in demo.inputs.items())
        parts.append(f"[example]\n{shown}\nAnswer: {demo.output}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def changed(old: Prompt, new: Prompt) -> tuple[str, ...]:
    """Which of a program's several prompts differ; none for a single one."""
    before, after = old.learned_text(), new.learned_text()
    return tuple(name for name in new.parts if own_section(before, name) != own_section(after, name))


def prompt_of(store: Store, version: Version) -> Prompt:
    """As this run has it, with its provenance; otherwise as the store has it."""
    own = store.reader.candidate(version.run, version.digest)
    found = own.prompt if own else store.reader.prompt(version.digest)
    if found is None:
        what = f"run {version.run} names the prompt {version.digest}"
        raise UsageError(f"{what}, and the store at {store.where} does not have its text")
    return found


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)
