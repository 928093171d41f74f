"""What the search knows: the part that changes, the view of it that a round gets, and what a round hands back.

A round sees a view that never changes under its hands; only a commit, in the order of the rounds, changes the search.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeAlias

from promptlearn.evaluation import Key, Row
from promptlearn.ledger import NOTHING, Charge
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
    learned: frozenset[str] = frozenset()
    """Train examples that some prompt was criticised on."""
    lessons: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Digest of a candidate → train examples that it learned from when it was made; its parents' are their own."""
    figures: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What another objective in the lead is on validation rows: digest → example → value."""

    def of(self, split: Split) -> Scores:
        return self.scores.get(split, {})

    def knows(self, split: Split, key: Key) -> bool:
        """Whether a decision has read this row."""
        return key[1] in self.of(split).get(key[0], {})


@dataclass(slots=True)
class Asked:
    """What a proposer was asked for in a round, and what came of it."""

    drafts: int = 0
    made: int = 0
    proposing: Charge = NOTHING
    """What its dearest answer cost: where it is asked for more it makes the same drafts again, out of the journal."""
    repairs: list[Charge] = field(default_factory=list)


@dataclass(slots=True)
class Outcome:
    """What came of a round; filled step by step, so that what was found before a budget ended counts."""

    tried: list[Candidate] = field(default_factory=list)
    """Candidates in the order of their proposal, those that broke the contract included."""
    raced: list[Candidate] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    winner: Candidate | None = None
    """Better than the incumbent that the round knew."""
    asked: dict[str, Asked] = field(default_factory=dict)
    """By proposer."""
    read: dict[Split, dict[str, dict[str, float | None]]] = field(default_factory=dict)
    """Scores of the rows that decisions read, as in `Scores`."""
    costs: dict[tuple[Split, Key], Spending] = field(default_factory=dict)
    """What each row cost that no round before had committed when this one began."""
    learned: set[str] = field(default_factory=set)
    """Train examples that the parent was criticised on."""
    lessons: frozenset[str] = frozenset()
    """Train examples that this round's candidates learned from: those, and others that the parent is known to fail."""
    proposing: Spending = field(default_factory=Spending)
    """What came on top of the rows: proposals, and judgements of guards."""
    measure: Callable[[Row], float | None] | None = None
    """What the objective in the lead is on a row, where that is not quality."""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    """As in `View`, of the rows that decisions read."""
    gains: dict[str, float] | None = None
    """Digest → gain in the lead that a race saw; None where quality leads."""

    def note(self, row: Row, split: Split) -> None:
        if self.measure is not None and split == "validation" and (value := self.measure(row)) is not None:
            self.figures.setdefault(row.rollout.prompt, {})[row.example.id] = value
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
    learned: set[str] = field(default_factory=set)
    """Train examples that some prompt was criticised on."""
    lessons: dict[str, frozenset[str]] = field(default_factory=dict)
    """As in `View`."""
    figures: dict[str, dict[str, float]] = field(default_factory=dict)
    """As in `View`."""
    stop_reason: str = ""
    warnings: list[str] = field(default_factory=list)

    def view(self) -> View:
        scores = {split: dict(by_prompt) for split, by_prompt in self.scores.items()}
        seen, learned = frozenset(self.seen), frozenset(self.learned)
        pool, lessons, figures = dict(self.pool), dict(self.lessons), dict(self.figures)
        return View(self.incumbent, pool, deepcopy(self.credit), seen, scores, learned, lessons, figures)

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
        self.learned |= outcome.learned
        self.lessons.update(dict.fromkeys(digests, outcome.lessons))
        raced = [candidate for candidate in outcome.raced if candidate.digest in digests]
        self.pool.update({candidate.digest: candidate for candidate in raced})
        self.tally.proposed += len(fresh)
        self.tally.raced += len(raced)
        self.tally.rejected_by_contract += sum(decision.stage == "contract" for decision in decisions)
        self.tally.gated_out += sum(decision.stage == "gate" for decision in decisions)
        self._credit(outcome, fresh, decisions)
        self.read(outcome)
        return fresh, decisions

    def _credit(self, outcome: Outcome, fresh: Sequence[Candidate], decisions: Sequence[Decision]) -> None:
        """Book what each proposer was asked for, what that and the rows of its drafts cost, and what they gained."""
        for name, asked in outcome.asked.items():
            self.credit.drafted(name, asked.drafts, asked.made)
            for charge in (asked.proposing, *asked.repairs):
                self.credit.spent(name, charge.calls, charge.usd)
        proposers = {candidate.digest: candidate.proposer for candidate in outcome.tried}
        for (split, key), cost in outcome.costs.items():
            if key[0] in proposers and not self.knows(split, key):
                for charge in cost.charges.values():
                    self.credit.spent(proposers[key[0]], charge.calls, charge.usd)
        broken = {decision.candidate for decision in decisions if decision.stage == "contract"}
        for candidate in fresh:
            if candidate.digest not in broken:
                gains = outcome.gains
                gain = _gain(candidate, decisions) if gains is None else gains.get(candidate.digest, 0.0)
                self.credit.earned(candidate.proposer, gain)

    def read(self, outcome: Outcome) -> None:
        """Add the rows that decisions read; to copies, because views hold the old ones."""
        for split, by_prompt in outcome.read.items():
            known = self.scores.setdefault(split, {})
            for digest, scores in by_prompt.items():
                known[digest] = known.get(digest, {}) | scores
        for digest, figures in outcome.figures.items():
            self.figures[digest] = self.figures.get(digest, {}) | figures


def _gain(candidate: Candidate, decisions: Sequence[Decision]) -> float:
    """The best difference to an incumbent that a race saw."""
    seen = [d.difference for d in decisions if d.candidate == candidate.digest and d.stage == "race"]
    return max((difference for difference in seen if difference is not None), default=0.0)
