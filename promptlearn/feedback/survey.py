"""Everything that was said, at a glance: what each comment is, as what rule, and who else says the same.

Knows stored comments and puts `classify` and `statements` together; no store, model or terminal. What a model made of a
comment comes before the heuristics, and what a person decided before both.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from promptlearn.feedback.classify import Classification, Kind, classify, read_classification
from promptlearn.feedback.distil import instruction
from promptlearn.feedback.prose import cut_sentences
from promptlearn.feedback.screen import addresses_machine, objections
from promptlearn.feedback.statements import Group, Pair, Relation, Statement, Support, doubtful, group
from promptlearn.records import Json, fingerprint
from promptlearn.store.feedback_rows import FeedbackRow

RELATED = "related"
"""Key of a stored classification: ref of another comment → relation, and the digest of both rules."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One comment, and what is known about it."""

    row: FeedbackRow
    found: Classification
    rule: str
    """As a person worded it, else as it was distilled."""
    support: Support | None
    """None where it counts for nothing: not trusted, dismissed, or no rule."""
    speaker: str
    """Ref of the oldest comment that says the same; its own where that is this one."""
    same: tuple[str, ...]
    """Refs of all comments that say the same, this one included."""
    against: tuple[str, ...]
    """Refs of the oldest comments of the statements that contradict it."""
    hiding: Collection[str] = frozenset()
    """Kinds of removals that honest comments do not have."""

    @property
    def ref(self) -> str:
        return self.row.ref

    @property
    def digest(self) -> str:
        """Of what a person reads before they decide: the sanitised comment, and the rule that it would become."""
        return fingerprint([self.row.received.text, self.rule])

    @property
    def objections(self) -> tuple[str, ...]:
        """Why its rule can stand in no prompt."""
        return objections(self.rule)

    @property
    def suspicions(self) -> tuple[str, ...]:
        """Why it is not approved as it is, without a person's own wording."""
        return tuple(_suspicions(self.row, self.rule, self.hiding))

    @property
    def kind(self) -> Kind:
        return self.found.kind


def survey(
    rows: Iterable[FeedbackRow], paths: Collection[str] = (), hiding: Collection[str] = frozenset()
) -> list[Entry]:
    """One entry per comment, in their order (the oldest first).

    `paths` as in `classify`; `hiding` are the kinds of removals that honest comments do not have.
    """
    kept = [(row, _classification(row, paths)) for row in rows]
    rules = {row.ref: _rule(row, found) for row, found in kept}
    counted = [row for row, found in kept if _counts(row, found) and rules[row.ref]]
    groups = group([_statement(row, rules[row.ref]) for row in counted], told(counted, rules))
    of = {statement.id: one for one in groups for statement in one.members}
    return [_entry(row, found, rules[row.ref], of.get(row.ref), hiding) for row, found in kept]


def comparable(entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """Pairs of refs that a language model should compare, the most alike first; not those that it has compared."""
    counted = [entry.row for entry in entries if entry.support is not None]
    rules = {entry.ref: entry.rule for entry in entries}
    return doubtful([_statement(row, rules[row.ref]) for row in counted], told(counted, rules))


def told(rows: Sequence[FeedbackRow], rules: Mapping[str, str]) -> dict[Pair, Relation]:
    """What a model said about pairs of these comments, as far as both still say what they said then."""
    known: dict[Pair, Relation] = {}
    for row in rows:
        related = row.classification.get(RELATED) if isinstance(row.classification, dict) else None
        for other, (relation, digest) in (related or {}).items():
            if other in rules and digest == pair_digest(rules[row.ref], rules[other]):
                known[frozenset({row.ref, other})] = relation
    return known


def pair_digest(one: str, other: str) -> str:
    """Which two rules were compared."""
    return fingerprint(sorted([one, other]))


def with_relation(classification: Json, other: str, relation: Relation, digest: str) -> Json:
    """A stored classification that also knows how this comment stands to another."""
    return {**classification, RELATED: {**classification.get(RELATED, {}), other: [relation, digest]}}


def _classification(row: FeedbackRow, paths: Collection[str]) -> Classification:
    stored = row.classification
    if isinstance(stored, dict):
        stored = {key: value for key, value in stored.items() if key != RELATED}
    return read_classification(stored) or classify(row.received, paths)


def _rule(row: FeedbackRow, found: Classification) -> str:
    return row.text if row.state == "approved" else found.rule


def _counts(row: FeedbackRow, found: Classification) -> bool:
    if row.received.dropped or row.state == "dismissed":
        return False
    return row.usable or found.kind == "rule"


def _statement(row: FeedbackRow, rule: str) -> Statement:
    comment = row.received.comment
    given = comment.reactions
    return Statement(
        id=row.ref,
        text=rule,
        author=f"{row.host}/{comment.author.id or comment.author.login.casefold()}",
        pull=f"{row.host}/{comment.repo.casefold()}#{comment.pull}" if comment.pull else "",
        reactions=given.get("THUMBS_UP", 0) - given.get("THUMBS_DOWN", 0),
    )


def _entry(row: FeedbackRow, found: Classification, rule: str, group: Group | None, hiding: Collection[str]) -> Entry:
    return Entry(
        row=row,
        found=found,
        rule=rule,
        support=group.support if group else None,
        speaker=group.id if group else row.ref,
        same=tuple(one.id for one in group.members) if group else (row.ref,),
        against=tuple(group.against) if group else (),
        hiding=hiding,
    )


def _suspicions(row: FeedbackRow, rule: str, hiding: Collection[str]) -> Iterable[str]:
    hid = sorted({removal.kind.replace("_", " ") for removal in row.received.removals if removal.kind in hiding})
    if hid:
        yield f"it held what no reader sees: {', '.join(hid)}"
    if any(instruction(said) in rule for said in cut_sentences(row.received.text) if instruction(said)):
        yield "an address was taken out of what it says"
    words = addresses_machine(f"{row.received.text}\n{rule}")
    if words:
        yield f"it speaks to the program that reads it: “{words}”"
