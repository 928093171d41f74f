"""Adds, changes or removes single rules; every other byte of the prompt stays. Needs a language model.

Knows the tagged lines of a reply, and reads them tolerantly: small models forget quotes, slashes and case. Where the
mistakes fill several requests, each is asked for on its own, and the edits of all replies make one draft (reduce).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from promptlearn.contract import violations
from promptlearn.errors import ModelError
from promptlearn.models.base import Model
from promptlearn.proposing.base import Brief
from promptlearn.proposing.material import fewer, material, shares, shown_reviews
from promptlearn.proposing.meta import MetaPrompt, Request, answer, gather, repeat_index, together
from promptlearn.proposing.origin import origin
from promptlearn.proposing.wording import as_rule, normalised, says
from promptlearn.records import Draft, FailureMode, Prompt, Review, Rule, Usage
from promptlearn.words import count_words

_RULES = 3
"""That one reply may write at most, where it is about fewer mistakes."""
_MOST_RULES = 20
"""That one reply may write about fewer mistakes of which more than one thing is said each."""
_WORDS = 40
"""Of one rule."""
_LEAST_WORDS = 3
_NUMBER = r"(?:(?:id|rule|number|n)\s*=\s*)?[\"']?#?(\d+)[\"']?"
_ADD = re.compile(r"<add\s*>(.*?)</add\s*>", re.DOTALL | re.IGNORECASE)
_CHANGE = re.compile(rf"<change\s+{_NUMBER}\s*>(.*?)</change\s*>", re.DOTALL | re.IGNORECASE)
_REMOVE = re.compile(rf"<remove\s+{_NUMBER}\s*/?>|<remove\s*>\s*#?(\d+)\s*</remove\s*>", re.IGNORECASE)
_SPAN = re.compile(r"“(.+?)”", re.DOTALL)
"""What a violation quotes."""
_OPENED = re.compile(r"<(add|change)\b", re.IGNORECASE)
_TEMPLATE_WORDS = frozenset(map(normalised, ["the text of a new rule", "the new text of rule 1", "a new rule"]))


@dataclass(frozen=True, slots=True)
class Edit:
    """One line of a reply."""

    action: Literal["add", "change", "remove"]
    text: str = ""
    number: int = 0
    """Of the rule that is meant, from 1; 0 for a new one."""
    sources: tuple[str, ...] = ()
    """What it came from; see `Rule.sources`."""


class EditProposer:
    """Drafts in which single rules differ from the parent's."""

    name = "edit"

    def __init__(self, model: Model, meta_prompt: MetaPrompt | None = None) -> None:
        self._model = model
        self._meta_prompt = meta_prompt or MetaPrompt.load("edit")

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        if not brief.modes and not brief.reviews and not brief.wish:
            return []
        return await gather([self._draft(brief, groups, i) for i, groups in enumerate(shares(brief, count))])

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        if len(brief.groups) > 1:
            return _without_offenders(draft, brief.parent, violations)
        new = [rule for rule in draft.prompt.rules if rule not in brief.parent.rules]
        written = "\n".join(f"- {rule.text}" for rule in new)
        brief = replace(brief, reviews=_behind(new, brief) or brief.reviews)
        request = self._request(brief, brief.modes, 0).after(written or "(rules removed)", violations)
        made, spent = await answer(self._model, request)
        return _made(made, brief.parent, spent)

    async def _draft(self, brief: Brief, groups: Sequence[Sequence[FailureMode]], draft: int) -> Draft | None:
        """One request per group of mistakes; the edits of all of them, as one draft."""
        replies = await together(
            [answer(self._model, self._request(brief, modes, draft, draft + at)) for at, modes in enumerate(groups)]
        )
        spent = sum((usage for _, usage in replies), Usage())
        return _made(_joined([made for made, _ in replies]), brief.parent, spent)

    def _request(self, brief: Brief, modes: Sequence[FailureMode], draft: int, turn: int = 0) -> Request[list[Edit]]:
        points = sum(mode.points for mode in modes)
        most = max(_RULES, len(modes), min(points, _MOST_RULES))
        return Request(
            self._meta_prompt,
            material(brief, modes, turn),
            material(brief, fewer(modes), turn),
            _WORDS * most,
            lambda text: _read(text, brief, modes, shown_reviews(brief, turn), most),
            repeat_index(brief.seed, draft),
            most,
        )


def _behind(rules: Sequence[Rule], brief: Brief) -> tuple[Review, ...]:
    """The approved reviews that these rules name as their sources: another request may have shown others."""
    named = {source for rule in rules for source in rule.sources}
    return tuple(one for one in brief.reviews if one.state == "approved" and (one.url or one.id) in named)


