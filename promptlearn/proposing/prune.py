"""Prompts with fewer parts: with one rule or demonstration less, or with one rule in the place of several.

Leaving out needs no language model; which rules say the same, a model is asked where there is one. What a part is worth
is measured by whoever runs both prompts on the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.errors import ModelError, SystemicError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import material
from promptlearn.proposing.meta import MetaPrompt, Request, ask, repeat_index
from promptlearn.proposing.numbered import Made, Statement, read_numbered
from promptlearn.records import Demonstration, Draft, Prompt, Rule, as_text

_NONE = re.compile(r"\A\s*<none\s*/?>", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Drop:
    """A prompt, and the one part that it lacks."""

    what: Rule | Demonstration
    prompt: Prompt


def drops(prompt: Prompt) -> list[Drop]:
    """One drop per rule, then one per demonstration, in the prompt's order."""
    rules, demos = prompt.rules, prompt.demonstrations
    return [
        *(Drop(rule, replace(prompt, rules=rules[:i] + rules[i + 1 :])) for i, rule in enumerate(rules)),
        *(Drop(demo, replace(prompt, demonstrations=demos[:i] + demos[i + 1 :])) for i, demo in enumerate(demos)),
    ]


class PruneProposer:
    """Drafts that say the same in fewer rules, where a model finds some, and drafts that lack one part each: those
    measured to be worth least first, then the longest.
    """

    name = "prune"

    def __init__(self, model: Model | None = None, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("prune")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        drafts = {draft.prompt.digest: draft for draft in await self._fused(brief)}
        for drop in sorted(drops(brief.parent), key=lambda drop: (_worth(drop.what), -_length(drop.what))):
            drafts.setdefault(drop.prompt.digest, Draft(drop.prompt, _why(drop.what)))
        return list(drafts.values())[:count]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        """None: what is gone can not be mended."""
        return None

    async def _fused(self, brief: Brief) -> list[Draft]:
        """At most one: every group of rules that the model finds to be one thing, in one rule each."""
        if self._model is None or len(brief.parent.rules) < 2:
            return []
        try:
            draft = await ask(self._model, self._request(brief))
        except SystemicError:
            raise
        except ModelError:  # leaving out needs no model
            return []
        return [] if draft is None else [draft]

    def _request(self, brief: Brief) -> Request[Draft | None]:
        shown = material(brief, ())
        words = sum(len(rule.text.split()) for rule in brief.parent.rules)
        return Request(
            self._meta_prompt, shown, shown, words, lambda text: fused(text, brief.parent), repeat_index(brief.seed, 0)
        )


def fused(reply: str, parent: Prompt) -> Draft | None:
    """The parent with the rules of a reply in the place of those that they name; None where there are none to join.

    A new rule has the sources of all that it stands for (invariant 11), and stands where the first of them stood.
    Raises `ModelError("unparseable", …)`.
    """
    if _NONE.match(reply):
        return None
    shown = [Statement(rule.text, rule.sources) for rule in parent.rules]
    found = read_numbered(reply, shown, parent.contract.variables, "rule")
    named = [at for made in found for at in made.of]
    if len(set(named)) < len(named):
        raise ModelError("unparseable", "a rule is named twice; each rule goes into one new rule at most")
    for made in found:
        _check(made, [parent.rules[at] for at in made.of])
    new = {min(made.of): made for made in found}
    rules = [
        replace(rule, text=new[at].rule.text, sources=new[at].rule.sources, effect=None) if at in new else rule
        for at, rule in enumerate(parent.rules)
        if at in new or at not in named
    ]
    return Draft(replace(parent, rules=tuple(rules)), f"joins {len(named)} rules into {len(found)}")


def _check(made: Made, old: Sequence[Rule]) -> None:
    """A new rule replaces several rules of one prompt, and is shorter than they are together."""
    new = repr(made.rule.text[:60])
    if len(old) < 2:
        raise ModelError("unparseable", f"{new} names one rule; name the two or more that it replaces")
    if len({rule.part for rule in old}) > 1:
        raise ModelError("unparseable", f"{new} joins rules of different prompts; leave these alone")
    if len(made.rule.text) >= sum(len(rule.text) for rule in old):
        raise ModelError("unparseable", f"{new} is no shorter than the rules that it replaces")


def _worth(what: Rule | Demonstration) -> float:
    return what.effect.score if isinstance(what, Rule) and what.effect else 0.0


def _length(what: Rule | Demonstration) -> int:
    if isinstance(what, Rule):
        return len(what.text)
    return len(what.output) + sum(len(as_text(value)) for value in what.inputs.values())


def _why(what: Rule | Demonstration) -> str:
    shown = f"rule: {what.text}" if isinstance(what, Rule) else f"demonstration of {what.output}"
    return f"without the {shown}"
