"""Verdicts to failure modes: critiques that say the same become one mode, named, counted and quoted.

Knows nothing about models or proposers. All modes of one request stay within a token budget; what is cut is marked, and
what is left out is counted, so nobody mistakes a part for the whole. Where there is more to say than one request holds,
it is dealt out to several (map), so that a larger batch of critiques never gets a shorter hearing.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from math import ceil, fsum, isqrt
from random import Random

from promptlearn.feedback.critiques import Critique, JudgedRow, clusters, critiques
from promptlearn.feedback.prose import sentences
from promptlearn.records import FailureMode, as_text
from promptlearn.tokens import estimate_tokens

__all__ = ["JudgedRow", "Mistakes", "failure_modes", "mistakes"]

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
_LEGIBLE = 200
"""Characters of a quoted field below which a request is too full, and its modes are dealt out to several."""


def failure_modes(rows: Sequence[JudgedRow], token_budget: int) -> tuple[FailureMode, ...]:
    """What went wrong in these rows, the mode that costs most first, then the one with most rows, then by first row.

    The estimated tokens of all titles, quotes, suggestions and expectations together are at most `token_budget`. Quotes
    go before suggestions, and both go before modes; the last line of a mode's evidence counts what it lacks.
    """
    return _told(_outlines(rows), token_budget)


@dataclass(frozen=True, slots=True)
class Mistakes:
    """What went wrong in a batch of rows."""

    groups: tuple[tuple[FailureMode, ...], ...] = ()
    """The failure modes, as many together as one request can hold; each group in the order of what it costs."""
    unseen: float = 1.0
    """Chance that the next critique would say something new: the share of critiques that stand alone (Good 1953)."""

    @property
    def modes(self) -> tuple[FailureMode, ...]:
        """All modes, the one that costs most first."""
        every = (mode for group in self.groups for mode in group)
        return tuple(sorted(every, key=lambda mode: (-mode.cost, -len(mode.examples))))


def mistakes(rows: Sequence[JudgedRow], token_budget: int, seed: str) -> Mistakes:
    """Every failure mode of these rows, in groups of at most `token_budget` estimated tokens.

    One group where all of them fit legibly. Otherwise they are shuffled, so that each group is a sample of all, and
    dealt out to groups of about the square root of their number, smaller where that is needed to fit: neither a request
    nor the number of requests then grows with the batch itself.
    """
    outlines = _outlines(rows)
    if not outlines:
        return Mistakes()
    alone = sum(len(outline.cluster) == 1 for outline in outlines)
    unseen = alone / sum(len(outline.cluster) for outline in outlines)
    if _legible(outlines, token_budget):
        return Mistakes((_told(outlines, token_budget),), unseen)
    size, shuffled = max(1, isqrt(len(outlines))), [*outlines]
    Random(seed).shuffle(shuffled)  # noqa: S311 - no secret
    while size > 1 and not all(_legible(group, token_budget) for group in _dealt(shuffled, size)):
        size -= 1
    order = {id(outline): place for place, outline in enumerate(outlines)}
    groups = [sorted(group, key=lambda outline: order[id(outline)]) for group in _dealt(shuffled, size)]
    return Mistakes(tuple(_told(group, token_budget) for group in groups), unseen)


def _outlines(rows: Sequence[JudgedRow]) -> list[_Outline]:
    """One per failure mode, in the order in which they are told."""
    found = sorted(
        clusters(critiques(rows)), key=lambda cluster: (-_cost(cluster), -len(_examples(cluster)), cluster[0].order)
    )
    return [_Outline(cluster) for cluster in found]


def _dealt(outlines: Sequence[_Outline], size: int) -> list[Sequence[_Outline]]:
    """In groups of at most `size`, as equal as can be."""
    count = ceil(len(outlines) / size)
    return [outlines[start::count] for start in range(count)]


def _legible(outlines: Sequence[_Outline], budget: int) -> bool:
    """Whether a request has room for each of them with a quote that says something."""
    return sum(outline.cost for outline in outlines) + _first_round(outlines, _LEGIBLE) <= budget


def _told(outlines: Sequence[_Outline], token_budget: int) -> tuple[FailureMode, ...]:
    """As many of the modes as the budget allows, with quotes and suggestions."""
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
            points=_points(self.cluster),
            cost=_cost(self.cluster),
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


def _cost(cluster: Sequence[Critique]) -> float:
    return round(fsum(critique.cost for critique in cluster), 9)


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


def _points(cluster: Sequence[Critique]) -> int:
    """Its suggestions; without any the sentences of the shortest explanation, which repeats itself least."""
    explanations = [c.verdict.explanation for c in cluster if c.verdict.explanation.strip()]
    return max(1, len(_suggestions(cluster)) or len(sentences(min(explanations, key=len, default=""))))


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
