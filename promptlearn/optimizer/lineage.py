"""Who descends from whom in the pool, and which prompts a merge may join.

Knows candidates and scores; what a join of two prompts looks like is `proposing.join`'s business.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from promptlearn.optimizer.state import View
from promptlearn.proposing.base import Partner
from promptlearn.proposing.join import Joined, join
from promptlearn.records import Candidate
from promptlearn.selection.pareto import complements


def ancestors(pool: Mapping[str, Candidate], digest: str) -> list[str]:
    """A prompt and all that it was made from, the nearest first."""
    found: dict[str, None] = {}
    waiting = [digest]
    while waiting:
        for one in waiting:
            found.setdefault(one)
        waiting = [parent for one in waiting if one in pool for parent in pool[one].parents if parent not in found]
    return list(found)


def unequal_lessons(
    pool: Mapping[str, Candidate], lessons: Mapping[str, Collection[str]], first: str, second: str
) -> set[str]:
    """Examples that only one of two prompts, or of what it was made from, learned from (`lessons`: digest → ids)."""
    mine, theirs = (
        {example for digest in ancestors(pool, one) for example in lessons.get(digest, ())} for one in (first, second)
    )
    return mine ^ theirs


def joined(pool: Mapping[str, Candidate], first: Candidate, second: Candidate) -> tuple[Joined, Candidate] | None:
    """Two prompts in one, and the nearest prompt that both were made from; None where one was made from the other."""
    mine, theirs = ancestors(pool, first.digest), ancestors(pool, second.digest)
    if first.digest in theirs or second.digest in mine:
        return None
    base = next((pool[digest] for digest in mine if digest in theirs and digest in pool), None)
    return None if base is None else (join(first.prompt, second.prompt, base.prompt), base)


def partners(view: View, parent: Candidate) -> Iterator[Partner]:
    """Prompts of the pool that are right where the parent is wrong, by how much they are, that were not joined yet."""
    scores = {
        digest: {
            f"{split}/{example}": score
            for split in ("train", "validation")
            for example, score in view.of(split).get(digest, {}).items()
            if score is not None
        }
        for digest in view.pool
    }
    for other in complements(scores, parent.digest):
        found = joined(view.pool, parent, view.pool[other.digest])
        if found is not None and (found[0].rewritten or found[0].prompt.digest not in view.seen):
            base = found[1].prompt
            yield Partner(view.pool[other.digest].prompt, base, other.better, other.worse, other.rows)
