"""Finds the rules again that survive in a text which a model wrote anew, so that they keep their sources.

Knows lines of a text and rules; asks no model. A line that says the same as an old rule becomes that rule again, in its
new wording and with its old sources (invariant 11), and can be measured and edited on its own like every other rule.
What is woven into a sentence stays in the text, without sources.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from promptlearn.contract import violations
from promptlearn.meaning import likeness, meaning, says_same
from promptlearn.proposing.wording import normalised
from promptlearn.records import Prompt, Rule
from promptlearn.words import count_words

_ALIKE = 0.8
"""Cosine of two subjects from which a line may be an old rule."""
_MARKER = re.compile(r"\A\s*(?:[-*+•]|(?P<number>\d{1,3}[.)]))\s+")


def traced(prompt: Prompt, old: Sequence[Rule], parent: Prompt) -> Prompt:
    """The prompt with the lines of its text that are `old` rules as rules of its own; as it is where that would break
    the parent's contract, or leave no text, and for a program with several prompts, whose lines each belong to one.
    """
    if prompt.parts:
        return prompt
    lines = prompt.text.splitlines()
    found = _found(lines, old)
    if not found or _numbered(lines) - found.keys():  # a list with gaps in its numbers reads badly
        return prompt
    text = "\n".join(_without(lines, set(found))).strip()
    rules = (*prompt.rules, *dict.fromkeys(found[at] for at in sorted(found)))
    shorter = replace(prompt.with_text(text), rules=rules)
    return shorter if text and not violations(shorter, parent) else prompt


def _found(lines: Sequence[str], old: Sequence[Rule]) -> dict[int, Rule]:
    """Number of a line → the rule that it is."""
    said = {at: _MARKER.sub("", line).strip() for at, line in enumerate(lines)}
    exact = {normalised(rule.text): rule for rule in old}
    found = {at: replace(exact[key], effect=None) for at, text in said.items() if (key := normalised(text)) in exact}
    left = [at for at, text in said.items() if at not in found and count_words(text) > 1 and not text.endswith(":")]
    missing = [rule for rule in old if rule.text not in {one.text for one in found.values()}]
    meanings = [meaning(text) for text in (*(rule.text for rule in missing), *(said[at] for at in left))]
    if not missing or not left:
        return found
    near = likeness([one.subject for one in meanings], _ALIKE)
    for place, at in enumerate(left, len(missing)):
        same = [one for one in near[place] if one < len(missing) and says_same(meanings[one], meanings[place])]
        if same:
            found[at] = Rule(said[at], missing[max(same, key=near[place].__getitem__)].sources)
    return found


def _numbered(lines: Sequence[str]) -> set[int]:
    return {at for at, line in enumerate(lines) if (match := _MARKER.match(line)) and match["number"]}


def _without(lines: Sequence[str], gone: set[int]) -> list[str]:
    """The lines that stay; a heading goes where nothing is left under it."""
    kept: list[str] = []
    for at, line in enumerate(lines):
        block = next((end for end in range(at + 1, len(lines)) if not lines[end].strip()), len(lines))
        under = set(range(at + 1, block))
        bare = line.rstrip().endswith(":") and under and under <= gone
        if at not in gone and not bare:
            kept.append(line)
    return kept
