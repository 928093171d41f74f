"""Prompts with one rule or demonstration fewer. Needs no language model.

Knows what can be left out; what it is worth is measured by whoever runs both prompts on the same rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.proposing.base import Brief
from promptlearn.records import Demonstration, Draft, Prompt, Rule, as_text


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
    """Drafts that lack one part each: those measured to be worth least first, then the longest."""

    name = "prune"

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        found = sorted(drops(brief.parent), key=lambda drop: (_worth(drop.what), -_length(drop.what)))
        distinct = {drop.prompt.digest: Draft(drop.prompt, _why(drop.what)) for drop in reversed(found)}
        return list(reversed(distinct.values()))[:count]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        """None: what is gone can not be mended."""
        return None


def _worth(what: Rule | Demonstration) -> float:
    return what.effect.score if isinstance(what, Rule) and what.effect else 0.0


def _length(what: Rule | Demonstration) -> int:
    if isinstance(what, Rule):
        return len(what.text)
    return len(what.output) + sum(len(as_text(value)) for value in what.inputs.values())


def _why(what: Rule | Demonstration) -> str:
    shown = f"rule: {what.text}" if isinstance(what, Rule) else f"demonstration of {what.output}"
    return f"without the {shown}"
