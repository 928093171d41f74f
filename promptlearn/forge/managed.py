"""The managed block in a file that people write: what is between two markers is ours, every byte around it is theirs.

    put_block(b"# Rules of the house\n", "Be kind.", "CLAUDE.md")
    # b"# Rules of the house\n\n<!-- promptlearn:begin … -->\nBe kind.\n<!-- promptlearn:end -->\n"

For the files that coding agents read (`CLAUDE.md`, `AGENTS.md`, `.cursor/rules/*.mdc`, …), whose front matter is among
the bytes that stay. `prompt.file` reads the same markers, so that such a block can be the prompt of a run. Knows bytes
and markers; nothing about runs, rules or git.
"""

from __future__ import annotations

from pathlib import PurePosixPath

from promptlearn.errors import PromptError
from promptlearn.prompt.text import FileText, find_block

_BEGIN = "promptlearn:begin (learned from reviews and examples: change it through promptlearn, or write around it)"
_END = "promptlearn:end"
_HTML = frozenset({".md", ".mdc", ".markdown", ".mdx"})
_STRUCTURED = frozenset({".json", ".yaml", ".yml", ".toml", ".csv", ".xml"})
_AGENT_NAMES = frozenset(
    {
        "agents.md",
        "claude.md",
        "claude.local.md",
        "copilot-instructions.md",
        "gemini.md",
        "review.md",
        ".clinerules",
        ".cursorrules",
        ".windsurfrules",
    }
)
_FRONT_MATTER = "---\ndescription: What reviewers of this repository ask for\nalwaysApply: true\n---\n"
"""Of a new Cursor rule, which is read in every chat."""


def is_agent_file(path: str) -> bool:
    """Whether coding agents read a file of this name, so that a block may be put into it unasked."""
    pure = PurePosixPath(path)
    return pure.name.lower() in _AGENT_NAMES or pure.suffix.lower() == ".mdc"


def read_block(data: bytes, name: str) -> str | None:
    """The text of the file's block, lines ending in `\\n`; None where it has none.

    Raises `PromptError` for markers that are nested, doubled, turned around or without their partner, and for a file
    that is not UTF-8.
    """
    block = find_block(FileText.decode(data, name).text, name)
    return None if block is None else block.text.replace("\r\n", "\n")


def put_block(data: bytes | None, text: str, name: str) -> bytes:
    """The file with `text` in its block; a block that is missing is appended, and `None` is a file to be made.

    Every byte outside of the block is kept. Raises `PromptError` as `read_block` does, and for a text that holds a
    marker itself.
    """
    text = text.replace("\r\n", "\n").strip("\n")
    file = FileText.decode(_new_file(name) if data is None else data, name)
    block = find_block(file.text, name)
    if block is None:
        written = file.encode(file.text + _appended(file.text, text, name), name)
    else:
        # In a file of mixed line ends the block takes those of its own marker.
        own = text.replace("\n", "\r\n") if block.before.endswith("\r\n") else text
        written = file.encode(block.before + own + block.after, name)
    if read_block(written, name) != text:
        raise PromptError(f"{name}: the text does not read back from its block; it holds a marker or odd line ends")
    return written


def _appended(old: str, text: str, name: str) -> str:
    begin, end = _markers(name)
    gap = "" if not old or old.endswith("\n\n") else "\n" if old.endswith("\n") else "\n\n"
    return f"{gap}{begin}\n{text}\n{end}\n"


def _markers(name: str) -> tuple[str, str]:
    path = PurePosixPath(name)
    if path.suffix.lower() in _STRUCTURED:
        raise PromptError(f"{name}: a block of text would break a {path.suffix} file; name the prompt's key in the run")
    if path.suffix.lower() in _HTML or is_agent_file(name):
        return f"<!-- {_BEGIN} -->", f"<!-- {_END} -->"
    return f"# {_BEGIN}", f"# {_END}"


def _new_file(name: str) -> bytes:
    return _FRONT_MATTER.encode() if name.lower().endswith(".mdc") else b""
