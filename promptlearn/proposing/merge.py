"""Joins the parent with another prompt of the pool that is right where the parent is wrong (GEPA's merge, Agrawal et
al. 2025, arXiv 2507.19457).

Needs no language model where only one of both wrote the text anew: their rules and demonstrations are joined by code
(`join`). Where both did, a model writes one text out of two; without a model the parent's stays. Knows prompts and the
rows that each is better on; which of them come into question is the optimizer's business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptlearn.errors import ModelError
from promptlearn.models.base import Model
from promptlearn.models.structured import parse_tagged
from promptlearn.proposing.base import Brief, Partner
from promptlearn.proposing.join import Joined, join
from promptlearn.proposing.material import material, room, stated
from promptlearn.proposing.meta import MetaPrompt, Request, ask, gather, repeat_index
from promptlearn.proposing.rewrite import trouble, unwrapped
from promptlearn.proposing.tracing import traced
from promptlearn.records import Draft, Prompt


class MergeProposer:
    """Drafts that are the parent and one partner in one prompt."""

    name = "merge"

    def __init__(self, model: Model | None = None, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("merge")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        chosen = brief.partners[:count]
        return await gather([self._draft(brief, partner, i) for i, partner in enumerate(chosen)])

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        """Of a text that a model wrote; None for the others: what breaks the contract was already left out."""
        partner = next((one for one in brief.partners if draft.parents == (one.prompt.digest,)), None)
        if partner is None or self._model is None:
            return None
        joined = join(brief.parent, partner.prompt, partner.base)
        if not joined.rewritten:
            return None
        request = self._request(brief, partner, joined, 0).after(draft.prompt.text, violations)
        return await ask(self._model, request)

    async def _draft(self, brief: Brief, partner: Partner, number: int) -> Draft | None:
        joined = join(brief.parent, partner.prompt, partner.base)
        if joined.rewritten and self._model is not None:
            return await ask(self._model, self._request(brief, partner, joined, number))
        if joined.prompt.digest in (brief.parent.digest, partner.prompt.digest):
            return None
        left_out = f"; left out: {'; '.join(joined.conflicts)}" if joined.conflicts else ""
        return Draft(joined.prompt, _why(partner) + left_out, parents=(partner.prompt.digest,))

    def _request(self, brief: Brief, partner: Partner, joined: Joined, number: int) -> Request[Draft | None]:
        shown = {**material(brief, ()), "prompt": stated(brief.parent), "other": stated(partner.prompt)}
        return Request(
            self._meta_prompt,
            shown,
            shown,
            max(room(brief.parent), room(partner.prompt)),
            lambda text: self._read(text, brief.parent, partner, joined.prompt),
            repeat_index(brief.seed, number),
        )

    def _read(self, reply: str, parent: Prompt, partner: Partner, joined: Prompt) -> Draft | None:
        text = unwrapped(parse_tagged(reply, ("prompt",))["prompt"])
        if problem := trouble(text, parent, self._meta_prompt):
            raise ModelError("unparseable", problem)
        prompt = traced(replace(joined.with_text(text), rules=()), (*parent.rules, *partner.prompt.rules), parent)
        if prompt.digest in (parent.digest, partner.prompt.digest):
            return None
        return Draft(prompt, f"{_why(partner)}; both texts written as one", parents=(partner.prompt.digest,))


def _why(partner: Partner) -> str:
    return f"joined with a prompt that is better on {partner.better} of {partner.rows} rows, worse on {partner.worse}"
