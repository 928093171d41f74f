"""Asks a model for a better prompt: fences the material, reads tagged replies, refuses what is no prompt.

Knows meta-prompts and replies; which parts of a prompt a reply may change is each proposer's own business. A reply
that can not be used is complained about once, with less evidence, and then given up.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from promptlearn.errors import ModelError, SystemicError
from promptlearn.meta_prompt import MetaPromptFile
from promptlearn.models.base import Model, Reply
from promptlearn.records import Draft, Message, Usage

T = TypeVar("T")

_REPEATS = 64
"""Drafts of one proposal whose calls stay apart."""
_SECOND_TRY = frozenset({"unparseable", "truncated", "context_length", "empty"})
"""Failures that another wording or less evidence may mend."""
_OPEN_THOUGHT = re.compile(r"</?(?:think|thinking)\b", re.IGNORECASE)
_THOUGHT = re.compile(r"\A\s*<(think|thinking)>.*?</\1>", re.DOTALL | re.IGNORECASE)


_SHOWN = (
    "prompt",
    "wish",
    "other",
    "rules",
    "modes",
    "kept",
    "reviews",
    "answers",
    "variables",
    "locked",
    "output_schema",
)
INPUTS = frozenset({*_SHOWN, "max_words", "max_rules", "draft", "complaints"})
"""What a template may read; `promptlearn.proposing.material` says what stands in each."""


class MetaPrompt(MetaPromptFile):
    """A file of `meta_prompts/` that asks a proposer's question."""

    possible = INPUTS

    def messages(self, material: Mapping[str, str], max_words: int, max_rules: int = 1) -> tuple[Message, ...]:
        """The chat messages of one call."""
        ours = {"max_words": str(max_words), "max_rules": str(max_rules), "wish": material.get("wish", "")}
        return self.filled({name: text for name, text in material.items() if name not in ours}, ours)


@dataclass(frozen=True, slots=True)
class Request(Generic[T]):
    """One thing to ask for."""

    meta_prompt: MetaPrompt
    material: Mapping[str, str]
    less: Mapping[str, str]
    """The same material with less evidence, for a second try."""
    max_words: int
    read: Callable[[str], T]
    """Makes something of a reply's text. Raises `ModelError("unparseable", …)`."""
    repeat: int
    max_rules: int = 1

    def after(self, draft: str, complaints: Sequence[str]) -> Request[T]:
        """The request for a draft that mends an earlier one."""
        more = {"draft": draft, "complaints": "\n".join(f"- {complaint}" for complaint in complaints)}
        return replace(self, material={**self.material, **more}, less={**self.less, **more})

    def messages(self) -> tuple[Message, ...]:
        return self.meta_prompt.messages(self.material, self.max_words, self.max_rules)


async def ask(model: Model, request: Request[Draft | None]) -> Draft | None:
    """One draft, or None where the model would change nothing. Raises as `answer`."""
    draft, spent = await answer(model, request)
    return draft and replace(draft, usage=spent)


async def answer(model: Model, request: Request[T]) -> tuple[T, Usage]:
    """What is made of the model's reply, and what it cost.

    A reply that can not be used is answered with a complaint, once. Raises `ModelError` after that, and at once where
    asking again would not help.
    """
    spent = Usage()
    try:
        reply = await model.complete(request.messages(), repeat=request.repeat)
        spent = reply.usage
        return request.read(reply_text(reply)), spent
    except ModelError as error:
        if error.kind not in _SECOND_TRY or isinstance(error, SystemicError):
            raise
        complaint = f"- {error}"
        again = replace(request, material={**request.less, "complaints": complaint})
        reply = await model.complete(again.messages(), repeat=request.repeat)
        return request.read(reply_text(reply)), spent + reply.usage


def reply_text(reply: Reply) -> str:
    """The reply without its closed thoughts. Raises `ModelError` for a cut reply and for an unfinished thought."""
    if reply.finish_reason == "length":
        raise ModelError("truncated", "the reply was cut off at max_tokens; answer in fewer words")
    text = _THOUGHT.sub("", reply.text).strip()
    if _OPEN_THOUGHT.search(text):
        raise ModelError("unparseable", "the reply contains an unfinished thought; reply with the tags only")
    return text


async def gather(asked: Sequence[Coroutine[Any, Any, Draft | None]]) -> list[Draft]:
    """The distinct drafts of concurrent calls, in the order of asking.

    A `ModelError` costs its own draft; the first one is raised where no call came to a result, and at once where the
    endpoint refuses everybody. All other errors are raised.
    """
    drafts: dict[str, Draft] = {}
    for draft in await together(asked):
        if draft is not None:
            drafts.setdefault(draft.prompt.digest, draft)
    return list(drafts.values())


async def together(asked: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """What came of concurrent calls, in the order of asking, without those that failed; raises as `gather`."""
    results = await asyncio.gather(*asked, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, ModelError) or isinstance(error, SystemicError):
            raise error
    if errors and len(errors) == len(results):
        raise errors[0]
    return [result for result in results if not isinstance(result, BaseException)]


def repeat_index(seed: int, draft: int) -> int:
    """What tells this draft's call apart from every other one with the same messages; fits 31 bits."""
    return (seed * _REPEATS + draft) % 2**31
