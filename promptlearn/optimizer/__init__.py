"""The optimizer: the only place where the circle closes, from a parent's critique to the next prompt.

Rounds overlap: at most `pipeline_depth` are in flight, each sees the search as it was when it began, and all are
committed in the order in which they began. What a round sees, what it may spend and what is decided depend on commits
and on rows read in their order, never on the clock (invariant 8), while the pool always has rows to run.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.config import ObjectiveConfig, SearchConfig
from promptlearn.contract import violations
from promptlearn.dataset import Dataset
from promptlearn.errors import BudgetSpent
from promptlearn.evaluation import Evaluator
from promptlearn.ledger import Charge, Ledger
from promptlearn.optimizer.allowance import Allowance
from promptlearn.optimizer.choosing import Chooser
from promptlearn.optimizer.guarding import Guarding, Standing
from promptlearn.optimizer.lineage import joined
from promptlearn.optimizer.pruning import Pruner
from promptlearn.optimizer.pursuing import pursuit_of
from promptlearn.optimizer.racing import run_race
from promptlearn.optimizer.reading import Reader
from promptlearn.optimizer.round import Problem, Round
from promptlearn.optimizer.state import Outcome, Search
from promptlearn.proposing.base import Proposer
from promptlearn.proposing.merge import MergeProposer
from promptlearn.records import Candidate, Decision, Prompt, Review, Role
from promptlearn.runlog import RunLog
from promptlearn.selection.credit import Credit
from promptlearn.selection.race import BLOCK, longest
from promptlearn.train_text import TrainText

__all__ = ["Optimizer", "Search"]

CRITIQUE = 1 / 12
"""Part of the budget that the critique of one round may take."""
EXTRA = 1 / 24
"""Part of the budget that each prompt of a race may take in extra time."""
MOST_EXTRA = 3
"""Rows of extra time, at most, for each row of validation: where two prompts are close, four times the rows tell them
apart; without, a search can stay with an incumbent that is nearly as good as what it finds (docs/quality.md).
"""


@dataclass(frozen=True, slots=True)
class Flight:
    """A round in flight."""

    round: Round
    task: asyncio.Task[BudgetSpent | None]


class Optimizer:
    """Learns a better prompt than `seed` on the train and validation splits; never reads the test split."""

    def __init__(
        self,
        seed: Prompt,
        dataset: Dataset,
        evaluator: Evaluator,
        proposers: Sequence[Proposer],
        ledger: Ledger,
        allowance: Allowance,
        log: RunLog,
        settings: SearchConfig,
        reviews: Sequence[Review] = (),
        guarding: Guarding | None = None,
        objectives: Sequence[ObjectiveConfig] = (),
    ) -> None:
        baseline = Candidate(seed, parents=(), proposer="baseline")
        self._pursuit = pursuit_of(objectives, baseline)
        self._problem = Problem(
            seed,
            dataset,
            TrainText(dataset.train),
            {proposer.name: proposer for proposer in proposers},
            settings,
            tuple(reviews),
            log,
            extra=allowance.part(EXTRA, 0, MOST_EXTRA * len(dataset.validation)),
            critique=allowance.part(CRITIQUE, settings.minibatch, min(settings.critique, len(dataset.train))),
            objectives=tuple(objectives),
            pursuit=self._pursuit,
        )
        self._evaluator = evaluator
        self._ledger = ledger
        self._allowance = allowance
        self._log = log
        self._settings = settings
        self._guarding = guarding or Guarding((), dataset)
        self._objectives = objectives
        self.standings: list[Standing] = []
        """How far the seed and the result keep each guard; known at the end of `learn`."""
        self._flights: list[Flight] = []
        """In the order of their rounds."""
        self._begun = 0
        self._held: dict[Role, Charge] = {}
        self._idle = 0
        self._seed = seed
        credit = Credit(list(self._problem.proposers))
        self.search = Search(baseline, {baseline.digest: baseline}, credit, seen={seed.digest})

    async def learn(self) -> Search:
        """Search until a budget or a stop rule ends it, then prune; the incumbent is the result."""
        await self._log.candidate(self.search.incumbent)
        try:
            await self._rounds()
        except BaseException as error:
            await self._land(cancelled=not isinstance(error, Exception))
            raise
        await self._prune()
        await self._choose()
        await self._measure_guards()
        return self.search

    async def _land(self, cancelled: bool) -> None:
        """End the rounds in flight: no row is begun any more, but calls under way are paid for, and waited for."""
        for flight in self._flights:
            if cancelled:
                flight.task.cancel()
        await self._evaluator.drain()
        await asyncio.gather(*(flight.task for flight in self._flights), return_exceptions=True)

    async def _rounds(self) -> None:
        """Keep rounds in flight until something ends the search; those in flight then are finished, and count."""
        self._begin()
        while self._flights:
            flight = self._flights[0]
            spent = await flight.task
            rematch = await self._rematch(flight.round)
            rematch = await self._guard(flight.round) or rematch
            spending = self.search.spending(flight.round.outcome)
            fresh, decisions = self.search.commit(flight.round.outcome)
            accepted = self._crown(flight.round.outcome, decisions)
            self._flights.pop(0)
            self._allowance.close(flight.round.number, spending)
            self._hold_test()
            self._judge_progress(accepted, spent or rematch)
            try:
                self._begin()  # before anything is awaited: which rounds begin now depends on commits alone
            except BudgetSpent as error:
                spent, self.search.stop_reason = error, "budget"
            await self._record(flight.round.number, fresh, decisions)
            await self._log.event("credit", number=flight.round.number + 1, **self.search.credit.table())
            if (spent or rematch) and not self._flights:
                await self._log.event("budget", message=str(spent or rematch))

    def _hold_test(self) -> None:
        """Keep back what reading the test split may cost, now that it is better known (calls are kept back anyway)."""
        for role in ("task", "judge"):
            kept, held = self._allowance.kept(role), self._held.get(role, Charge(0))
            tokens, usd = kept.tokens - held.tokens, (kept.usd or 0.0) - (held.usd or 0.0)
            self._ledger.hold(role, Charge(0, tokens, usd))
            self._held[role] = kept

    def _begin(self) -> None:
        """Begin rounds while there is room for them."""
        settings, dataset = self._settings, self._problem.dataset
        gated = self._problem.critique + min(settings.minibatch, len(dataset.train)) * settings.drafts
        racing = (settings.drafts + 1) // 2  # the gate lets no more through
        most = gated + longest(racing, len(dataset.validation)) - len(dataset.validation)
        least = min(most, gated + racing * 2 * BLOCK)
        while not self.search.stop_reason and len(self._flights) < settings.pipeline_depth:
            if self._begun == settings.rounds:
                self.search.stop_reason = "" if self._flights else "rounds"
                return
            self._allowance.share(self._unread_of_incumbents())
            if not self._allowance.open(self._begun, least, most):
                return
            self._flights.append(self._flight(self._begun))
            self._begun += 1

    def _unread_of_incumbents(self) -> int:
        """Validation rows that rounds in flight, or the next one, may still read of the incumbents that they know."""
        known = self.search.scores.get("validation", {})
        incumbents = {self.search.incumbent.digest, *(flight.round.view.incumbent.digest for flight in self._flights)}
        return sum(len(self._problem.dataset.validation) - len(known.get(digest, ())) for digest in incumbents)

    def _flight(self, number: int) -> Flight:
        outcome = Outcome(measure=self._pursuit.measure if self._pursuit else None)
        view = self.search.view()
        reader = Reader(
            self._evaluator, self._ledger, self._allowance, number, view.knows, outcome, view.incumbent.digest
        )
        round = Round(number, self._problem, view, reader, outcome)
        self.search.credit.book(round.share)  # before the next round begins, which shares out what this one leaves
        return Flight(round, asyncio.create_task(self._fly(round), name=f"round {number + 1}"))

    async def _fly(self, round: Round) -> BudgetSpent | None:
        """The round; others may count on it to ask for nothing more before anybody can see that it is through."""
        try:
            return await round.run()
        finally:
            self._allowance.rest(round.number)

    async def _rematch(self, round: Round) -> BudgetSpent | None:
        """A winner over an incumbent that has been replaced since races the new one before it may take its place.

        Both learned from the same parent at the same time, so what goes into this race is what both learned, where code
        can join it; the winner alone where it can not.
        """
        outcome, incumbent = round.outcome, self.search.incumbent
        winner = outcome.winner
        if winner is None or incumbent.digest == round.view.incumbent.digest or winner.digest in self.search.seen:
            return None
        later = Outcome(
            read=outcome.read,
            costs=outcome.costs,
            measure=outcome.measure,
            figures=outcome.figures,
            gains=outcome.gains,
        )
        reader = self._reader(round.number, later)
        challenger = self._join(winner) or winner
        if challenger is not winner:
            outcome.tried.append(challenger)
            outcome.raced.append(challenger)
        decisions, spent = await run_race(
            incumbent,
            [challenger],
            self._problem.dataset.validation,
            self._settings.alpha,
            reader,
            f"{self._settings.seed}/rematch/{round.number}",
            fresh=round.fresh(incumbent, [challenger], self.search),
            pursuit=self._pursuit,
        )
        outcome.gains = later.gains
        won = next(decision for decision in outcome.decisions if decision.outcome == "accepted")
        meets = "meets" if challenger is winner else f"as part of {challenger.digest[:8]} meets"
        reason = f"{won.reason}; {meets} the new incumbent {incumbent.digest[:8]} next"
        outcome.decisions[outcome.decisions.index(won)] = replace(won, outcome="undecided", reason=reason)
        outcome.decisions += decisions
        return spent

    def _join(self, winner: Candidate) -> Candidate | None:
        """The incumbent and a winner over the one before it, in one prompt; None where they can not be joined."""
        incumbent = self.search.incumbent
        found = joined(self.search.pool | {winner.digest: winner}, incumbent, winner)
        prompt = found[0].prompt if found and not found[0].conflicts else incumbent.prompt
        if prompt.digest in (self.search.seen | {winner.digest}) or violations(prompt, incumbent.prompt):
            return None
        why = f"what {incumbent.digest[:8]} and {winner.digest[:8]} learned at the same time"
        return Candidate(prompt, (incumbent.digest, winner.digest), MergeProposer.name, why)

    def _reader(self, number: int, outcome: Outcome) -> Reader:
        return Reader(self._evaluator, self._ledger, self._allowance, number, self.search.knows, outcome)

    async def _guard(self, round: Round) -> BudgetSpent | None:
        """A winner that loses what reviewers taught the incumbent does not take its place."""
        outcome, incumbent = round.outcome, self.search.incumbent
        won = next((decision for decision in outcome.decisions if decision.outcome == "accepted"), None)
        if won is None or not self._guarding or won.candidate in self.search.seen:
            return None
        winner = next(candidate for candidate in outcome.raced if candidate.digest == won.candidate)
        later = Outcome(read=outcome.read, costs=outcome.costs)
        reader = self._reader(round.number, later)
        decision, spent = await self._guarding.check(incumbent.prompt, winner.prompt, won, reader)
        outcome.decisions[outcome.decisions.index(won)] = decision
        outcome.proposing += later.proposing
        return spent

    def _crown(self, outcome: Outcome, decisions: Sequence[Decision]) -> bool:
        """Whether a candidate takes the incumbent's place."""
        for decision in decisions:
            if decision.outcome == "accepted":
                self.search.incumbent = self.search.pool[decision.candidate]
                self.search.tally.accepted += 1
                return True
        return False

    def _judge_progress(self, accepted: bool, spent: BudgetSpent | None) -> None:
        self._idle = 0 if accepted else self._idle + 1
        if self.search.stop_reason:
            return
        if spent is not None:
            self.search.stop_reason = "budget"
        elif self._idle >= self._settings.patience:
            self.search.stop_reason = "no_progress" if self.search.tally.proposed else "nothing_to_propose"

    async def _record(self, number: int, fresh: Sequence[Candidate], decisions: Sequence[Decision]) -> None:
        for candidate in fresh:
            await self._log.candidate(candidate)
        proposers = {candidate.digest: candidate.proposer for candidate in fresh}
        rules = {one.digest: one.prompt.rules[-1].text for one in fresh if one.prompt.rules}
        for decision in decisions:
            await self._log.decision(decision)
            self._log.show(
                "decision",
                number=number + 1,
                candidate=decision.candidate,
                proposer=proposers[decision.candidate],
                stage=decision.stage,
                outcome=decision.outcome,
                reason=decision.reason,
                difference=decision.difference,
                pairs=decision.pairs,
                ci95=[decision.ci95.low, decision.ci95.high] if decision.ci95 else None,
                rule=rules.get(decision.candidate, ""),
            )

    async def _measure_guards(self) -> None:
        """How far the result keeps what reviewers asked for, next to the seed."""
        if self._guarding and self.search.incumbent.digest != self._seed.digest:
            await self._compare_guards()
        if shortfall := self._guarding.shortfall(self.standings):
            self.search.warnings.append(shortfall)

    async def _compare_guards(self) -> None:
        number = self._begun + 2
        try:
            self._allowance.open(number, 0, 0)
            reader = self._reader(number, Outcome())
            self.standings = await self._guarding.standings(self._seed, self.search.incumbent.prompt, reader)
        except BudgetSpent as spent:
            self.search.warnings.append(f"no budget was left to measure guards, so this run adds none: {spent}")
            await self._log.event("budget", message=str(spent))
        body = [[one.guard.id, one.guard.rule, one.rows, one.before, one.after] for one in self.standings]
        unmeasured = [one.guard.id for one in self.standings if one.unmeasured]
        await self._log.event("guards", standings=body, unmeasured=unmeasured)

    async def _choose(self) -> None:
        """Let the objectives choose among what was found."""
        if not self._objectives:
            return
        number, outcome = self._begun + 1, Outcome()
        self._allowance.open(number, 0, 0)
        reader = self._reader(number, outcome)
        baseline, validation = Candidate(self._seed, (), "baseline"), self._problem.dataset.validation
        chooser = Chooser(self.search, baseline, self._objectives, validation, reader, self._guarding, self._log)
        try:
            await chooser.choose(spend=self.search.stop_reason != "budget")
        except BudgetSpent as spent:
            await self._log.event("budget", message=str(spent))
        self._allowance.close(number, self.search.spending(outcome))
        self.search.read(outcome)

    async def _prune(self) -> None:
        if not self._settings.prune:
            return
        number, outcome = self._begun, Outcome()
        self._allowance.share(0)  # no round is in flight that would read the incumbent's rows
        self._allowance.open(number, 0, 0)
        reader = self._reader(number, outcome)
        pruner = Pruner(self.search.incumbent, self._problem.dataset.validation, reader, self._log, self._guarding)
        await pruner.prune()
        if pruner.shortfall:
            self.search.warnings.append(pruner.shortfall)
            await self._log.event("budget", message=pruner.shortfall)
        self._allowance.close(number, self.search.spending(outcome))
        self.search.read(outcome)
        self.search.tally.pruned = pruner.measured
        self.search.incumbent = pruner.candidate
        self.search.pool[pruner.candidate.digest] = pruner.candidate
