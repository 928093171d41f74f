"""`prompt` and `contract`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from promptlearn.config.section import Section
from promptlearn.records import Json


class PromptConfig(Section):
    file: Path
    """Plain text, Markdown (whole, or the block between promptlearn markers), YAML, JSON or our chat YAML."""
    key: str | None = None
    """Path to the prompt inside a YAML or JSON file, such as `support.system`."""
    files: dict[str, Path] = Field(default_factory=dict)
    """Instead of `file`, the prompts of a command that reads several: name → text file. Each is learned."""

    @model_validator(mode="before")
    @classmethod
    def _file_or_files(cls, content: Any) -> Any:
        files = content.get("files") if isinstance(content, dict) else None
        if not files or not isinstance(files, dict):
            return content
        first = next(iter(files.values()))
        if content.get("key") is not None or content.get("file", first) != first:
            raise ValueError("files names all prompts of a program; leave out file and key")
        if len(files) < 2:
            raise ValueError("files names one prompt; give it as file")
        return {**content, "file": first}


class ContractConfig(Section):
    """What no rewrite may break, on top of the prompt's variables."""

    locked: tuple[str, ...] = ()
    """Texts that stay byte-identical."""
    max_tokens: int | None = Field(None, gt=0)
    """Upper bound of the learned text with its demonstrations."""
    literals: tuple[str, ...] = ()
    """Names in braces that are plain text, not variables."""
    output_schema: dict[str, Json] | None = None
    """JSON schema of the answers."""
