"""What one run writes down, and whom it tells: the store bound to a run, and the person who watches.

Knows no decision's reasons; it numbers what it is given, so that a resumed run writes the same rows again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from promptlearn.evaluation import Row
from promptlearn.records import Candidate, Decision, Json, Split
from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened, for progress displays. `kind` names it; `body` is JSON."""

    kind: str
    body: dict[str, Json]


Observer = Callable[[Event], None]


def nobody(event: Event) -> None:
    """The observer of a run that no one watches."""


class RunLog:
    def __init__(self, store: Store, run: str, observer: Observer = nobody) -> None:
        self.store = store
        self.run = run
        self._observer = observer
        self._candidates: dict[str, Candidate] = {}
        """By digest, as each was first told of; their places are their numbers."""
        self._decisions = 0

    async def row(self, row: Row, split: Split) -> None:
        await self.store.add_row(self.run, row.rollout, row.verdicts, split, row.score)

    async def candidate(self, candidate: Candidate) -> None:
        """Keep a candidate. A later one of the same prompt brings what was measured since; the first says whence."""
        first = self._candidates.setdefault(candidate.digest, candidate)
        number = list(self._candidates).index(candidate.digest)
        await self.store.add_candidate(self.run, replace(first, prompt=candidate.prompt), number)

    async def decision(self, decision: Decision) -> None:
        await self.store.add_decision(self.run, self._decisions, decision)
        self._decisions += 1

    async def settle(self) -> None:
        """The search is over: forget what an earlier stretch, which a smaller budget ended, came to and this one did
        not.
        """
        await self.store.keep_search(self.run, [*self._candidates], self._decisions)

    async def event(self, kind: str, **body: Json) -> None:
        """Store an event and show it."""
        await self.store.add_event(self.run, kind, body)
        self.show(kind, **body)

    def show(self, kind: str, **body: Json) -> None:
        """Show an event without storing it (one per row would be too many)."""
        self._observer(Event(kind, body))
