"""`prompt` and `contract`."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from promptlearn.config.section import Section
from promptlearn.records import Json


class PromptConfig(Section):
    file: Path
    """Plain text, Markdown (whole, or the block between promptlearn markers), YAML, JSON or our chat YAML."""
    key: str | None = None
    """Path to the prompt inside a YAML or JSON file, such as `support.system`."""


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