def _without_offenders(draft: Draft, parent: Prompt, broken: Sequence[str]) -> Draft | None:
    """A draft of many replies without the new rules that break the contract: no reply could mend all of them."""
    spans = [span for violation in broken for span in _SPAN.findall(violation)]

    def fits(rule: Rule) -> bool:
        alone = replace(parent, rules=(*parent.rules, rule))
        return not violations(alone, parent) and not any(span in rule.text for span in spans)

    rules = tuple(rule for rule in draft.prompt.rules if rule in parent.rules or fits(rule))
    prompt = replace(draft.prompt, rules=rules)
    return None if prompt.digest == parent.digest else replace(draft, prompt=prompt, usage=Usage())


def _read(reply: str, brief: Brief, modes: Sequence[FailureMode], reviews: Sequence[Review], most: int) -> list[Edit]:
    found = edits(reply, most)
    numbers = range(1, len(brief.parent.rules) + 1)
    if unknown := [edit.number for edit in found if edit.action != "add" and edit.number not in numbers]:
        raise ModelError("unparseable", f"there is no rule {unknown[0]}; the rules are numbered 1 to {len(numbers)}")
    return [replace(edit, sources=origin(edit.text, modes, reviews)) for edit in found]


def _joined(replies: Sequence[Sequence[Edit]]) -> list[Edit]:
    """The edits of several replies, each about a part of the mistakes: a rule that any of them adds or changes; but it
    takes most of them to remove one, because each knows the worth of a rule from its own part only.
    """
    removed = Counter(number for made in replies for number in {e.number for e in made if e.action == "remove"})
    every = [edit for made in replies for edit in made]
    changed = {edit.number: edit for edit in reversed(every) if edit.action == "change"}
    gone = [
        Edit("remove", number=number)
        for number, count in sorted(removed.items())
        if number not in changed and 2 * count > len(replies)
    ]
    return [*(changed[number] for number in sorted(changed)), *gone, *(edit for edit in every if edit.action == "add")]


def _made(made: Sequence[Edit], parent: Prompt, spent: Usage) -> Draft | None:
    prompt = replace(parent, rules=tuple(apply(made, parent)))
    return None if prompt.digest == parent.digest else Draft(prompt, "; ".join(map(_told, made)), spent)


def edits(reply: str, most: int = _RULES) -> list[Edit]:
    """The edits in a reply, at most twice as many as were asked for, additions last.

    Raises `ModelError("unparseable", …)` where there are none.
    """
    changed = [Edit("change", text.strip(), int(number)) for number, text in _CHANGE.findall(reply)]
    removed = [Edit("remove", number=int(a or b)) for a, b in _REMOVE.findall(reply)]
    added = [Edit("add", text.strip()) for text in _ADD.findall(reply)]
    if len(_OPENED.findall(reply)) > len(added) + len(changed):
        raise ModelError(
            "unparseable", "a tag is not closed; every <add> needs its </add>, every <change> its </change>"
        )
    found = [*changed, *removed, *added]
    if not found:
        raise ModelError("unparseable", "the reply has no <add>, <change> or <remove> line; reply with such lines only")
    for edit in found:
        if edit.action != "remove" and (
            count_words(edit.text) < _LEAST_WORDS or normalised(edit.text) in _TEMPLATE_WORDS
        ):
            raise ModelError("unparseable", f"{edit.text[:60]!r} is no rule; write what the assistant must do")
    return found[: 2 * most]


def apply(made: Sequence[Edit], parent: Prompt) -> Iterator[Rule]:
    """The parent's rules after these edits; rules that nobody touched are the same objects."""
    touched = {edit.number: edit for edit in made if edit.number}
    names = parent.contract.variables
    for number, rule in enumerate(parent.rules, 1):
        edit = touched.get(number)
        if edit is None:
            yield rule
        elif edit.action == "change" and normalised(edit.text) != normalised(rule.text):
            yield Rule(as_rule(edit.text, names), tuple(dict.fromkeys(rule.sources + edit.sources)))
        elif edit.action == "change":
            yield rule
    said = parent.learned_text()
    for edit in made:
        text = as_rule(edit.text, names) if edit.action == "add" else ""
        if text and not says(said, text):
            said += f"\n{text}"
            yield Rule(text, edit.sources)


def _told(edit: Edit) -> str:
    if edit.action == "remove":
        return f"removes rule {edit.number}"
    return f"adds: {edit.text}" if edit.action == "add" else f"changes rule {edit.number} to: {edit.text}"
