"""Pruning: leave out each rule and demonstration in turn, and keep what is worth its tokens.

Knows how to measure a part by leaving it out on validation rows; knows nothing about how the prompt was learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from promptlearn.contract import violations
from promptlearn.optimizer.guarding import Guarding
from promptlearn.optimizer.reading import Reader
from promptlearn.proposing.prune import Drop, drops
from promptlearn.records import Candidate, Decision, Demonstration, Effect, Example, Prompt, Rule
from promptlearn.runlog import RunLog
from promptlearn.selection.race import next_look
from promptlearn.selection.stats import Evidence, PairedTest, paired_test

PLAIN = 20.0
"""Evidence from which a part is worth keeping without a further look (see `stats.Evidence`)."""


GROUP = 8
"""Parts that are measured side by side."""


class Pruner:
    """Measures the learned parts, last learned first, each against all that is left so far.

    A part whose absence costs nothing on the validation rows goes (among equals the shorter wins). A part that is
    plainly worth keeping is measured no further; stopping there by evidence, not by the first lucky block, keeps its
    measured worth honest. Parts that were there before are measured last and stay; those that the contract needs are
    left alone.
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

    async def prune(self) -> None:
        """Measure every part. Raises BudgetSpent; `candidate` holds what was settled before."""
        parts = [drop.what for drop in drops(self.candidate.prompt)][::-1]
        parts.sort(key=lambda part: not _learned(part))
        while parts:
            group, parts = parts[:GROUP], parts[GROUP:]
            parts = await self._settle_group([drop for drop in map(self._drop, group) if drop is not None]) + parts

    async def _settle_group(self, group: Sequence[Drop]) -> list[Rule | Demonstration]:
        """Keep what is worth it and leave out the first part that is not; the other such parts have to be measured
        again without it, because one may do what the other did.
        """
        tests = await self._without(self.candidate.prompt, group)
        idle = [drop for drop, test in zip(group, tests, strict=True) if _goes(drop, test)]
        for drop, test in zip(group, tests, strict=True):
            if drop not in idle:
                await self._settle(drop, test)
        if idle:
            test = tests[group.index(idle[0])]
            now = self._drop(idle[0].what)  # the same part, left out of what has got its effects by now
            await self._settle(now or idle[0], test)
        return [drop.what for drop in idle[1:]]

    def _drop(self, part: Rule | Demonstration) -> Drop | None:
        """What is left so far without this part; None where the contract needs it."""
        drop = next(drop for drop in drops(self.candidate.prompt) if _same(drop.what, part))
        return None if violations(drop.prompt, self.candidate.prompt) else drop

    async def _without(self, prompt: Prompt, group: Sequence[Drop]) -> list[PairedTest]:
        """Prompt with each part minus prompt without it, on rows up to where the part has shown its worth."""
        pairs: list[list[tuple[float, float]]] = [[] for _ in group]
        evidence = [Evidence() for _ in group]
        start = 0
        while start < len(self._validation):
            running = [index for index, one in enumerate(evidence) if one.value < PLAIN]
            if not running:
                break
            block, start = self._validation[start : next_look(start)], next_look(start)
            prompts = [prompt, *(group[index].prompt for index in running)]
            kept, *without = await self._reader.rows(prompts, block, "validation")
            for index, dropped in zip(running, without, strict=True):
                for with_it, without_it in zip(kept, dropped, strict=True):
                    if with_it.score is not None and without_it.score is not None:
                        pairs[index].append((with_it.score, without_it.score))
                        evidence[index].add(with_it.score - without_it.score)
        return [paired_test([old for old, _ in one], [new for _, new in one]) for one in pairs]

    async def _settle(self, drop: Drop, test: PairedTest) -> None:
        current = self.candidate
        effect = Effect(test.difference, test.ci95, test.n)
        goes = _goes(drop, test)
        lost = await self._guarding.lost(current.prompt, drop.prompt, self._reader) if goes else ""
        goes = goes and not lost
        what = "rule" if isinstance(drop.what, Rule) else "demonstration"
        shorter = Candidate(drop.prompt, (current.digest,), "prune", f"without a {what}: {_shown(drop.what)}")
        decision = Decision(
            candidate=shorter.digest,
            incumbent=current.digest,
            stage="prune",
            outcome="accepted" if goes else "rejected",
            reason=lost or f"the {what} {_worth(drop, test)} on {test.n} rows",
            pairs=test.n,
            difference=-test.difference,
            p_value=test.p_value,
        )
        await self._log.candidate(shorter)
        await self._log.decision(decision)
        await self._log.event("prune", what=what, text=_shown(drop.what), dropped=goes, effect=test.difference)
        kept = replace(current, prompt=_with_effect(current.prompt, drop.what, effect))
        if not goes:
            await self._log.candidate(kept)  # the same prompt, now with what this part is worth
        self.candidate = shorter if goes else kept


def _goes(drop: Drop, test: PairedTest) -> bool:
    return _learned(drop.what) and test.n > 0 and test.difference <= 0


def _worth(drop: Drop, test: PairedTest) -> str:
    if test.n and test.difference <= 0:
        return "adds nothing" if _learned(drop.what) else "was there before and stays, though it adds nothing"
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
