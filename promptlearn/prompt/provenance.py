"""Where the parts of a prompt came from and what they are worth, in a file beside the prompt (invariant 11).

For formats that could say it only by changing the prompt; a chat YAML says it itself.
"""

from __future__ import annotations

from pathlib import Path

from promptlearn.errors import PromptError
from promptlearn.prompt.chat import learned_parts
from promptlearn.prompt.file import PromptFile, write_bytes
from promptlearn.records import Prompt

_HEAD = "# Written by promptlearn: where each part of {name} came from, and what it was worth on validation rows.\n"
_BEGINS = _HEAD.partition(":")[0]


def has_provenance(path: Path) -> bool:
    """Whether NAME.rules.yaml beside a file says that this very file is a prompt of ours."""
    beside, head = _beside(path), _HEAD.format(name=path.name).encode()
    return beside.is_file() and beside.read_bytes().startswith(head)


def write_provenance(file: PromptFile | None, prompt: Prompt, beside: Path) -> Path | None:
    """Write NAME.rules.yaml beside the file of a prompt that was learned; None where there is nothing to say, or where
    the prompt's `file` says it itself.

    Raises `PromptError` where a file of that name is none of ours.
    """
    if file is not None and file.format == "chat":
        return None
    path = _beside(beside)
    rules, demos = prompt.rules, prompt.demonstrations
    learned = any(rule.sources or rule.effect for rule in rules) or any(demo.source or demo.effect for demo in demos)
    ours = not path.exists() or path.read_bytes().startswith(_BEGINS.encode())
    if not learned:
        if ours:
            path.unlink(missing_ok=True)
        return None
    if not ours:
        raise PromptError(f"{path}: not written by promptlearn, so it stays; export to another name")
    write_bytes(path, (_HEAD.format(name=beside.name) + learned_parts(prompt, str(path))).encode())
    return path


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.stem}.rules.yaml")
