"""Verdicts to failure modes: critiques that say the same become one mode, named, counted and quoted.

Knows nothing about models or proposers. All modes together stay within a token budget; what is cut is marked, and
what is left out is counted, so nobody mistakes a part for the whole.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest

from promptlearn.feedback.critiques import Critique, JudgedRow, clusters, critiques
from promptlearn.records import FailureMode, as_text
from promptlearn.tokens import estimate_tokens

__all__ = ["JudgedRow", "failure_modes"]

_TITLE_LENGTH = 100
_EXPECTED_LENGTH = 200
_SUGGESTION_LENGTH = 300
_QUOTE_LENGTHS = (800, 400, 200, 100)
"""Characters that a quoted field may have; the longest with which every mode can show one row is taken."""
_MARK_LENGTH = 30
"""A cut that saves no more than its mark costs is not made."""
_QUOTED = re.compile(r"`[^`\n]*`|\"[^\"\n]*\"|“[^”\n]*”|(?<!\w)'(?:[^'\n]|(?<=\w)'(?=\w))*'(?!\w)")
_NOTE_TOKENS = 12
"""Kept free in each mode for the note that says what was left out."""


def failure_modes(rows: Sequence[JudgedRow], token_budget: int) -> tuple[FailureMode, ...]:
    """What went wrong in these rows, the mode that costs most rows first, then by first row.

    The estimated tokens of all titles, quotes, suggestions and expectations together are at most `token_budget`. Quotes
    go before suggestions, and both go before modes; the last line of a mode's evidence counts what it lacks.
    """
    found = sorted(clusters(critiques(rows)), key=lambda cluster: (-len(_examples(cluster)), cluster[0].order))
    outlines = [_Outline(cluster) for cluster in found]
    kept, left = _affordable(outlines, token_budget)
    budget = token_budget - sum(outline.cost for outline in kept)
    length = next((n for n in _QUOTE_LENGTHS if _first_round(kept, n) <= budget), _QUOTE_LENGTHS[-1])
    _fill(kept, length, budget)
    modes = [outline.mode() for outline in kept]
    if modes and left:
        note = f"[+{len(left)} more failure modes]"
        modes[-1] = kept[-1].mode(note)
    return tuple(modes)


@dataclass(slots=True)
class _Outline:
    """A mode in the making."""

    cluster: list[Critique]
    quotes: list[str] = field(default_factory=list)
    suggestions: list[str] = field(default_factory=list)

    @property
    def cost(self) -> int:
        """Tokens of the least that can be said of it."""
        return estimate_tokens(_title(self.cluster)) + estimate_tokens(_expected(self.cluster)) + 2 * _NOTE_TOKENS

    def mode(self, *notes: str) -> FailureMode:
        examples = _examples(self.cluster)
        missing = len(examples) - len(self.quotes)
        more = [f"[+{missing} more rows like {'these' if self.quotes else 'this'}]"] if missing else []
        return FailureMode(
            title=_title(self.cluster),
            examples=examples,
            evidence=(*self.quotes, *more, *notes),
            suggestions=tuple(self.suggestions),
            expected=_expected(self.cluster),
            general=len(examples) > 1,
        )


def _affordable(outlines: Sequence[_Outline], budget: int) -> tuple[Sequence[_Outline], Sequence[_Outline]]:
    spent = 0
    for i, outline in enumerate(outlines):
        spent += outline.cost
        if spent > budget:
            return outlines[:i], outlines[i:]
    return outlines, ()


def _first_round(outlines: Sequence[_Outline], length: int) -> int:
    firsts = [[*_suggestions(o.cluster)[:1], _quote(o.cluster[0], length)] for o in outlines]
    return sum(estimate_tokens(text) for texts in firsts for text in texts)


def _fill(outlines: Sequence[_Outline], length: int, budget: int) -> None:
    """Hand out the budget in rounds: each mode's next suggestion and next quote, the most frequent mode first."""
    wanted = [[*zip_longest(_suggestions(o.cluster), _quotes(o.cluster, length))] for o in outlines]
    for round_ in zip_longest(*wanted, fillvalue=(None, None)):
        for outline, (suggestion, quote) in zip(outlines, round_, strict=True):
            for text, shelf in ((suggestion, outline.suggestions), (quote, outline.quotes)):
                if text is not None and (cost := estimate_tokens(text)) <= budget:
                    shelf.append(text)
                    budget -= cost


def _examples(cluster: Sequence[Critique]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(critique.row.example.id for critique in cluster))


def _title(cluster: Sequence[Critique]) -> str:
    """The judge, its label, and the first line of the shortest explanation without what only that row's says."""
    verdict = cluster[0].verdict
    name = verdict.name if verdict.label is None else f"{verdict.name} ({verdict.label})"
    explanations = [c.verdict.explanation.strip() for c in cluster if c.verdict.explanation.strip()]
    if not explanations:
        return _shorten(name, _TITLE_LENGTH)
    said = min(explanations, key=len).splitlines()[0]
    shared = _QUOTED.sub(lambda match: match[0] if all(match[0] in other for other in explanations) else "…", said)
    return _shorten(f"{name}: {' '.join(shared.split())}", _TITLE_LENGTH)


def _expected(cluster: Sequence[Critique]) -> str:
    answers = {"" if c.row.example.expected is None else as_text(c.row.example.expected) for c in cluster}
    return _shorten(answers.pop(), _EXPECTED_LENGTH) if len(answers) == 1 else ""


def _suggestions(cluster: Sequence[Critique]) -> list[str]:
    said = Counter(c.verdict.suggestion.strip() for c in cluster if c.verdict.suggestion)
    return [_shorten(text, _SUGGESTION_LENGTH) for text, _ in said.most_common() if text]


def _quotes(cluster: Sequence[Critique], length: int) -> list[str]:
    first = {critique.row.example.id: critique for critique in reversed(cluster)}
    return [_quote(first[id_], length) for id_ in _examples(cluster)]


def _quote(critique: Critique, length: int) -> str:
    """One row, verbatim but for the marked cuts."""
    example, rollout = critique.row.example, critique.row.rollout
    parts = [(name, as_text(value)) for name, value in example.inputs.items()]
    parts.append(("output", rollout.output))
    if example.expected is not None:
        parts.append(("expected", as_text(example.expected)))
    parts.append(("explanation", critique.verdict.explanation))
    return "\n".join(f"{name}: {_shorten(text, length)}" for name, text in parts)


def _shorten(text: str, length: int) -> str:
    """`length` characters of the text, two thirds of them from its start, around a mark that counts what is missing."""
    if len(text) <= length + _MARK_LENGTH:
        return text
    tail = length // 3
    cut = len(text) - length
    return f"{text[: length - tail]} […{cut} characters left out…] {text[len(text) - tail :]}"
