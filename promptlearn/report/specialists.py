"""Specialists: which run's prompt does best on which kind of rows, and on which rows only one of them is right.

Kinds are the rows' domains, else their groups, else what the right answers are, whichever tells a few kinds apart.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from promptlearn.records import Json, as_text

Scores: TypeAlias = Mapping[str, float | None]
"""Example id → score of one arm."""

MOST = 20
"""Kinds that are told apart; with more of them nobody sees anything."""
LONGEST = 60
"""Characters of an answer that may name a kind."""
_KINDS: tuple[tuple[str, Callable[[Mapping[str, Json]], Json]], ...] = (
    ("domain", lambda row: row.get("domain")),
    ("group", lambda row: row.get("group")),
    ("right answer", lambda row: row.get("expected")),
)


@dataclass(frozen=True, slots=True)
class KindOfRow:
    """One kind of rows, and how each arm does on it."""

    name: str
    n: int
    """Rows of this kind that all arms have a score for."""
    means: tuple[float, ...]
    """By arm."""

    @property
    def winner(self) -> int | None:
        """The arm that is better than all others here; None where the best are equal."""
        best = max(self.means)
        return self.means.index(best) if self.means.count(best) == 1 else None


@dataclass(frozen=True, slots=True)
class Specialists:
    by: str
    """What tells the kinds apart: `domain`, `group` or `right answer`; empty where nothing does."""
    kinds: tuple[KindOfRow, ...]
    """Those with most rows first."""
    alone: tuple[int, ...]
    """By arm: rows on which it scores higher than all others."""
    n: int
    """Rows that all arms have a score for."""


def specialists(arms: Sequence[Scores], rows: Mapping[str, Mapping[str, Json]]) -> Specialists:
    """`rows`: example id → its record as stored, of the rows that are known."""
    shared = [id_ for id_, score in arms[0].items() if score is not None]
    scored: dict[str, tuple[float, ...]] = {}
    for id_ in shared:
        scores = [score for arm in arms if (score := arm.get(id_)) is not None]
        if len(scores) == len(arms):
            scored[id_] = tuple(scores)
    alone = tuple(sum(_alone(scores, arm) for scores in scored.values()) for arm in range(len(arms)))
    known = {id_: rows[id_] for id_ in scored if id_ in rows}
    by, kinds = _told_apart(known)
    found = [_kind(name, [scored[id_] for id_ in ids]) for name, ids in kinds.items()]
    return Specialists(by, tuple(sorted(found, key=lambda one: (-one.n, one.name))), alone, len(scored))


def _alone(scores: Sequence[float], arm: int) -> bool:
    return all(scores[arm] > score for other, score in enumerate(scores) if other != arm)


def _told_apart(rows: Mapping[str, Mapping[str, Json]]) -> tuple[str, dict[str, list[str]]]:
    for name, of in _KINDS:
        kinds: dict[str, list[str]] = {}
        for id_, row in rows.items():
            value = of(row)
            kinds.setdefault("(none)" if value is None else as_text(value), []).append(id_)
        if 1 < len(kinds) <= MOST and all(len(kind) <= LONGEST for kind in kinds):
            return name, kinds
    return "", {}


def _kind(name: str, scores: Sequence[Sequence[float]]) -> KindOfRow:
    return KindOfRow(name, len(scores), tuple(sum(arm) / len(scores) for arm in zip(*scores, strict=True)))
