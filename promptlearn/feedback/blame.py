"""Blame: which prompt of a program with several the critiques are about.

A turn that hurt blames the prompt that it was said under; so does a line of an explanation or a suggestion that begins
with a prompt's name (`plan: name the city first`), which is how metrics of DSPy programs speak. Knows verdicts and
turns; a row that nobody can blame on one prompt blames none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptlearn.feedback.critiques import JudgedRow


def blamed(row: JudgedRow, names: Sequence[str]) -> frozenset[str]:
    """The prompts that judges blame for this row; gold judges teach nobody."""
    verdicts = [verdict for verdict in row.verdicts if not verdict.gold]
    turns = row.rollout.turns
    hurt = {
        turns[note.turn - 1].prompt
        for verdict in verdicts
        for note in verdict.turn_notes
        if note.effect == "hurt" and note.turn <= len(turns)
    }
    lines = [line for one in verdicts for line in f"{one.explanation}\n{one.suggestion or ''}".splitlines()]
    named = {name for name in names if any(line.startswith(f"{name}:") for line in lines)}
    return frozenset((hurt | named) & set(names))


def blame(rows: Sequence[JudgedRow], names: Sequence[str]) -> dict[str, float]:
    """Name → rows that it is blamed for, in the order of `names`; several share a row. Without the blameless."""
    found: Counter[str] = Counter()
    for row in rows:
        guilty = blamed(row, names)
        for name in guilty:
            found[name] += 1 / len(guilty)  # type: ignore[assignment]  # counts need not be whole
    return {name: float(found[name]) for name in names if found[name]}
