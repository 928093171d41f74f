"""Which rules say the same, which contradict each other, and how many people stand behind one.

Deterministic: each statement, the oldest first, joins the group whose first statement it says the same as, the most
alike where there are several. Contradictions are flagged and never merged. Knows rules and who said them; no comments,
store or model. What a model said about a pair (`known`) comes before the measure of `meaning`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias, get_args

from promptlearn.meaning import likeness, meaning, relate

Relation = Literal["same", "opposite", "different"]
RELATIONS: tuple[Relation, ...] = get_args(Relation)
Pair: TypeAlias = frozenset[str]
"""The ids of two statements."""

ALIKE = 0.5
"""Cosine from which two wordings have the same subject."""
DOUBTFUL = 0.25
"""Cosine from which it is worth asking a language model."""


@dataclass(frozen=True, slots=True)
class Statement:
    """One rule that somebody stated."""

    id: str
    text: str
    author: str = ""
    """Whatever stays the same when a login changes."""
    pull: str = ""
    """The pull request that it was said on; empty for none."""
    reactions: int = 0
    """Thumbs up less thumbs down."""


@dataclass(frozen=True, slots=True)
class Support:
    """Who stands behind a statement."""

    authors: int
    pulls: int
    reactions: int
    """Anybody can give these, so they only order what is otherwise equal."""

    @property
    def count(self) -> int:
        """Two authors or two pull requests outrank one."""
        return max(self.authors, self.pulls)


@dataclass(slots=True)
class Group:
    """Statements that say the same; the oldest speaks for all."""

    members: list[Statement]
    against: list[str] = field(default_factory=list)
    """Ids of the first statements of the groups that contradict this one."""

    @property
    def id(self) -> str:
        return self.members[0].id

    @property
    def support(self) -> Support:
        authors = {one.author for one in self.members if one.author}
        pulls = {one.pull for one in self.members if one.pull}
        return Support(max(1, len(authors)), len(pulls), sum(one.reactions for one in self.members))


def group(statements: Sequence[Statement], known: Mapping[Pair, Relation] | None = None) -> list[Group]:
    """Groups in the order of their first statements; `statements` come in the order in which they were said."""
    compared = _Compared(statements, known or {})
    led: dict[int, list[int]] = {}
    against: dict[int, list[int]] = {}
    for new in range(len(statements)):
        before = [other for other in compared.near[new] if other in led]
        same = [other for other in before if compared.relation(other, new) == "same"]
        if same:
            led[max(same, key=lambda other: (compared.near[new][other], -other))].append(new)
            continue
        led[new] = [new]
        for other in before:
            if compared.relation(other, new) == "opposite":
                against.setdefault(new, []).append(other)
                against.setdefault(other, []).append(new)
    return [
        Group([statements[at] for at in members], [statements[other].id for other in against.get(leader, ())])
        for leader, members in led.items()
    ]


def doubtful(statements: Sequence[Statement], known: Mapping[Pair, Relation] | None = None) -> list[tuple[str, str]]:
    """Pairs that are worth a question to a language model, the most alike first; those that are `known` are not."""
    compared = _Compared(statements, known or {})
    pairs = [
        (-alike, other, new)
        for new, near in enumerate(compared.near)
        for other, alike in near.items()
        if other < new and compared.pair(other, new) not in compared.known
    ]
    return [(statements[other].id, statements[new].id) for _, other, new in sorted(pairs)]


class _Compared:
    """All statements of one grouping; `near` says for each how alike those are that come anywhere close."""

    def __init__(self, statements: Sequence[Statement], known: Mapping[Pair, Relation]) -> None:
        self.known = known
        self._ids = [statement.id for statement in statements]
        self._meanings = [meaning(statement.text) for statement in statements]
        self.near = likeness([one.subject for one in self._meanings], DOUBTFUL)
        places = {id: at for at, id in enumerate(self._ids)}
        for pair in known:
            one, other = (places.get(id) for id in (sorted(pair) if len(pair) == 2 else ("", "")))
            if one is not None and other is not None:
                self.near[one].setdefault(other, 0.0)
                self.near[other].setdefault(one, 0.0)

    def pair(self, one: int, other: int) -> Pair:
        return frozenset({self._ids[one], self._ids[other]})

    def relation(self, one: int, other: int) -> Relation:
        told = self.known.get(self.pair(one, other))
        return told or relate(self._meanings[one], self._meanings[other], self.near[one][other])
