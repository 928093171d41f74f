"""Prompts with fewer parts: with one rule or demonstration less, or with one rule in the place of several.

Leaving out needs no language model; which rules say the same, a model is asked where there is one. What a part is worth
is measured by whoever runs both prompts on the same rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from promptlearn.contract import violations
from promptlearn.errors import ModelError, SystemicError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import material
from promptlearn.proposing.meta import MetaPrompt, Request, ask, repeat_index
from promptlearn.proposing.numbered import Made, Statement, read_numbered
from promptlearn.records import Demonstration, Draft, Prompt, Rule, as_text
from promptlearn.words import count_words

_TRIES = 8
"""Draws per draft: some break the contract, some come twice."""
_PIECE = re.compile(r"(?<=[.!?] )|(?<=\n)(?!\n)")
"""Where one sentence or line ends and the next begins."""
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


def shortened(parent: Prompt, seed: int, tries: int) -> list[Draft]:
    """Distinct drafts without a run of neighbouring sentences, lines, rules or demonstrations, at most `tries`.

    How long a run is, from a quarter of all down to a single one, and where it begins is drawn: large runs get rid
    of much at once, small ones of what stands between what is needed (delta debugging, Zeller and Hildebrandt 2002).
    None that breaks the contract, or leaves no text.
    """
    rng = Random(seed)  # noqa: S311 - no secret
    pieces = [piece for piece in _PIECE.split(parent.text) if piece]
    parts: list[str | Rule | Demonstration] = [*pieces, *parent.rules, *parent.demonstrations]
    if len(parts) < 2:
        return []
    longest = len(parts).bit_length() - 1
    found: dict[str, Draft] = {}
    for _ in range(tries):
        length = max(1, len(parts) >> rng.randint(min(2, longest), longest))
        start = rng.randrange(len(parts) - length + 1)
        left = [*parts[:start], *parts[start + length :]]
        text = "".join(part for part in left if isinstance(part, str))
        prompt = replace(
            parent.with_text(text) if text != parent.text else parent,
            rules=tuple(part for part in left if isinstance(part, Rule)),
            demonstrations=tuple(part for part in left if isinstance(part, Demonstration)),
        )
        if text.strip() and not violations(prompt, parent):
            why = f"without {length} of {len(parts)} parts, from part {start + 1} on"
            found.setdefault(prompt.digest, Draft(prompt, why))
    return list(found.values())


class PruneProposer:
    """Drafts that say the same in fewer rules, where a model finds some, and drafts that lack one part each: those
    measured to be worth least first, then the longest. Where a shorter prompt is what counts, drafts too that lack a
    part of the text (see `shortened`).
    """

    name = "prune"

    def __init__(self, model: Model | None = None, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("prune")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        drafts = {draft.prompt.digest: draft for draft in await self._fused(brief)}
        if brief.wish:
            found = shortened(brief.parent, brief.seed, _TRIES * count)
            drafts |= {draft.prompt.digest: draft for draft in found[: count - len(drafts)]}
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
        words = sum(count_words(rule.text) for rule in brief.parent.rules)
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
