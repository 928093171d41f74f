"""Blame: which prompt of a program with several the critiques are about.

A turn that hurt blames the prompt that it was said under; so does a line of an explanation or a suggestion that begins
with a prompt's name (`plan: name the city first`), which is how metrics of DSPy programs speak. Only verdicts that do
not pass blame, and none of them a prompt whose turns it says have helped. Knows verdicts and turns; a row that nobody
can blame on one prompt blames none.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Sequence

from promptlearn.feedback.critiques import JudgedRow, critiques
from promptlearn.records import Turn, Verdict


def blamed(row: JudgedRow, names: Sequence[str]) -> frozenset[str]:
    """The prompts that judges blame for this row; gold judges teach nobody."""
    return frozenset().union(*(_blamed(one.verdict, row.rollout.turns, names) for one in critiques([row])))


def _blamed(verdict: Verdict, turns: Sequence[Turn], names: Sequence[str]) -> set[str]:
    effects = defaultdict(set)
    for note in verdict.turn_notes:
        if note.turn <= len(turns):
            effects[turns[note.turn - 1].prompt].add(note.effect)
    said = f"{verdict.explanation}\n{verdict.suggestion or ''}"
    named = {name for name in names if _names(said, name) and effects[name] != {"helped"}}
    return named | {name for name in names if "hurt" in effects[name]}


def _names(said: str, name: str) -> bool:
    """Whether a line begins with the name and a colon, in Markdown too (`- **plan**: …`)."""
    return re.search(rf"^[\s>*_`-]*{re.escape(name)}[*_`]*:", said, re.MULTILINE) is not None


def blame(rows: Sequence[JudgedRow], names: Sequence[str]) -> dict[str, float]:
    """Name → rows that it is blamed for, in the order of `names`; several share a row. Without the blameless."""
    found: Counter[str] = Counter()
    for row in rows:
        guilty = blamed(row, names)
        for name in guilty:
            found[name] += 1 / len(guilty)  # type: ignore[assignment]  # counts need not be whole
    return {name: float(found[name]) for name in names if found[name]}
