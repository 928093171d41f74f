"""One round: choose a parent, criticise it, propose, check the contract, gate, race.

Reads a view and fills an outcome; changes nothing that another round could see.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import islice

from promptlearn.config import ObjectiveConfig, SearchConfig
from promptlearn.contract import violations
from promptlearn.dataset import Dataset
from promptlearn.errors import BudgetSpent, ModelError, SystemicError
from promptlearn.evaluation import Row
from promptlearn.feedback import JudgedRow, Mistakes, mistakes
from promptlearn.ledger import Account, Charge
from promptlearn.objectives import tie_breakers
from promptlearn.optimizer.allowance import charge_of
from promptlearn.optimizer.focus import Focus, focus_on
from promptlearn.optimizer.lineage import partners as partners_of
from promptlearn.optimizer.lineage import unequal_lessons
from promptlearn.optimizer.pursuing import Pursuit
from promptlearn.optimizer.racing import fresh_rows, run_race
from promptlearn.optimizer.reading import Reader
from promptlearn.optimizer.state import Asked, Outcome, Search, View
from promptlearn.proposing.base import Brief, Partner, Proposer
from promptlearn.proposing.merge import MergeProposer
from promptlearn.records import Candidate, Decision, Draft, Example, FailureMode, Prompt, Review, Usage, fingerprint
from promptlearn.runlog import RunLog
from promptlearn.selection.pareto import choose_parent
from promptlearn.train_text import TrainText

NOVEL = 0.25
"""Chance of learning something new from the next critique, below which a round has seen enough."""
MOST_COPIES = 20
"""Copied spans that a repair is shown; a prompt may hold hundreds."""


@dataclass(frozen=True, slots=True)
class Problem:
    """What is the same in every round."""

    seed: Prompt
    dataset: Dataset
    train_text: TrainText
    proposers: dict[str, Proposer]
    settings: SearchConfig
    reviews: tuple[Review, ...]
    log: RunLog
    critique: int
    """Train rows that a round may learn from."""
    objectives: tuple[ObjectiveConfig, ...] = ()
    pursuit: Pursuit | None = None
    """Where another objective than quality leads."""
    extra: int = 0
    """Train rows that a race may read of each prompt in extra time."""


@dataclass(frozen=True, slots=True)
class Critique:
    """What a parent did on a train batch."""

    rows: tuple[Row, ...]
    mistakes: Mistakes

    @property
    def modes(self) -> tuple[FailureMode, ...]:
        return self.mistakes.modes

    def sample(self, size: int) -> list[Row]:
        """Rows to gate candidates on, in order: at least half of them failed, if so many did, and the rest in order."""
        failed = [row for row in self.rows if row.score is not None and row.score < 1][: (size + 1) // 2]
        chosen = {id(row) for row in failed}
        others = [row for row in self.rows if id(row) not in chosen][: size - len(failed)]
        chosen |= {id(row) for row in others}
        return [row for row in self.rows if id(row) in chosen]


class Round:
    def __init__(self, number: int, problem: Problem, view: View, reader: Reader, outcome: Outcome) -> None:
        self.number = number
        self.view = view
        self.outcome = outcome
        self._problem = problem
        self._settings = problem.settings
        self._reader = reader
        self._parent = self._choose_parent()
        self._partners = self._find_partners()
        self._idle = () if self._partners else (MergeProposer.name,)
        self.share = view.credit.share(self._settings.drafts, number, self._idle)
        self._focus: Focus | None = None
        self._ties: dict[str, float] = {}
        """Of equal candidates the one is preferred of which this is smaller."""

    async def run(self) -> BudgetSpent | None:
        """Fills the outcome; the error where the budget ended the round. Raises what concerns the whole run."""
        try:
            await self._event("round", of=self._settings.rounds, parent=self._parent.digest)
            critique = await self._critique()
            worth_it = critique.modes or self._problem.reviews or self._problem.pursuit
            drafts = await self._propose(critique) if worth_it else []
            candidates = await self._within_contract(drafts)
            through = await self._gate(candidates, critique)
            return await self._race(through) if through else None
        except BudgetSpent as spent:
            return spent

    def _choose_parent(self) -> Candidate:
        """From the Pareto front over validation examples; the incumbent while it is not scored.

        In pursuit of another objective than quality by that, among those that keep the allowance of quality.
        """
        chance = f"{self._settings.seed}/parent/{self.number}"
        if self._problem.pursuit is not None:
            return self._problem.pursuit.parent(self.view, chance)
        known = self.view.of("validation")
        scores = {
            digest: {example: score for example, score in known.get(digest, {}).items() if score is not None}
            for digest in self.view.pool
        }
        incumbent = self.view.incumbent
        if not scores[incumbent.digest]:
            return incumbent
        return self.view.pool[choose_parent(scores, incumbent.digest, chance)]

    async def _critique(self) -> Critique:
        """The parent on a train batch, which grows from a minibatch until its critiques hardly say anything new."""
        train, size = self._problem.dataset.train, self._problem.critique
        wanted = min(self._settings.minibatch, size)
        # Of few rows some would never come first, if each batch began where the one before might have ended.
        stride = size if len(train) >= 4 * size else wanted
        batch = [train[(self.number * stride + i) % len(train)] for i in range(size)]
        while True:
            [rows] = await self._reader.rows([self._parent.prompt], batch[:wanted], "train")
            judged = [_judged(row) for row in rows]
            seed = f"{self._settings.seed}/critique/{self.number}"
            found = mistakes(judged, self._settings.feedback_tokens, seed)
            if wanted == size or found.unseen < NOVEL:
                break
            wanted = min(2 * wanted, size)
        titles = [f"{mode.title} ({len(mode.examples)})" for mode in found.modes]
        await self._event(
            "critique",
            parent=self._parent.digest,
            score=_mean(rows),
            failure_modes=titles,
            modes=[asdict(mode) for mode in found.modes],
            rows=len(rows),
        )
        self.outcome.learned |= {row.example.id for row in rows}
        self.outcome.lessons = frozenset(self.outcome.learned) | self._failed()
        return Critique(tuple(rows), found)

    def fresh(self, incumbent: Candidate, candidates: Sequence[Candidate], known: View | Search) -> list[Example]:
        """Train rows for extra time: either all of these prompts learned from one, or none; `known` is who they are."""
        own = {one.digest: one for one in (*self.outcome.raced, *candidates)}
        pool, lessons = {**known.pool, **own}, {**known.lessons, **dict.fromkeys(own, self.outcome.lessons)}
        unequal = (unequal_lessons(pool, lessons, incumbent.digest, one.digest) for one in candidates)
        return fresh_rows(
            self._problem.dataset.train,
            set().union(*unequal),
            known.learned | self.outcome.learned,
            [one.prompt for one in (incumbent, *candidates)],
            self._problem.extra,
            lambda example: self._reader.has("train", (incumbent.digest, example)),
        )

    async def _propose(self, critique: Critique) -> list[tuple[str, Brief, Draft]]:
        """Drafts from every proposer that has a share in this round, the largest first. What one leaves of it is shared
        out again by credit: among those that are not asked yet, then among all that had something to say to the last,
        who are asked for more (and for the same again, which the journal answers).
        """
        await self._choose_focus(critique)
        made: dict[str, dict[str, Draft]] = {name: {} for name in self.share.drafts}
        briefs = {name: self._brief(critique, name) for name in made}
        wanted = {name: count for name, count in self.share.drafts.items() if count}
        silent = {*self._idle}
        self.view.credit.book(self.share)
        while wanted:
            name = max(wanted, key=lambda name: wanted[name])
            before, count = len(made[name]), wanted.pop(name)
            made[name] |= await self._drafts(name, briefs[name], before + count)
            left = before + count - len(made[name])
            asked = self._asked(name)
            asked.drafts, asked.made = before + count, len(made[name])
            if left > 0:
                silent.add(name)
                others = {other for other in made if other not in wanted} if wanted else silent
                for other, more in self.view.credit.share(left, self.number, silent | others).drafts.items():
                    if more:
                        wanted[other] = wanted.get(other, 0) + more
        return [(name, briefs[name], draft) for name, drafts in made.items() for draft in drafts.values()]

    async def _drafts(self, name: str, brief: Brief, count: int) -> dict[str, Draft]:
        """What a proposer makes of a brief, by digest; nothing where its model fails."""
        focus = None if name == MergeProposer.name else self._focus
        self._problem.log.show("proposing", number=self.number + 1, proposer=name, count=count)
        found: list[Draft] = []
        try:
            with self._reader.proposing() as account:
                found = await self._problem.proposers[name].propose(brief, count)
        except SystemicError:
            raise
        except ModelError as error:
            await self._event("proposer_failed", proposer=name, message=str(error))
        finally:
            asked = self._asked(name)
            asked.proposing = max(asked.proposing, _cost(account, found), key=lambda charge: charge.calls)
        found = found if focus is None else [focus.widened(draft) for draft in found]
        return {draft.prompt.digest: draft for draft in found}

    def _asked(self, name: str) -> Asked:
        return self.outcome.asked.setdefault(name, Asked())

    async def _choose_focus(self, critique: Critique) -> None:
        """Of a program with several prompts, choose the one that this round changes."""
        judged = [_judged(row) for row in critique.rows if (row.score or 0) < 1]
        seed = f"{self._settings.seed}/focus/{self.number}"
        self._focus = focus_on(self._parent.prompt, judged, self.number, seed)
        if self._focus is not None:
            await self._event("focus", prompt=self._focus.part, blame=dict(self._focus.blame))

    def _find_partners(self) -> tuple[Partner, ...]:
        if MergeProposer.name not in self._problem.proposers:
            return ()
        return tuple(islice(partners_of(self.view, self._parent), self._settings.drafts))

    def _brief(self, critique: Critique, name: str) -> Brief:
        """For one proposer; of a program with several prompts about the one in focus, but for a merge."""
        purpose = f"{name}/{self.number}"
        brief = Brief(
            parent=self._parent.prompt,
            modes=critique.modes,
            groups=critique.mistakes.groups if len(critique.mistakes.groups) > 1 else (),
            kept=tuple(row.example for row in critique.rows if row.score == 1),
            train=self._problem.dataset.train,
            train_text=self._problem.train_text,
            failed=self._failed(),
            reviews=self._problem.reviews,
            feedback_tokens=self._settings.feedback_tokens,
            partners=self._partners,
            wish="" if self._problem.pursuit is None else self._problem.pursuit.wish(),
            seed=int(fingerprint([self._settings.seed, purpose], length=8), 16),
        )
        return brief if self._focus is None or name == MergeProposer.name else self._focus.brief(brief)

    def _failed(self) -> frozenset[str]:
        """Train examples that the parent is known to fail; those that only extra time has read stay unseen."""
        digest, learned = self._parent.digest, self.view.learned | self.outcome.learned
        known = {**self.view.of("train").get(digest, {}), **self.outcome.read.get("train", {}).get(digest, {})}
        failed = (example for example, score in known.items() if score is not None and score < 1)
        return frozenset(example for example in failed if example in learned)

    async def _within_contract(self, drafts: Sequence[tuple[str, Brief, Draft]]) -> list[Candidate]:
        """Candidates that keep the contract, after one repair at most (invariant 6)."""
        candidates: list[Candidate] = []
        tried: set[str] = set()
        for name, brief, first in drafts:
            draft, broken = first, self._violations(first)
            if broken:
                draft, broken = await self._repair(name, brief, first, broken)
            digest = draft.prompt.digest
            if digest in self.view.seen or digest in tried:
                continue
            tried.add(digest)
            candidate = Candidate(
                draft.prompt, (self._parent.digest, *draft.parents), name, draft.rationale, draft.usage
            )
            self.outcome.tried.append(candidate)
            if broken:
                self._decide(candidate, "contract", "; ".join(broken))
            else:
                candidates.append(candidate)
        await self._event("proposed", candidates=[[c.digest, c.proposer, c.rationale] for c in candidates])
        return candidates

    async def _repair(self, name: str, brief: Brief, draft: Draft, broken: list[str]) -> tuple[Draft, list[str]]:
        focus = None if name == MergeProposer.name else self._focus
        narrowed = draft if focus is None else focus.narrowed(draft)
        repaired: Draft | None = None
        try:
            with self._reader.proposing() as account:
                repaired = await self._problem.proposers[name].repair(brief, narrowed, broken)
        except SystemicError:
            raise
        except ModelError as error:
            return draft, [*broken, f"repair failed: {error}"]
        finally:
            self._asked(name).repairs.append(_cost(account, [repaired] if repaired else []))
        if repaired is None:
            return draft, broken
        repaired = replace(repaired, usage=draft.usage + repaired.usage)
        repaired = repaired if focus is None else focus.widened(repaired)
        return repaired, self._violations(repaired)

    def _violations(self, draft: Draft) -> list[str]:
        """Broken contract, or training text that was copied instead of learned from."""
        parent = self._parent.prompt
        broken = violations(draft.prompt, parent)
        if draft.prompt.parts != parent.parts:
            broken.append(f"the headings of its prompts ({', '.join(parent.parts)}) have to stay, each once")
        copied = self._problem.train_text.copied_by(draft.prompt, parent, self._problem.seed)
        broken += [f"copies a training example: “{span}”" for span in copied[:MOST_COPIES]]
        more = len(copied) - MOST_COPIES
        return [*broken, f"copies training examples {more} times more"] if more > 0 else broken

    async def _gate(self, candidates: Sequence[Candidate], critique: Critique) -> list[Candidate]:
        """Candidates that do better than their parent on the rows that it was criticised for."""
        if not candidates:
            return []
        sample = critique.sample(min(self._settings.minibatch, self._problem.critique))
        examples = [row.example for row in sample]
        columns = await self._reader.rows([candidate.prompt for candidate in candidates], examples, "train")
        self._ties = tie_breakers(self._problem.objectives, candidates, columns)
        before = {row.example.id: row.score for row in sample}
        flawless = all(score == 1 for score in before.values())  # then nothing on these rows can be better
        through: list[tuple[float, Candidate]] = []
        pursuit = self._problem.pursuit
        for candidate, own in zip(candidates, columns, strict=True):
            if pursuit is not None:
                if (led := self._pursues(pursuit, candidate, own, sample)) is not None:
                    through.append((led, candidate))
                continue
            pairs = [
                (row.score, old) for row in own if row.score is not None and (old := before[row.example.id]) is not None
            ]
            gain = sum(new - old for new, old in pairs)
            if gain > 0 or (gain == 0 and flawless):
                through.append((gain, candidate))
                continue
            reason = f"no better than its parent on {len(pairs)} train rows"
            self._decide(candidate, "gate", reason, len(pairs), gain / max(1, len(pairs)))
        best = self._best_half(through, len(candidates), len(sample))
        await self._event("gate", through=[candidate.digest for candidate in best], of=len(candidates))
        return best

    def _pursues(
        self, pursuit: Pursuit, candidate: Candidate, rows: Sequence[Row], parent: Sequence[Row]
    ) -> float | None:
        """The gain over the parent by the objective in the lead; None, with a decision, where there is none, or where
        quality loses more than it may.
        """
        lead, led, lost = pursuit.aim.lead.name, pursuit.gain(rows, parent), pursuit.loses(rows, parent)
        if led > 0 and lost is None:
            return led
        reason = f"no better by {lead} than its parent on {len(rows)} train rows"
        if lost is not None:
            reason = (
                f"quality changes by {lost:+.3f} on {len(rows)} train rows, and {pursuit.aim.may_lose:g} may be lost"
            )
        both = [
            (new.score, old.score)
            for new, old in zip(rows, parent, strict=True)
            if new.score is not None and old.score is not None
        ]
        change = sum(new - old for new, old in both) / max(1, len(both))
        self._decide(candidate, "gate", reason, len(both), change)
        return None

    def _best_half(self, gated: Sequence[tuple[float, Candidate]], of: int, rows: int) -> list[Candidate]:
        """Of what passed, as many as half of what was gated: those that gained most, and of equals those that the
        next objective prefers (without one, the shorter).

        The first halving of the race (Karnin et al. 2013), on rows that are paid for.
        """
        ranked = sorted(gated, key=lambda one: (-one[0], self._ties[one[1].digest], one[1].digest))
        best = {candidate.digest for _, candidate in ranked[: max(1, (of + 1) // 2)]}
        for gain, candidate in gated:
            if candidate.digest not in best:
                reason = f"behind {ranked[0][1].digest[:8]} on {rows} train rows"
                if self._problem.pursuit is None:
                    self._decide(candidate, "gate", reason, rows, gain / max(1, rows))
                else:  # the gain is none of quality
                    self._decide(candidate, "gate", f"{self._problem.pursuit.aim.lead.name}: {reason}", rows)
        return [candidate for _, candidate in gated if candidate.digest in best]

    async def _race(self, candidates: Sequence[Candidate]) -> BudgetSpent | None:
        """Race against the incumbent of the view on validation rows."""
        self.outcome.raced.extend(candidates)
        by_digest = {candidate.digest: candidate for candidate in candidates}
        decisions, spent = await run_race(
            self.view.incumbent,
            candidates,
            self._problem.dataset.validation,
            self._settings.alpha,
            self._reader,
            f"{self._settings.seed}/race/{self.number}",
            {candidate.digest: self._ties[candidate.digest] for candidate in candidates},
            self.fresh(self.view.incumbent, candidates, self.view),
            self._problem.pursuit,
        )
        for decision in decisions:
            candidate = by_digest[decision.candidate]
            self.outcome.decisions.append(decision)
            if decision.outcome == "accepted":
                self.outcome.winner = candidate
        return spent

    def _decide(
        self, candidate: Candidate, stage: str, reason: str, pairs: int = 0, difference: float | None = None
    ) -> None:
        """Reject a candidate before its race."""
        self.outcome.decisions.append(
            Decision(
                candidate=candidate.digest,
                incumbent=self._parent.digest,
                stage=stage,  # type: ignore[arg-type]  # callers name one of the stages
                outcome="rejected",
                reason=reason,
                pairs=pairs,
                difference=difference,
            )
        )

    async def _event(self, kind: str, **body: object) -> None:
        await self._problem.log.event(kind, number=self.number + 1, **body)


def _judged(row: Row) -> JudgedRow:
    return JudgedRow(row.example, row.rollout, row.verdicts, row.score)


def _cost(account: Account, drafts: Sequence[Draft]) -> Charge:
    """What the ledger saw; of a model that it does not know, because it is the proposer's own, what the drafts say."""
    return account.bought if account.bought.calls else charge_of(sum((draft.usage for draft in drafts), Usage()))


def _mean(rows: Sequence[Row]) -> float | None:
    scores = [row.score for row in rows if row.score is not None]
    return sum(scores) / len(scores) if scores else None
