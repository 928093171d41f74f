"""Turns judges' suggestions and approved reviews into rules. Needs no language model; with one, every other time few
general rules stand for all the comments.

Knows failure modes and reviews; whether a rule is worth its tokens is measured elsewhere. Every rule names what it
came from (invariant 11), and only approved text becomes one (invariant 9).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from promptlearn.contract import violations
from promptlearn.errors import ModelError, SystemicError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.general import general_rules
from promptlearn.proposing.meta import MetaPrompt
from promptlearn.proposing.wording import as_rule, normalised, says
from promptlearn.records import Draft, FailureMode, Prompt, Review, Rule
from promptlearn.train_text import TrainText

_MOST = 8
"""Suggestions that one draft may add; the rarer ones wait for another turn."""
_TRIES = 20


class RulesProposer:
    """Drafts that add rules: all new ones, reviews only, suggestions only, then single ones and chance selections."""

    name = "rules"

    def __init__(self, model: Model | None = None, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("rules-from-reviews")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        known = _Known(brief)
        reviews = known.new(review_rules(brief.reviews, brief.parent))
        suggestions = known.new(suggestion_rules(brief.modes, brief.parent))[:_MOST]
        drafts = await self._general(brief, known, suggestions)
        for rules, why in _selections(reviews, suggestions, random.Random(brief.seed)):  # noqa: S311 - no secret
            if len(drafts) >= count:
                break
            prompt = _with_rules(brief.parent, rules)
            if prompt.digest != brief.parent.digest:
                drafts.setdefault(prompt.digest, Draft(prompt, why))
        return list(drafts.values())[:count]

    async def _general(self, brief: Brief, known: _Known, suggestions: Sequence[Rule]) -> dict[str, Draft]:
        """With a model, and for every other brief: the comments as few rules, beside the suggestions."""
        if self._model is None or not brief.seed % 2:
            return {}
        try:
            found, spent = await general_rules(self._model, self._meta_prompt, brief)
        except SystemicError:
            raise
        except ModelError:  # the comments' own wording is there
            return {}
        rules = known.new(found)
        prompt = _with_rules(brief.parent, _joined(rules, suggestions))
        why = f"{len(rules)} general rules out of {len(brief.reviews)} comments, and the judges' suggestions"
        return {prompt.digest: Draft(prompt, why, spent)} if rules else {}

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        """None: what a rule breaks was already left out."""
        return None


def review_rules(reviews: Sequence[Review], parent: Prompt) -> list[Rule]:
    """One rule per approved review: its suggestion, or else its body."""
    approved = [review for review in reviews if review.state == "approved"]
    return [
        Rule(
            as_rule(review.suggestion or review.body, parent.contract.variables),
            (review.url or review.id, *review.sources),
        )
        for review in approved
    ]


def suggestion_rules(modes: Sequence[FailureMode], parent: Prompt) -> list[Rule]:
    """One rule per suggestion of the modes; what a single example stands behind comes last."""
    ordered = sorted(modes, key=lambda mode: (not mode.general, -mode.cost, -len(mode.examples)))
    return [
        Rule(as_rule(text, parent.contract.variables), mode.examples) for mode in ordered for text in mode.suggestions
    ]


class _Known:
    """What a new rule must not repeat, and what it must not break."""

    def __init__(self, brief: Brief) -> None:
        self.parent = brief.parent
        self.said = brief.parent.learned_text()
        self.train_text = brief.train_text or TrainText(brief.train)

    def new(self, rules: Iterable[Rule]) -> list[Rule]:
        """The rules that the prompt does not have yet, each once, with the sources of all that say the same."""
        found: dict[str, Rule] = {}
        for rule in rules:
            key = normalised(rule.text)
            if key in found:
                merged = tuple(dict.fromkeys(found[key].sources + rule.sources))
                found[key] = replace(found[key], sources=merged)
            elif key and self._fits(rule):
                found[key] = rule
        return list(found.values())

    def _fits(self, rule: Rule) -> bool:
        if says(self.said, rule.text) or self.train_text.copied(rule.text, self.said):
            return False
        return not violations(replace(self.parent, rules=(*self.parent.rules, rule)), self.parent)


def _selections(
    reviews: list[Rule], suggestions: list[Rule], rng: random.Random
) -> Iterator[tuple[Sequence[Rule], str]]:
    yield _joined(reviews, suggestions), "every new rule from reviews and judges' suggestions"
    yield reviews, "the reviewers' rules"
    yield suggestions, "the judges' suggestions"
    for rule in _joined(suggestions, reviews):
        yield [rule], f"a single rule, from {', '.join(rule.sources[:3])}"
    everything = _joined(reviews, suggestions)
    for _ in range(_TRIES if len(everything) > 2 else 0):
        size = rng.randint(2, len(everything) - 1)
        chosen = sorted(rng.sample(range(len(everything)), size))
        yield [everything[i] for i in chosen], "a chance selection of the new rules"


def _joined(first: Sequence[Rule], second: Sequence[Rule]) -> list[Rule]:
    """Both lists, one rule per wording."""
    texts = {normalised(rule.text) for rule in first}
    return [*first, *(rule for rule in second if normalised(rule.text) not in texts)]


def _with_rules(parent: Prompt, rules: Sequence[Rule]) -> Prompt:
    """The parent with as many of the rules as its contract has room for, in their order."""
    prompt = parent
    for rule in rules:
        longer = replace(prompt, rules=(*prompt.rules, rule))
        if not violations(longer, parent):
            prompt = longer
    return prompt
