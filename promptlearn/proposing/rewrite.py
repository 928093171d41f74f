"""Writes the learned text anew from the failure modes. Needs a language model.

Knows what a system prompt does not look like: small models answer with a chat message, with JSON, or with the
meta-prompt itself, and none of that becomes a draft.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from promptlearn.errors import ModelError
from promptlearn.models.base import Model
from promptlearn.models.structured import parse_tagged
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import fewer, material, room, shares, stated
from promptlearn.proposing.meta import MetaPrompt, Request, ask, gather, repeat_index
from promptlearn.proposing.tracing import traced
from promptlearn.proposing.wording import normalised, says
from promptlearn.records import Draft, FailureMode, Prompt
from promptlearn.words import count_words

_LEAST_WORDS = 5
_SHINGLE = 8
"""So many words in a row that stand in the meta-prompt too are copied from it."""
_MOST_REPEATED_LINE = 3
_PREAMBLE = re.compile(
    r"\A\W*(?:sure|certainly|of course|okay|ok|here(?:'s| is| are)|below is|i'?m sorry|i am sorry|sorry|i can(?:no|')t"
    r"|i cannot|as an ai|thank you|thanks for|the (?:new|improved|revised|updated) (?:system )?prompt)\b",
    re.IGNORECASE,
)
_ASKS_BACK = re.compile(
    r"\bplease (?:provide|share|send|enter|paste|give)\b[^.\n]*\byou(?:'d| would)? (?:want|like|need|wish)\b",
    re.IGNORECASE,
)
_CODE_BLOCK = re.compile(r"\A```[\w-]*\n(.*?)\n?```\Z", re.DOTALL)
_LEFTOVER = re.compile(r"</?(?:prompt|rationale)>|<<<(?:DATA|END)\b", re.IGNORECASE)
_RATIONALE = re.compile(r"<rationale>(.*?)</rationale>", re.DOTALL | re.IGNORECASE)
_MERGED = "The rules are merged into the text."


class RewriteProposer:
    """Drafts with a new learned text. Demonstrations stay, and so do the rules that the new text states on lines of
    their own; the others go, since the text contains them."""

    name = "rewrite"

    def __init__(self, model: Model, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("rewrite")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        if not brief.modes and not brief.reviews and not brief.wish:
            return []
        groups = [modes for share in shares(brief, count) for modes in share]
        return await gather([ask(self._model, self._request(brief, groups[i], i)) for i in range(count)])

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        modes = brief.groups[0] if brief.groups else brief.modes
        return await ask(self._model, self._request(brief, modes, 0).after(draft.prompt.text, violations))

    def _request(self, brief: Brief, modes: Sequence[FailureMode], draft: int) -> Request[Draft | None]:
        whole = {"prompt": stated(brief.parent)}
        return Request(
            self._meta_prompt,
            {**material(brief, modes, draft), **whole},
            {**material(brief, fewer(modes), draft), **whole},
            room(brief.parent),
            lambda text: self._read(text, brief.parent),
            repeat_index(brief.seed, draft),
        )

    def _read(self, reply: str, parent: Prompt) -> Draft | None:
        parts = parse_tagged(reply, ("prompt",))
        text = unwrapped(parts["prompt"])
        if problem := trouble(text, parent, self._meta_prompt):
            raise ModelError("unparseable", problem)
        prompt = traced(replace(parent.with_text(text), rules=()), parent.rules, parent)
        if prompt.digest == parent.digest:
            return None
        return Draft(prompt, _rationale(reply, len(parent.rules) > len(prompt.rules)))


def unwrapped(text: str) -> str:
    """The text without a code block around all of it."""
    match = _CODE_BLOCK.match(text.strip())
    return (match[1] if match else text).strip()


def trouble(text: str, parent: Prompt, meta_prompt: MetaPrompt) -> str | None:
    """Why this can not be a system prompt, in words for the model that wrote it; None where it can."""
    if count_words(text) < _LEAST_WORDS:
        return f"the prompt has fewer than {_LEAST_WORDS} words; write the whole new system prompt between the tags"
    if _PREAMBLE.match(text) and not _PREAMBLE.match(parent.text):
        return "the prompt begins like a chat message; write only the instructions for the assistant between the tags"
    if _ASKS_BACK.search(text) and not _ASKS_BACK.search(parent.text):
        return "the prompt asks for a message as if in a chat; write only the instructions for the assistant"
    if _LEFTOVER.search(text):
        return "the prompt contains tags or DATA lines; write plain instructions between <prompt> and </prompt>"
    if _is_json(text) and not _is_json(parent.text):
        return "the prompt is JSON; write it as plain text"
    if _loops(text):
        return "the prompt repeats the same line again and again; say each thing once"
    copied = _shingles(text) & _shingles(meta_prompt.template) - _shingles(stated(parent))
    if copied or says(meta_prompt.template, text):
        return "the prompt repeats this request; write instructions for the assistant instead"
    return None


def _is_json(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except ValueError:
        return False


def _loops(text: str) -> bool:
    lines = Counter(normalised(line) for line in text.splitlines() if normalised(line))
    return any(count > _MOST_REPEATED_LINE for count in lines.values())


def _shingles(text: str) -> set[str]:
    words = normalised(text).split()
    return {" ".join(words[i : i + _SHINGLE]) for i in range(len(words) - _SHINGLE + 1)}


def _rationale(reply: str, merged: bool) -> str:
    match = _RATIONALE.search(reply)
    said = " ".join(match[1].split()) if match else ""
    return " ".join(part for part in (said, _MERGED if merged else "") if part)
