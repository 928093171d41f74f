"""One file of `meta_prompts/`: what a language model is asked, as data.

Knows the file's form and how its template is filled; knows nothing about what is asked, nor how a reply is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from promptlearn.assets import load_yaml_asset
from promptlearn.errors import AssetError
from promptlearn.records import Message, fingerprint
from promptlearn.template import call_nonce, fence, render, template_variables


class MetaPromptFile(BaseModel):
    """Name and version for reports, and the two messages of a call."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    possible: ClassVar[frozenset[str] | None] = None
    """What a template may read, where that is known here; each template declares what it reads of it."""

    name: str
    version: int
    inputs: frozenset[str]
    system: str
    template: str

    @classmethod
    def load(cls, use: str, folder: Path | None = None) -> Self:
        """A shipped meta-prompt by its name, or a file by its path. Raises `AssetError`."""
        try:
            found = cls.model_validate(load_yaml_asset("meta_prompts", use, folder))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            keys = ", ".join(cls.model_fields)
            raise AssetError(f"{use}: {where}: {first['msg']}; a meta-prompt has the keys {keys}") from error
        if missing := template_variables(found.template, use) - found.inputs:
            raise AssetError(f"{use}: inputs lacks {', '.join(sorted(missing))}, which the template reads")
        if cls.possible is not None and (unknown := found.inputs - cls.possible):
            possible = ", ".join(sorted(cls.possible))
            raise AssetError(f"{use}: unknown inputs {', '.join(sorted(unknown))}; possible: {possible}")
        return found

    @property
    def digest(self) -> str:
        """What makes two files ask the same, in any process: a set has another order in each."""
        return fingerprint([self.name, self.version, sorted(self.inputs), self.system, self.template])

    def filled(self, material: Mapping[str, str], limits: Mapping[str, str] | None = None) -> tuple[Message, ...]:
        """The chat messages of one call; every non-empty material stands in a fence of its own (invariant 9).

        `limits` are ours and stand there as they are. The same material gives the same bytes, as the journal needs.
        """
        nonce = call_nonce([material[name] for name in sorted(material)], f"{self.name}@{self.version}")
        fenced = {name: fence(text, nonce, name) if text else "" for name, text in material.items()}
        asked = render(self.template, {**dict.fromkeys(self.inputs, ""), **fenced, **(limits or {})}, self.name)
        return (Message("system", self.system.strip()), Message("user", asked.strip()))
