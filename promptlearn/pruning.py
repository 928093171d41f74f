"""Pruning: leave out each rule and demonstration in turn, and keep what is worth its tokens.

Knows how to measure a part by leaving it out on validation rows; knows nothing about how the prompt was learned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from promptlearn.contract import violations
from promptlearn.evaluation import Row
from promptlearn.proposing.prune import Drop, drops
from promptlearn.records import Candidate, Decision, Demonstration, Effect, Example, Prompt, Rule, Split
from promptlearn.runlog import RunLog
from promptlearn.selection.race import BLOCK
from promptlearn.selection.stats import Evidence, PairedTest, paired_test

PLAIN = 20.0
"""Evidence from which a part is worth keeping without a further look (see `stats.Evidence`)."""

Rows = Callable[[Sequence[Prompt], Sequence[Example], Split], Awaitable[list[Row]]]


class Pruner:
    """Goes through the learned parts once, last learned first, each against what is left so far.

    A part whose absence costs nothing on the validation rows goes (among equals the shorter wins). A part that is
    plainly worth keeping is measured no further; stopping there by evidence, not by the first lucky block, keeps its
    measured worth honest. Parts that the user wrote, or that the contract needs, are left alone.
    """

    candidate: Candidate
    """What is left so far; what is kept carries its measured effect."""

    def __init__(self, candidate: Candidate, validation: Sequence[Example], rows: Rows, log: RunLog) -> None:
        self.candidate = candidate
        self._validation = validation
        self._rows = rows
        self._log = log

    async def prune(self) -> None:
        """Measure every learned part. Raises BudgetSpent; `candidate` holds what was settled before."""
        parts = [drop.what for drop in drops(self.candidate.prompt) if _learned(drop.what)]
        for part in reversed(parts):
            drop = next(drop for drop in drops(self.candidate.prompt) if _same(drop.what, part))
            if violations(drop.prompt, self.candidate.prompt):
                continue
            await self._settle(drop, await self._without(self.candidate.prompt, drop))

    async def _without(self, prompt: Prompt, drop: Drop) -> PairedTest:
        """Prompt with the part minus prompt without it, on rows up to where the part has shown its worth."""
        whole: list[float] = []
        less: list[float] = []
        evidence = Evidence()
        for start in range(0, len(self._validation), BLOCK):
            block = self._validation[start : start + BLOCK]
            rows = await self._rows([prompt, drop.prompt], block, "validation")
            for kept, dropped in zip(rows[: len(block)], rows[len(block) :], strict=True):
                if kept.score is not None and dropped.score is not None:
                    whole.append(kept.score)
                    less.append(dropped.score)
                    evidence.add(kept.score - dropped.score)
            if evidence.value >= PLAIN:
                break
        return paired_test(whole, less)

    async def _settle(self, drop: Drop, test: PairedTest) -> None:
        current = self.candidate
        effect = Effect(test.difference, test.ci95, test.n)
        goes = test.n > 0 and test.difference <= 0
        what = "rule" if isinstance(drop.what, Rule) else "demonstration"
        shorter = Candidate(drop.prompt, (current.digest,), "prune", f"without a {what}: {_shown(drop.what)}")
        decision = Decision(
            candidate=shorter.digest,
            incumbent=current.digest,
            stage="prune",
            outcome="accepted" if goes else "rejected",
            reason=f"the {what} {'adds nothing' if goes else 'is worth keeping'} on {test.n} rows",
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
