"""Choosing by several objectives among what a search has found, before the test split is read.

The search climbs by the first objective; here the others have their say, on validation rows that a few promising
prompts are run on to the end. Knows rows and boards; how prompts came about does not matter.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptlearn.config import ObjectiveConfig
from promptlearn.errors import BudgetSpent
from promptlearn.evaluation import Evaluator, Key, Row, Want
from promptlearn.objectives import boards_of
from promptlearn.optimizer.guarding import Guarding
from promptlearn.optimizer.reading import Reader
from promptlearn.optimizer.state import Search
from promptlearn.records import Candidate, Decision, Example, Prompt, Split
from promptlearn.runlog import RunLog
from promptlearn.selection.objectives import Board, choose, compare, mean

FINALISTS = 3
"""Prompts that are run on the validation rows they lack, at most."""


class Known:
    """Reads what another optimizer's search has run, and nothing else."""

    def __init__(self, search: Search, evaluator: Evaluator) -> None:
        self._search = search
        self._evaluator = evaluator

    def has(self, split: Split, key: Key) -> bool:
        return self._search.knows(split, key)

    async def rows(self, prompts: Sequence[Prompt], examples: Sequence[Example], split: Split) -> list[list[Row]]:
        """As `Reader.rows`."""
        wants = [Want(prompt, example, split) for prompt in prompts for example in examples]
        rows = await self._evaluator.rows(wants)
        return [rows[start : start + len(examples)] for start in range(0, len(rows), len(examples))]


class Chooser:
    """Puts the prompt that the objectives prefer into the incumbent's place."""

    def __init__(
        self,
        search: Search,
        baseline: Candidate,
        objectives: Sequence[ObjectiveConfig],
        validation: Sequence[Example],
        reader: Reader | Known,
        guarding: Guarding | None,
        log: RunLog,
    ) -> None:
        self._search = search
        self._baseline = baseline
        self._objectives = objectives
        self._validation = validation
        self._reader = reader
        self._guarding = guarding
        self._log = log

    async def choose(self, spend: bool = True) -> None:
        """Decide; `spend`: on rows that are missing too. Raises what reading rows and asking guards raises."""
        incumbent = self._search.incumbent
        pool = {**self._search.pool, self._baseline.digest: self._baseline, incumbent.digest: incumbent}
        if spend:
            try:
                await self._complete(pool)
            except BudgetSpent as spent:  # then among those that ran on every row
                await self._log.event("budget", message=str(spent))
        boards = await self._boards([one for one in pool.values() if self._unread(one) == 0], self._validation)
        while {incumbent.digest, self._baseline.digest} <= boards.keys():
            found = choose(boards, self._objectives, incumbent.digest, self._baseline.digest)
            if found is None or found == incumbent.digest:
                return
            lost = await self._lost(pool[found])
            await self._decide(pool[found], boards, lost)
            if not lost:
                self._search.incumbent = pool[found]
                return
            del boards[found]

    async def _lost(self, chosen: Candidate) -> str:
        """The guards that stand in its way, in words."""
        if self._guarding is None or not isinstance(self._reader, Reader):
            return ""
        return await self._guarding.lost(self._search.incumbent.prompt, chosen.prompt, self._reader)

    async def _complete(self, pool: Mapping[str, Candidate]) -> None:
        """Run the baseline, the incumbent and the most promising others on all validation rows."""
        first = [self._baseline, self._search.incumbent]
        others = [await self._promise(one) for one in pool.values() if self._unread(one)]
        best = sorted((one for one in others if one is not None), key=lambda one: (-one[0], one[1].digest))
        for one in [*first, *(candidate for _, candidate in best[:FINALISTS])]:
            await self._reader.rows([one.prompt], self._validation, "validation")

    async def _promise(self, one: Candidate) -> tuple[float, Candidate] | None:
        """By how much of itself the first objective that is not quality would get better, on the rows run so far; None
        where quality seems to suffer more than it may, or nothing gets better.
        """
        shared = [example for example in self._validation if self._has(one, example)]
        shared = [example for example in shared if self._has(self._search.incumbent, example)]
        boards = await self._boards([one, self._search.incumbent], shared)
        mine, theirs = boards.get(one.digest, {}), boards.get(self._search.incumbent.digest, {})
        gain: float | None = None
        for objective in self._objectives:
            test = compare(objective, mine.get(objective.name, {}), theirs.get(objective.name, {}))
            if test is None:
                continue
            change = objective.sign * test.difference
            if objective.name == "quality":
                if change < -(objective.may_lose or 0.0):
                    return None
            elif gain is None:
                gain = change / (abs(mean(objective.name, theirs[objective.name].values()) or 0.0) or 1.0)
        return (gain, one) if gain is not None and gain > 0 else None

    async def _boards(self, candidates: Sequence[Candidate], examples: Sequence[Example]) -> dict[str, Board]:
        if not candidates or not examples:
            return {}
        columns = await self._reader.rows([one.prompt for one in candidates], examples, "validation")
        return boards_of(self._objectives, {one.digest: rows for one, rows in zip(candidates, columns, strict=True)})

    async def _decide(self, chosen: Candidate, boards: Mapping[str, Board], lost: str) -> None:
        incumbent = self._search.incumbent
        mine, theirs = boards[chosen.digest], boards[incumbent.digest]
        said = []
        quality = None
        for objective in self._objectives:
            test = compare(objective, mine[objective.name], theirs[objective.name])
            if objective.name == "quality":
                quality = test
            if test is not None:
                now, before = (mean(objective.name, board[objective.name].values()) for board in (mine, theirs))
                said.append(f"{objective.name} {_shown(before)} → {_shown(now)}")
        decision = Decision(
            candidate=chosen.digest,
            incumbent=incumbent.digest,
            stage="objective",
            outcome="rejected" if lost else "accepted",
            reason=lost or f"preferred by the objectives: {', '.join(said)}",
            pairs=quality.n if quality else 0,
            difference=quality.difference if quality else None,
            ci95=quality.ci95 if quality else None,
            p_value=quality.p_value if quality else None,
        )
        await self._log.candidate(chosen)
        await self._log.decision(decision)

    def _has(self, candidate: Candidate, example: Example) -> bool:
        return self._reader.has("validation", (candidate.digest, example.id))

    def _unread(self, candidate: Candidate) -> int:
        return sum(not self._has(candidate, example) for example in self._validation)


def _shown(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4g}"
