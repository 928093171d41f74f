"""What the search knows: the part that changes, the view of it that a round gets, and what a round hands back.

A round sees a view that never changes under its hands; only a commit, in the order of the rounds, changes the search.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeAlias

from promptlearn.evaluation import Key, Row
from promptlearn.optimizer.allowance import Spending
from promptlearn.records import Candidate, Decision, Split
from promptlearn.result import Tally
from promptlearn.selection.credit import Credit

Scores: TypeAlias = Mapping[str, Mapping[str, float | None]]
"""Digest of a prompt → example id → score; None where it was not judged."""


@dataclass(frozen=True, slots=True)
class View:
    """What a round may know: the search as it was after a fixed number of commits."""

    incumbent: Candidate
    pool: Mapping[str, Candidate]
    credit: Credit
    seen: frozenset[str]
    """Digests ever proposed, whatever became of them."""
    scores: Mapping[Split, Scores]

    def of(self, split: Split) -> Scores:
        return self.scores.get(split, {})

    def knows(self, split: Split, key: Key) -> bool:
        """Whether a decision has read this row."""
        return key[1] in self.of(split).get(key[0], {})


@dataclass(slots=True)
class Outcome:
    """What came of a round; filled step by step, so that what was found before a budget ended counts."""

    tried: list[Candidate] = field(default_factory=list)
    """Candidates in the order of their proposal, those that broke the contract included."""
    raced: list[Candidate] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    winner: Candidate | None = None
    """Better than the incumbent that the round knew."""
    drafted: dict[str, int] = field(default_factory=dict)
    """Proposer → drafts that it was asked for."""
    earned: list[tuple[str, float, int]] = field(default_factory=list)
    """Proposer, gain, cost in task calls."""
    read: dict[Split, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    """Scores of the rows that decisions read, as in `Scores`."""
    costs: dict[tuple[Split, Key], Spending] = field(default_factory=dict)
    """What each row cost that no round before had committed when this one began."""
    proposing: Spending = field(default_factory=Spending)
    """What came on top of the rows: proposals, and judgements of guards."""

    def note(self, row: Row, split: Split) -> None:
        self.read.setdefault(split, {}).setdefault(row.rollout.prompt, {})[row.example.id] = row.score


@dataclass(slots=True)
class Search:
    """What the loop knows at any moment."""

    incumbent: Candidate
    pool: dict[str, Candidate]
    credit: Credit
    tally: Tally = field(default_factory=Tally)
    seen: set[str] = field(default_factory=set)
    scores: dict[Split, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    stop_reason: str = ""

    def view(self) -> View:
        scores = {split: dict(by_prompt) for split, by_prompt in self.scores.items()}
        return View(self.incumbent, dict(self.pool), deepcopy(self.credit), frozenset(self.seen), scores)

    def knows(self, split: Split, key: Key) -> bool:
        return key[1] in self.scores.get(split, {}).get(key[0], {})

    def spending(self, outcome: Outcome) -> Spending:
        """What a round adds: rows that rounds before it have committed by now are not paid for twice."""
        rows = [cost for (split, key), cost in outcome.costs.items() if not self.knows(split, key)]
        return sum(rows, outcome.proposing)

    def commit(self, outcome: Outcome) -> tuple[list[Candidate], list[Decision]]:
        """Take in what a round found. Returns candidates and decisions that are new: a prompt which an earlier round
        has tried in the meantime is not tried twice.
        """
        fresh = [candidate for candidate in outcome.tried if candidate.digest not in self.seen]
        digests = {candidate.digest for candidate in fresh}
        decisions = [decision for decision in outcome.decisions if decision.candidate in digests]
        self.seen |= digests
        raced = [candidate for candidate in outcome.raced if candidate.digest in digests]
        self.pool.update({candidate.digest: candidate for candidate in raced})
        self.tally.proposed += len(fresh)
        self.tally.raced += len(raced)
        self.tally.rejected_by_contract += sum(decision.stage == "contract" for decision in decisions)
        self.tally.gated_out += sum(decision.stage == "gate" for decision in decisions)
        for name, count in outcome.drafted.items():
            self.credit.drafted(name, count)
        for name, gain, cost in outcome.earned:
            self.credit.earned(name, gain, cost)
        self.read(outcome)
        return fresh, decisions

    def read(self, outcome: Outcome) -> None:
        """Add the rows that decisions read; to copies, because views hold the old ones."""
        for split, by_prompt in outcome.read.items():
            known = self.scores.setdefault(split, {})
            for digest, scores in by_prompt.items():
                known[digest] = known.get(digest, {}) | scores
