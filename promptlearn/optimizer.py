"""The loop: choose a parent, read its critique, propose, check the contract, gate, race, decide; at the end prune.

This is the only place that hands a prompt back to be run again, and the page to read first. It decides nothing by
the clock and by no order in which replies come (invariant 8): every stage waits for its rows and reads them in
example order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from promptlearn.config import SearchConfig
from promptlearn.contract import copies, learned_tokens, violations
from promptlearn.dataset import Dataset
from promptlearn.errors import BudgetSpent, ModelError, SystemicError
from promptlearn.evaluation import Evaluator, Row, Want
from promptlearn.feedback import JudgedRow, failure_modes
from promptlearn.ledger import Ledger
from promptlearn.proposing.base import Brief, Proposer
from promptlearn.pruning import Pruner
from promptlearn.records import Candidate, Decision, Draft, Example, FailureMode, Prompt, Review, Split, fingerprint
from promptlearn.result import Tally
from promptlearn.runlog import RunLog
from promptlearn.selection.credit import Credit
from promptlearn.selection.pareto import choose_parent
from promptlearn.selection.race import Race

ENOUGH_FAILURES = 3
"""Minibatches that a round looks through at most for something to learn from."""


@dataclass(frozen=True, slots=True)
class Critique:
    """What a parent did on a train minibatch."""

    examples: tuple[Example, ...]
    rows: tuple[Row, ...]
    modes: tuple[FailureMode, ...]


@dataclass(slots=True)
class Search:
    """What the loop knows at any moment."""

    incumbent: Candidate
    pool: dict[str, Candidate]
    credit: Credit
    tally: Tally = field(default_factory=Tally)
    seen: set[str] = field(default_factory=set)
    """Digests ever proposed, whatever became of them."""
    stop_reason: str = ""


class Optimizer:
    """Learns a better prompt than `seed` on the train and validation splits; never reads the test split."""

    def __init__(
        self,
        seed: Prompt,
        dataset: Dataset,
        evaluator: Evaluator,
        proposers: Sequence[Proposer],
        ledger: Ledger,
        log: RunLog,
        settings: SearchConfig,
        reviews: Sequence[Review] = (),
    ) -> None:
        self._dataset = dataset
        self._evaluator = evaluator
        self._proposers = {proposer.name: proposer for proposer in proposers}
        self._ledger = ledger
        self._log = log
        self._settings = settings
        self._reviews = tuple(reviews)
        baseline = Candidate(seed, parents=(), proposer="baseline")
        self.search = Search(baseline, {baseline.digest: baseline}, Credit(list(self._proposers)), seen={seed.digest})

    async def learn(self) -> Search:
        """Search until a budget or a stop rule ends it, then prune; the incumbent is the result."""
        await self._log.candidate(self.search.incumbent)
        try:
            self.search.stop_reason = await self._rounds()
            await self._prune()
        except BudgetSpent as spent:
            self.search.stop_reason = self.search.stop_reason or "budget"
            await self._log.event("budget", message=str(spent))
        return self.search

    async def _rounds(self) -> str:
        idle = 0
        for number in range(self._settings.rounds):
            parent = self._parent(number)
            await self._log.event("round", number=number + 1, of=self._settings.rounds, parent=parent.digest)
            critique = await self._critique(parent, number)
            drafts = await self._propose(parent, critique, number) if critique.modes or self._reviews else []
            candidates = await self._within_contract(parent, drafts)
            through = await self._gate(parent, candidates, critique)
            accepted = await self._race(through) if through else False
            idle = 0 if accepted else idle + 1
            if idle >= self._settings.patience:
                return "no_progress" if self.search.tally.proposed else "nothing_to_propose"
        return "rounds"

    def _parent(self, number: int) -> Candidate:
        """From the Pareto front over validation examples; the incumbent while nothing is scored."""
        scores = {
            digest: self._evaluator.scores(candidate.prompt, self._dataset.validation)
            for digest, candidate in self.search.pool.items()
        }
        if not any(scores.values()):
            return self.search.incumbent
        return self.search.pool[choose_parent(scores, f"{self._settings.seed}/parent/{number}")]

    async def _critique(self, parent: Candidate, number: int) -> Critique:
        """The parent on a minibatch that holds a failure, if one is found soon."""
        train, size = self._dataset.train, min(self._settings.minibatch, len(self._dataset.train))
        for attempt in range(ENOUGH_FAILURES):
            start = (number + attempt * self._settings.rounds) * size
            examples = tuple(train[(start + i) % len(train)] for i in range(size))
            rows = await self._rows([parent.prompt], examples, "train")
            judged = [JudgedRow(row.example, row.rollout, row.verdicts) for row in rows]
            modes = failure_modes(judged, self._settings.feedback_tokens)
            if modes:
                break
        titles = [f"{mode.title} ({len(mode.examples)})" for mode in modes]
        await self._log.event("critique", parent=parent.digest, score=_mean(rows), failure_modes=titles)
        return Critique(examples, tuple(rows), modes)

    async def _propose(self, parent: Candidate, critique: Critique, number: int) -> list[tuple[str, Brief, Draft]]:
        """Drafts from every proposer that has a share in this round; what one leaves of it goes to the next."""
        drafts: list[tuple[str, Brief, Draft]] = []
        left = 0
        for name, share in self.search.credit.share(self._settings.drafts, number).items():
            count = share + left
            if not count:
                continue
            brief = self._brief(parent, critique, f"{name}/{number}")
            self._log.show("proposing", proposer=name, count=count)
            try:
                found = await self._proposers[name].propose(brief, count)
            except SystemicError:
                raise
            except ModelError as error:
                await self._log.event("proposer_failed", proposer=name, message=str(error))
                found = []
            self.search.credit.drafted(name, share)
            left = count - len(found)
            drafts += [(name, brief, draft) for draft in found]
        return drafts

    def _brief(self, parent: Candidate, critique: Critique, purpose: str) -> Brief:
        known = [row for example in self._dataset.train if (row := self._evaluator.known(parent.prompt, example))]
        return Brief(
            parent=parent.prompt,
            modes=critique.modes,
            kept=tuple(row.example for row in critique.rows if row.score == 1),
            train=self._dataset.train,
            failed=frozenset(row.example.id for row in known if row.score is not None and row.score < 1),
            reviews=self._reviews,
            seed=int(fingerprint([self._settings.seed, purpose], length=8), 16),
        )

    async def _within_contract(self, parent: Candidate, drafts: Sequence[tuple[str, Brief, Draft]]) -> list[Candidate]:
        """Candidates that keep the contract, after one repair at most (invariant 6)."""
        candidates: list[Candidate] = []
        for name, brief, first in drafts:
            draft, broken = first, self._violations(first, parent)
            if broken:
                draft, broken = await self._repair(name, brief, first, broken)
            if draft.prompt.digest in self.search.seen:
                continue
            self.search.seen.add(draft.prompt.digest)
            self.search.tally.proposed += 1
            candidate = Candidate(draft.prompt, (parent.digest,), name, draft.rationale, draft.usage)
            await self._log.candidate(candidate)
            if broken:
                self.search.tally.rejected_by_contract += 1
                await self._decide(candidate, parent, "contract", "rejected", "; ".join(broken))
            else:
                candidates.append(candidate)
        await self._log.event("proposed", candidates=[[c.digest, c.proposer, c.rationale] for c in candidates])
        return candidates

    async def _repair(self, name: str, brief: Brief, draft: Draft, broken: list[str]) -> tuple[Draft, list[str]]:
        try:
            repaired = await self._proposers[name].repair(brief, draft, broken)
        except SystemicError:
            raise
        except ModelError as error:
            return draft, [*broken, f"repair failed: {error}"]
        if repaired is None:
            return draft, broken
        return repaired, self._violations(repaired, self.search.pool[brief.parent.digest])

    def _violations(self, draft: Draft, parent: Candidate) -> list[str]:
        """Broken contract, or training text that was copied instead of learned from."""
        broken = violations(draft.prompt, parent.prompt)
        own = "\n".join([draft.prompt.text, *(rule.text for rule in draft.prompt.rules)])
        old = "\n".join([parent.prompt.text, *(rule.text for rule in parent.prompt.rules)])
        allowed = set(copies(old, self._dataset.train))
        copied = [span for span in copies(own, self._dataset.train) if span not in allowed]
        return broken + [f"copies a training example: “{span}”" for span in copied]

    async def _gate(self, parent: Candidate, candidates: Sequence[Candidate], critique: Critique) -> list[Candidate]:
        """Candidates that do better than their parent on the rows that it was criticised for."""
        rows = await self._rows([candidate.prompt for candidate in candidates], critique.examples, "train")
        before = {row.example.id: row.score for row in critique.rows}
        flawless = all(score == 1 for score in before.values())  # then nothing on these rows can be better
        through = []
        for index, candidate in enumerate(candidates):
            own = rows[index * len(critique.examples) : (index + 1) * len(critique.examples)]
            pairs = [
                (row.score, old) for row in own if row.score is not None and (old := before[row.example.id]) is not None
            ]
            gain = sum(new - old for new, old in pairs)
            self.search.credit.earned(candidate.proposer, 0.0, len(own))
            if gain > 0 or (gain == 0 and flawless):
                through.append(candidate)
                continue
            self.search.tally.gated_out += 1
            reason = f"no better than its parent on {len(pairs)} train rows"
            await self._decide(candidate, parent, "gate", "rejected", reason, len(pairs), gain / max(1, len(pairs)))
        await self._log.event("gate", through=[candidate.digest for candidate in through], of=len(candidates))
        return through

    async def _race(self, candidates: Sequence[Candidate]) -> bool:
        """Race against the incumbent on validation rows; whether one of the candidates took its place."""
        search, incumbent = self.search, self.search.incumbent
        by_id = {example.id: example for example in self._dataset.validation}
        lengths = {candidate.digest: learned_tokens(candidate.prompt) for candidate in candidates}
        race = Race(incumbent.digest, lengths, list(by_id), self._settings.alpha)
        search.pool.update({candidate.digest: candidate for candidate in candidates})
        search.tally.raced += len(candidates)
        spent: BudgetSpent | None = None
        try:
            while not race.finished:
                block = [by_id[example] for example in race.wanted()]
                runners = [search.pool[digest] for digest in race.alive]
                if race.runs_incumbent:
                    runners.insert(0, incumbent)
                rows = await self._rows([runner.prompt for runner in runners], block, "validation")
                race.observe(
                    {
                        runner.digest: [row.score for row in rows[i * len(block) : (i + 1) * len(block)]]
                        for i, runner in enumerate(runners)
                    }
                )
        except BudgetSpent as error:
            spent = error  # what the race has proven so far still counts
        accepted = False
        for decision in race.decisions():
            candidate = search.pool[decision.candidate]
            await self._log.decision(decision)
            search.credit.earned(candidate.proposer, decision.difference or 0.0, decision.pairs)
            if decision.outcome == "accepted":
                search.incumbent, accepted = candidate, True
                search.tally.accepted += 1
            self._log.show("decision", **_shown(decision, candidate))
        if spent is not None:
            raise spent
        return accepted

    async def _prune(self) -> None:
        if not self._settings.prune:
            return
        pruner = Pruner(self.search.incumbent, self._dataset.validation, self._rows, self._log)
        try:
            await pruner.prune()
        finally:  # what was pruned before the budget ended counts
            self.search.incumbent = pruner.candidate
            self.search.pool[pruner.candidate.digest] = pruner.candidate

    async def _rows(self, prompts: Sequence[Prompt], examples: Sequence[Example], split: Split) -> list[Row]:
        """Every prompt on every example, prompt by prompt. Not begun when the calls can not all be afforded."""
        wants = [Want(prompt, example, split) for prompt in prompts for example in examples]
        needed, left = self._evaluator.missing(wants), self._ledger.affordable_calls("task")
        if left is not None and needed > left:
            raise BudgetSpent(f"the next step needs {needed} task calls and {left} are left for the search")
        return await self._evaluator.rows(wants)

    async def _decide(
        self,
        candidate: Candidate,
        against: Candidate,
        stage: str,
        outcome: str,
        reason: str,
        pairs: int = 0,
        difference: float | None = None,
    ) -> None:
        decision = Decision(
            candidate.digest,
            against.digest,
            stage,  # type: ignore[arg-type]  # callers name one of the stages
            outcome,  # type: ignore[arg-type]
            reason,
            pairs,
            difference,
        )
        await self._log.decision(decision)
        self._log.show("decision", **_shown(decision, candidate))


def _mean(rows: Sequence[Row]) -> float | None:
    scores = [row.score for row in rows if row.score is not None]
    return sum(scores) / len(scores) if scores else None


def _shown(decision: Decision, candidate: Candidate) -> dict[str, object]:
    return {
        "candidate": candidate.digest,
        "proposer": candidate.proposer,
        "stage": decision.stage,
        "outcome": decision.outcome,
        "reason": decision.reason,
        "difference": decision.difference,
        "pairs": decision.pairs,
    }
