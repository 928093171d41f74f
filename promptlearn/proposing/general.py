"""Makes few general rules out of several approved reviews, each traced to its comments. Needs a language model.

Knows reviews and the tagged lines of a reply; whether a rule is worth its tokens is measured elsewhere. Only approved
comments are shown (invariant 9), and a rule names those that it came from (invariant 11).
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import review_text, stated
from promptlearn.proposing.meta import MetaPrompt, Request, answer, repeat_index
from promptlearn.proposing.numbered import Statement, read_numbered
from promptlearn.records import Review, Rule, Usage

_MOST_REVIEWS = 20
"""In one request; a model of 1.5 billion parameters loses count beyond."""
_WORDS = 40
"""Of one rule."""


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
    shown = [Statement(review_text(review), (review.url or review.id, *review.sources)) for review in reviews]
    return [made.rule for made in read_numbered(reply, shown, variables, "comment")]
