"""Focus: one prompt of a program with several, shown to proposers as if it were the only one.

A candidate holds all prompts; a proposal changes one of them. Which one is drawn by blame, so that a prompt behind most
failures gets most rounds and none is forgotten; where nobody is blamed they take turns. Proposers know nothing of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from promptlearn.contract import learned_tokens
from promptlearn.feedback import JudgedRow
from promptlearn.feedback.blame import blame, blamed
from promptlearn.proposing.base import Brief
from promptlearn.proposing.wording import as_rule, says
from promptlearn.records import Draft, Prompt, Rule
from promptlearn.sections import heading, join_sections, own_section, split_sections


@dataclass(frozen=True, slots=True)
class Focus:
    """The prompt `part` of `whole`."""

    whole: Prompt
    part: str
    blame: Mapping[str, float] = field(default_factory=dict)
    """Name → rows that it is blamed for."""
    innocent: frozenset[str] = frozenset()
    """Examples that failed for other prompts' sake alone."""

    @property
    def prompt(self) -> Prompt:
        """That prompt alone, with its rules and what of the contract concerns it."""
        return self._alone(self.whole)

    def brief(self, brief: Brief) -> Brief:
        """What a proposer may know, about that prompt: no mode that others are blamed for, no review that any prompt
        obeys already.
        """
        said, names = self.whole.learned_text(), self.whole.contract.variables
        modes = tuple(mode for mode in brief.modes if not self.innocent.issuperset(mode.examples))
        groups = tuple(tuple(mode for mode in group if mode in modes) for group in brief.groups)
        reviews = tuple(one for one in brief.reviews if not says(said, as_rule(one.suggestion or one.body, names)))
        return replace(
            brief, parent=self.prompt, modes=modes, groups=tuple(group for group in groups if group), reviews=reviews
        )

    def widened(self, draft: Draft) -> Draft:
        """The whole with a draft of that prompt in it; of a draft that writes down all of them, its part."""
        texts = {**self._texts(self.whole), self.part: own_section(draft.prompt.text, self.part)}
        others = tuple(rule for rule in self.whole.rules if not self._owns(rule))
        own = tuple(replace(rule, part=self._tag) for rule in draft.prompt.rules)
        prompt = replace(self.whole.with_text(join_sections(texts)), rules=(*others, *own))
        return replace(draft, prompt=prompt, rationale=f"{self.part}: {draft.rationale}".removesuffix(": "))

    def narrowed(self, draft: Draft) -> Draft:
        """A widened draft, as its proposer knows it."""
        return replace(
            draft, prompt=self._alone(draft.prompt), rationale=draft.rationale.removeprefix(f"{self.part}: ")
        )

    @property
    def _tag(self) -> str:
        """What its rules say: the last prompt's stand at the end, as a single one's do."""
        return "" if self.part == self.whole.parts[-1] else self.part

    def _owns(self, rule: Rule) -> bool:
        return rule.part in (self.part, self._tag)

    def _alone(self, whole: Prompt) -> Prompt:
        text = self._texts(whole)[self.part]
        rules = tuple(rule for rule in whole.rules if self._owns(rule))
        headings = {heading(name) for name in self.whole.parts}
        stated = "\n".join([text, *(rule.text for rule in rules)])
        locked = tuple(span for span in whole.contract.locked if span not in headings and span in stated)
        alone = replace(whole.with_text(text), rules=rules)
        most = whole.contract.max_tokens
        if most is not None:
            most = max(1, most - (learned_tokens(whole) - learned_tokens(alone)))
        return replace(alone, contract=replace(whole.contract, locked=locked, max_tokens=most))

    def _texts(self, whole: Prompt) -> dict[str, str]:
        return split_sections(whole.text, self.whole.parts)


def focus_on(parent: Prompt, failed: Sequence[JudgedRow], turn: int, seed: str) -> Focus | None:
    """The prompt to change next; None for a parent that is a single prompt. `failed` rows are what blames; without
    blame the prompts take turns.
    """
    names = parent.parts
    if len(names) < 2:
        return None
    found = blame(failed, names)
    if not found:
        return Focus(parent, names[turn % len(names)])
    part = Random(seed).choices([*found], [*found.values()])[0]  # noqa: S311 - no secret
    guilty = {row.example.id: blamed(row, names) for row in failed}
    innocent = frozenset(id for id, those in guilty.items() if those and part not in those)
    return Focus(parent, part, found, innocent)
