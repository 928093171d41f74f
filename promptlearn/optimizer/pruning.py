"""Pruning: leave out each rule and demonstration in turn, and keep what is worth its tokens.

Knows how to measure a part by leaving it out on validation rows; knows nothing about how the prompt was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from promptlearn.contract import violations
from promptlearn.errors import BudgetSpent
from promptlearn.optimizer.guarding import Guarding
from promptlearn.optimizer.reading import Reader
from promptlearn.proposing.prune import Drop, drops
from promptlearn.records import Candidate, Decision, Demonstration, Effect, Example, Interval, Prompt, Rule
from promptlearn.runlog import RunLog
from promptlearn.selection.race import next_look
from promptlearn.selection.stats import Evidence, PairedTest, paired_test

PLAIN = 20.0
"""Evidence from which a part is worth keeping without a further look (see `stats.Evidence`)."""


GROUP = 8
"""Parts that are measured side by side."""


@dataclass(frozen=True, slots=True)
class Measured:
    """A part, and what the prompt without it did."""

    drop: Drop
    test: PairedTest
    """Prompt with the part minus prompt without it."""
    settled: bool
    """Whether it ran on all rows, or as far as the part has plainly shown its worth."""
    failed: Sequence[float] = ()
    """What the prompt with the part scores on each row that only the one without it failed on."""

    @property
    def idle(self) -> bool:
        return self.settled and _learned(self.drop.what) and self.test.n > 0 and not self.adds

    @property
    def adds(self) -> bool:
        """Whether it is better to have it; rows that fail without it count as lost, as in the proof."""
        return round(self.test.difference * self.test.n + sum(self.failed), 9) > 0


class Pruner:
    """Measures the learned parts, last learned first, each against all that is left so far.

    A part whose absence costs nothing on the validation rows goes (among equals the shorter wins); a row that fails
    without it, and not with it, costs what it scored. A part that is plainly worth keeping is measured no further;
    stopping there by evidence, not by the first lucky block, keeps its measured worth honest. Parts that were there
    before are measured last and stay; those that the contract needs are left alone. Where the budget holds fewer rows,
    as many parts are measured as fit, and none goes that could not be measured to the end.
    """

    candidate: Candidate
    """What is left so far; what is kept carries its measured effect."""

    def __init__(
        self, candidate: Candidate, validation: Sequence[Example], reader: Reader, log: RunLog, guarding: Guarding
    ) -> None:
        self.candidate = candidate
        self._validation = validation
        self._reader = reader
        self._log = log
        self._guarding = guarding
        self._spent = False
        self._why = ""
        """What keeps parts from being measured."""
        self.measured = self._unsettled = self._unmeasured = 0
        """Parts: measured at all, of these not to the end, and not at all."""

    async def prune(self) -> None:
        """Measure every part that the budget holds."""
        parts = [drop.what for drop in drops(self.candidate.prompt)][::-1]
        parts.sort(key=lambda part: not _learned(part))
        while parts and not self._spent:
            group = [drop for drop in map(self._drop, parts[:GROUP]) if drop is not None]
            measured = await self._measure(self.candidate.prompt, group)
            if group and not measured:
                break
            left = [drop.what for drop in group[len(measured) :]]
            parts = await self._settle_group(measured) + left + parts[GROUP:]
        self._unmeasured = sum(self._drop(part) is not None for part in parts)

    @property
    def shortfall(self) -> str:
        """What could not be measured, and why, in one line; empty where everything was."""
        if not self._why or not self._unsettled + self._unmeasured:
            return ""
        parts = self.measured + self._unmeasured
        if not self._unmeasured:
            return f"{self._unsettled} of {parts} parts were not measured to the end: {self._why}"
        further = f", and {self._unsettled} not to the end" if self._unsettled else ""
        return f"{self._unmeasured} of {parts} parts were not measured{further}: {self._why}"

    async def _settle_group(self, group: Sequence[Measured]) -> list[Rule | Demonstration]:
        """Keep what is worth it and leave out the first part that is not; the other such parts have to be measured
        again without it, because one may do what the other did.
        """
        idle = [one for one in group if one.idle]
        for one in group:
            if not one.idle:
                await self._settle(one)
        if idle:
            now = self._drop(idle[0].drop.what)  # the same part, left out of what has got its effects by now
            await self._settle(replace(idle[0], drop=now or idle[0].drop))
        return [one.drop.what for one in idle[1:]]

    def _drop(self, part: Rule | Demonstration) -> Drop | None:
        """What is left so far without this part; None where the contract needs it."""
        drop = next(drop for drop in drops(self.candidate.prompt) if _same(drop.what, part))
        return None if violations(drop.prompt, self.candidate.prompt) else drop

    async def _measure(self, prompt: Prompt, group: Sequence[Drop]) -> list[Measured]:
        """The first of these parts, as many as the budget holds, on rows up to where each has shown its worth."""
        pairs: list[list[tuple[float, float]]] = [[] for _ in group]
        evidence = [Evidence() for _ in group]
        failed: list[list[float]] = [[] for _ in group]
        ends = [0] * len(group)
        running, start = [*range(len(group))], 0
        while start < len(self._validation):
            block = self._validation[start : next_look(start)]
            running = self._fitting(prompt, group, [at for at in running if evidence[at].value < PLAIN], block)
            if not running:
                break
            prompts = [prompt, *(group[at].prompt for at in running)]
            try:
                kept, *without = await self._reader.rows(prompts, block, "validation")
            except BudgetSpent as spent:
                self._spent, self._why = True, str(spent)
                break
            start = next_look(start)
            for at, dropped in zip(running, without, strict=True):
                ends[at] = start
                for with_it, without_it in zip(kept, dropped, strict=True):
                    if with_it.score is None:
                        continue
                    if without_it.score is None:
                        failed[at].append(with_it.score)
                        continue
                    pairs[at].append((with_it.score, without_it.score))
                    evidence[at].add(with_it.score - without_it.score)
        tests = [paired_test([old for old, _ in one], [new for _, new in one]) for one in pairs]
        return [
            Measured(drop, test, end >= len(self._validation) or shown.value >= PLAIN, lost)
            for drop, test, end, shown, lost in zip(group, tests, ends, evidence, failed, strict=True)
            if end
        ]

    def _fitting(
        self, prompt: Prompt, group: Sequence[Drop], running: Sequence[int], block: Sequence[Example]
    ) -> list[int]:
        """The first of these parts, as many as the budget holds on these rows."""
        for count in range(len(running), 0, -1):
            prompts = [prompt, *(group[at].prompt for at in running[:count])]
            rows = self._reader.unpaid(prompts, block, "validation") + 2 * self._guarding.examples  # read last of all
            if self._reader.fits(rows):
                return [*running[:count]]
            self._why = self._reader.shortage(rows)
        return []

    async def _settle(self, one: Measured) -> None:
        current, drop, test = self.candidate, one.drop, one.test
        self.measured += 1
        self._unsettled += not one.settled
        effect = Effect(test.difference, test.ci95, test.n)
        lost = await self._lost(drop) if one.idle else ""
        goes = one.idle and not lost
        what = "rule" if isinstance(drop.what, Rule) else "demonstration"
        shorter = Candidate(drop.prompt, (current.digest,), "prune", f"without a {what}: {_shown(drop.what)}")
        decision = Decision(
            candidate=shorter.digest,
            incumbent=current.digest,
            stage="prune",
            outcome="accepted" if goes else "rejected",
            reason=lost or f"the {what} {_worth(one)} on {test.n} rows",
            pairs=test.n,
            difference=-test.difference,
            ci95=Interval(-test.ci95.high, -test.ci95.low),
            p_value=test.p_value,
        )
        await self._log.candidate(shorter)
        await self._log.decision(decision)
        await self._log.event("prune", what=what, text=_shown(drop.what), dropped=goes, effect=test.difference)
        kept = replace(current, prompt=_with_effect(current.prompt, drop.what, effect))
        if not goes:
            await self._log.candidate(kept)  # the same prompt, now with what this part is worth
        self.candidate = shorter if goes else kept

    async def _lost(self, drop: Drop) -> str:
        """The guards that stand in the way of leaving a part out, in words; nothing goes where nobody can tell."""
        try:
            return await self._guarding.lost(self.candidate.prompt, drop.prompt, self._reader, strict=True)
        except BudgetSpent:
            return "no budget is left to read its guards"


def _worth(one: Measured) -> str:
    if one.test.n and one.test.difference <= 0:
        if one.adds:
            return f"stays, because {len(one.failed)} rows fail without it, and adds nothing"
        if not one.settled:
            return "stays, because the budget held no more than what shows nothing"
        return "adds nothing" if _learned(one.drop.what) else "was there before and stays, though it adds nothing"
    return "is worth keeping"


def _learned(part: Rule | Demonstration) -> bool:
    return bool(part.sources if isinstance(part, Rule) else part.source)


def _same(one: Rule | Demonstration, other: Rule | Demonstration) -> bool:
    """Equal but for what was measured."""
    return replace(one, effect=None) == replace(other, effect=None)


def _with_effect(prompt: Prompt, part: Rule | Demonstration, effect: Effect) -> Prompt:
    if isinstance(part, Rule):
        rules = tuple(replace(rule, effect=effect) if _same(rule, part) else rule for rule in prompt.rules)
        return replace(prompt, rules=rules)
    demos = tuple(replace(demo, effect=effect) if _same(demo, part) else demo for demo in prompt.demonstrations)
    return replace(prompt, demonstrations=demos)


def _shown(part: Rule | Demonstration) -> str:
    if isinstance(part, Rule):
        return part.text
    return f"{' / '.join(str(value) for value in part.inputs.values())} → {part.output}"
