"""Adds, changes or removes single rules; every other byte of the prompt stays. Needs a language model.

Knows the tagged lines of a reply, and reads them tolerantly: small models forget quotes, slashes and case.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from promptlearn.errors import ModelError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import fewer, focus, material
from promptlearn.proposing.meta import MetaPrompt, Request, ask, gather, repeat_index
from promptlearn.proposing.wording import as_rule, normalised, says
from promptlearn.records import Draft, Prompt, Rule

_WORDS = 120
"""What the changes of one draft may have together."""
_MOST_CHANGES = 6
_LEAST_WORDS = 3
_NUMBER = r"(?:(?:id|rule|number|n)\s*=\s*)?[\"']?#?(\d+)[\"']?"
_ADD = re.compile(r"<add\s*>(.*?)</add\s*>", re.DOTALL | re.IGNORECASE)
_CHANGE = re.compile(rf"<change\s+{_NUMBER}\s*>(.*?)</change\s*>", re.DOTALL | re.IGNORECASE)
_REMOVE = re.compile(rf"<remove\s+{_NUMBER}\s*/?>|<remove\s*>\s*#?(\d+)\s*</remove\s*>", re.IGNORECASE)
_OPENED = re.compile(r"<(add|change)\b", re.IGNORECASE)
_TEMPLATE_WORDS = frozenset(map(normalised, ["the text of a new rule", "the new text of rule 1", "a new rule"]))


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of a reply."""

    action: Literal["add", "change", "remove"]
    text: str = ""
    number: int = 0
    """Of the rule that is meant, from 1; 0 for a new one."""


class EditProposer:
    """Drafts in which single rules differ from the parent's."""

    name = "edit"

    def __init__(self, model: Model, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("edit")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        if not brief.modes and not brief.reviews:
            return []
        return await gather([ask(self._model, self._request(brief, i)) for i in range(count)])

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        written = "\n".join(f"- {rule.text}" for rule in draft.prompt.rules if rule not in brief.parent.rules)
        return await ask(self._model, self._request(brief, 0).after(written or "(rules removed)", violations))

    def _request(self, brief: Brief, draft: int) -> Request:
        modes = focus(brief.modes, draft)
        sources = tuple(dict.fromkeys(id_ for mode in modes for id_ in mode.examples))
        reviews = tuple(review.url or review.id for review in brief.reviews if review.state == "approved")
        return Request(
            self._meta_prompt,
            material(brief, modes),
            material(brief, fewer(modes)),
            _WORDS,
            lambda text: _read(text, brief.parent, sources + reviews),
            repeat_index(brief.seed, draft),
        )


def _read(reply: str, parent: Prompt, sources: tuple[str, ...]) -> Draft | None:
    made = edits(reply)
    prompt = replace(parent, rules=tuple(apply(made, parent, sources)))
    return None if prompt.digest == parent.digest else Draft(prompt, "; ".join(map(_told, made)))


def edits(reply: str) -> list[Edit]:
    """The edits in a reply, at most six, additions last. Raises `ModelError("unparseable", …)` where there are none."""
    changed = [Edit("change", text.strip(), int(number)) for number, text in _CHANGE.findall(reply)]
    removed = [Edit("remove", number=int(a or b)) for a, b in _REMOVE.findall(reply)]
    added = [Edit("add", text.strip()) for text in _ADD.findall(reply)]
    if len(_OPENED.findall(reply)) > len(added) + len(changed):
        raise ModelError(
            "unparseable", "a tag is not closed; every <add> needs its </add>, every <change> its </change>"
        )
    found = [*changed, *removed, *added]
    if not found:
        raise ModelError("unparseable", "the reply has no <add>, <change> or <remove> line; reply with such lines only")
    for edit in found:
        if edit.action != "remove" and (
            len(edit.text.split()) < _LEAST_WORDS or normalised(edit.text) in _TEMPLATE_WORDS
        ):
            raise ModelError("unparseable", f"{edit.text[:60]!r} is no rule; write what the assistant must do")
    return found[:_MOST_CHANGES]


def apply(made: Sequence[Edit], parent: Prompt, sources: tuple[str, ...]) -> Iterator[Rule]:
    """The parent's rules after these edits; rules that nobody touched are the same objects.

    Raises `ModelError("unparseable", …)` for a number that no rule has.
    """
    numbers = range(1, len(parent.rules) + 1)
    if unknown := [edit.number for edit in made if edit.action != "add" and edit.number not in numbers]:
        raise ModelError(
            "unparseable", f"there is no rule {unknown[0]}; the rules are numbered 1 to {len(parent.rules)}"
        )
    touched = {edit.number: edit for edit in made if edit.number}
    names = parent.contract.variables
    for number, rule in enumerate(parent.rules, 1):
        edit = touched.get(number)
        if edit is None:
            yield rule
        elif edit.action == "change" and normalised(edit.text) != normalised(rule.text):
            yield Rule(as_rule(edit.text, names), tuple(dict.fromkeys(rule.sources + sources)))
        elif edit.action == "change":
            yield rule
    said = parent.learned_text()
    for edit in made:
        text = as_rule(edit.text, names) if edit.action == "add" else ""
        if text and not says(said, text):
            said += f"\n{text}"
            yield Rule(text, sources)


def _told(edit: Edit) -> str:
    if edit.action == "remove":
        return f"removes rule {edit.number}"
    return f"adds: {edit.text}" if edit.action == "add" else f"changes rule {edit.number} to: {edit.text}"
