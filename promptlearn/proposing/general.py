"""Makes few general rules out of several approved reviews, each traced to its comments. Needs a language model.

Knows reviews and the tagged lines of a reply; whether a rule is worth its tokens is measured elsewhere. Only approved
comments are shown (invariant 9), and a rule names those that it came from (invariant 11).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random

from promptlearn.errors import ModelError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import review_text, stated
from promptlearn.proposing.meta import MetaPrompt, Request, answer, repeat_index
from promptlearn.proposing.wording import as_rule, normalised
from promptlearn.records import Review, Rule, Usage

_MOST_REVIEWS = 20
"""In one request; a model of 1.5 billion parameters loses count beyond."""
_WORDS = 40
"""Of one rule."""
_LEAST_WORDS = 3
_TELLING = 4
"""Letters of a word from which it says something."""
_RULE = re.compile(r"<rule\s+from\s*=?\s*[\"']?([^\"'>]*)[\"']?\s*>(.*?)</rule\s*>", re.DOTALL | re.IGNORECASE)
_OPENED = re.compile(r"<rule\b", re.IGNORECASE)
_NUMBER = re.compile(r"\d+")
_TEMPLATE_WORDS = normalised("the text of the rule")


async def general_rules(model: Model, meta_prompt: MetaPrompt, brief: Brief) -> tuple[list[Rule], Usage]:
    """Fewer rules than there are comments, and what asking for them cost; none where fewer than two are approved.

    Raises `ModelError` where the model has no usable reply.
    """
    reviews = [review for review in brief.reviews if review.state == "approved"]
    if len(reviews) > _MOST_REVIEWS:
        chosen = Random(brief.seed).sample(range(len(reviews)), _MOST_REVIEWS)  # noqa: S311 - no secret
        reviews = [reviews[at] for at in sorted(chosen)]
    if len(reviews) < 2:
        return [], Usage()
    return await answer(model, _request(meta_prompt, brief, reviews))


def _request(meta_prompt: MetaPrompt, brief: Brief, reviews: Sequence[Review]) -> Request[list[Rule]]:
    shown = "\n".join(f"{number}. {review_text(review)}" for number, review in enumerate(reviews, 1))
    material = {"prompt": stated(brief.parent), "reviews": shown}
    most = len(reviews) - 1
    return Request(
        meta_prompt,
        material,
        material,
        _WORDS * most,
        lambda text: read_rules(text, reviews, brief.parent.contract.variables),
        repeat_index(brief.seed, 0),
        most,
    )


def read_rules(reply: str, reviews: Sequence[Review], variables: frozenset[str]) -> list[Rule]:
    """The rules of a reply with the comments that they name. Raises `ModelError("unparseable", …)`."""
    found = _RULE.findall(reply)
    if len(_OPENED.findall(reply)) > len(found):
        raise ModelError("unparseable", 'a <rule> is not closed or has no numbers; write <rule from="1, 2">…</rule>')
    if not found:
        raise ModelError("unparseable", "the reply has no <rule> line; reply with such lines only")
    return [_rule(numbers, as_rule(text, variables), reviews) for numbers, text in found]


def _rule(numbers: str, text: str, reviews: Sequence[Review]) -> Rule:
    said = [int(number) for number in _NUMBER.findall(numbers)]
    if not said or any(number not in range(1, len(reviews) + 1) for number in said):
        raise ModelError("unparseable", f"from={numbers!r} names no comment; the comments are 1 to {len(reviews)}")
    if len(text.split()) < _LEAST_WORDS or normalised(text) == _TEMPLATE_WORDS:
        raise ModelError("unparseable", f"{text[:60]!r} is no rule; write what the assistant must do")
    behind = [reviews[number - 1] for number in dict.fromkeys(said)]
    if not _telling(text) & {word for review in behind for word in _telling(review_text(review))}:
        raise ModelError("unparseable", f"{text[:60]!r} says nothing that the comments {numbers} say")
    sources = dict.fromkeys(name for review in behind for name in (review.url or review.id, *review.sources))
    return Rule(text, tuple(sources))


def _telling(text: str) -> set[str]:
    return {word for word in normalised(text).split() if len(word) >= _TELLING}
