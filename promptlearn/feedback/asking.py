"""Asks a language model what a comment is, what rule it makes, and whether two rules say the same.

Knows the three meta-prompts and how their replies are read; knows no endpoint, store or budget: whoever calls passes a
Model, metered or not. Comments are data: each stands in a fence with a nonce of its call, and what comes back is a
proposal that a person approves or not (invariant 9).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from promptlearn.comments import Received
from promptlearn.errors import ModelError
from promptlearn.feedback.classify import KINDS, Classification, classify
from promptlearn.feedback.distil import distil
from promptlearn.feedback.prose import sentences, without_code
from promptlearn.feedback.screen import addresses_machine, objections
from promptlearn.feedback.statements import RELATIONS, Relation
from promptlearn.hidden import visible
from promptlearn.meta_prompt import MetaPromptFile
from promptlearn.models.base import Model, Sampling
from promptlearn.models.structured import Field, complete_fields
from promptlearn.records import Usage
from promptlearn.redaction import redact

_MAX_DIFF = 1500
"""Characters of a diff's end that a model sees."""
_NOTHING = frozenset({"", "none", "n/a", "no rule", "null"})

_KIND = (
    Field("reason", "string", "in one sentence: which words of the comment decide"),
    Field("kind", KINDS, "what the comment is"),
)
_RULE = (Field("rule", "string", "the instruction, or: none"),)
_RELATION = (
    Field("reason", "string", "in one sentence: what both say, or where they differ"),
    Field("relation", RELATIONS, "how the second rule stands to the first"),
)


class Asker:
    """A model that reads comments."""

    def __init__(self, model: Model, folder: Path | None = None) -> None:
        """`folder` holds meta-prompts of the user's own, by the names of the shipped ones. Raises `AssetError`."""
        self._model = model
        # A judgement, not a work of art: the same comment gets the same answer.
        self._sampling = Sampling(max_tokens=model.sampling.max_tokens, temperature=0.0, seed=model.sampling.seed)
        self._kind, self._rule, self._relation = (
            MetaPromptFile.load(name, folder) for name in ("classify", "distil", "compare")
        )
        self.usage = Usage()
        """What all calls so far cost."""

    async def classify(self, received: Received, paths: tuple[str, ...] = ()) -> Classification:
        """Kind and reason in the model's words, and its wording of the rule where there is one.

        What needs no model is not asked: files out of scope, and words that speak to the machine. Raises `ModelError`.
        """
        plain = classify(received, paths)
        if plain.kind == "out_of_scope" or not without_code(received.text).strip():
            return plain
        material = _material(received)
        reply = await complete_fields(self._model, self._kind.filled(material), _KIND, self._sampling)
        self.usage += reply.usage
        kind, reason = reply.values["kind"], " ".join(visible(str(reply.values["reason"])).split())[:300]
        rule = await self._distil(material) if kind == "rule" else plain.rule
        by = f"{self._kind.name}@{self._kind.version} {self._model.name}"
        return Classification(kind, reason, rule or plain.rule, by)

    async def relation(self, first: str, second: str) -> Relation:
        """Whether two rules say the same. Raises `ModelError`."""
        messages = self._relation.filled({"first": redact(first), "second": redact(second)})
        reply = await complete_fields(self._model, messages, _RELATION, self._sampling)
        self.usage += reply.usage
        found: Relation = reply.values["relation"]
        return found

    async def _distil(self, material: Mapping[str, str]) -> str:
        """The model's wording, or nothing where it has none that could stand in a prompt."""
        try:
            reply = await complete_fields(self._model, self._rule.filled(material), _RULE, self._sampling)
        except ModelError as error:
            if error.kind not in ("unparseable", "truncated"):
                raise
            return ""
        self.usage += reply.usage
        rule = distil(sentences(str(reply.values["rule"])))
        unusable = objections(rule) or addresses_machine(rule)
        return "" if rule.casefold().strip(" .'\"") in _NOTHING or unusable else rule


def _material(received: Received) -> dict[str, str]:
    comment = received.comment
    shown = {"comment": received.text, "file": comment.path or "", "diff": visible(comment.hunk)[-_MAX_DIFF:]}
    return {name: redact(text) for name, text in shown.items()}
