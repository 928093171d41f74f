"""Reading rows on behalf of a decision: within its allowance, through the pool, and noted for what comes after."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from math import ceil

from promptlearn.evaluation import Ahead, Evaluator, Key, Row, Want
from promptlearn.ledger import Account, Ledger
from promptlearn.optimizer.allowance import Allowance, Spending, charge_of
from promptlearn.optimizer.state import Outcome
from promptlearn.records import Example, Prompt, Role, Split
from promptlearn.scheduler import Rank


class Reader:
    """Reads rows for one round; `known` says which of them are paid for by rounds before it."""

    def __init__(
        self,
        evaluator: Evaluator,
        ledger: Ledger,
        allowance: Allowance,
        number: int,
        known: Callable[[Split, Key], bool],
        outcome: Outcome,
        shared: str = "",
    ) -> None:
        """`shared` is the digest of a prompt whose validation rows rounds read together: they count for none."""
        self._evaluator = evaluator
        self._ledger = ledger
        self._allowance = allowance
        self._number = number
        self._known = known
        self._outcome = outcome
        self._shared = shared

    async def rows(self, prompts: Sequence[Prompt], examples: Sequence[Example], split: Split) -> list[list[Row]]:
        """One list of rows per prompt, in the order of the examples. Raises as `Evaluator.rows`, and BudgetSpent before
        anything is begun that the allowance does not hold.
        """
        wants = [Want(prompt, example, split) for example in examples for prompt in prompts]
        new = {want.key for want in wants if not self.has(split, want.key)}
        shared = {key for key in new if split == "validation" and key[0] == self._shared}
        await self._allowance.take(self._number, len(new - shared))
        rows = await self._evaluator.rows(wants, Rank(round=self._number))
        for row in rows:
            self._outcome.note(row, split)
            key = row.rollout.prompt, row.example.id
            if key in new:
                self._outcome.costs[split, key] = _cost(row)
                if key not in shared:
                    self._allowance.use(self._number, self._outcome.costs[split, key])
        return [rows[index :: len(prompts)] for index in range(len(prompts))]

    def unpaid(self, prompts: Sequence[Prompt], examples: Sequence[Example], split: Split) -> int:
        """How many of these rows nobody has paid for yet."""
        keys = {(prompt.digest, example.id) for prompt in prompts for example in examples}
        return sum(not self.has(split, key) for key in keys)

    def fits(self, rows: int) -> bool:
        """Whether the allowance holds so many rows more, for one that is alone in flight."""
        return rows <= self._allowance.room(self._number)

    def shortage(self, rows: int) -> str:
        return self._allowance.shortage(self._number, rows)

    def earned(self, gains: Mapping[str, float]) -> None:
        """Note by how much a race in pursuit of another objective than quality saw each candidate gain."""
        self._outcome.gains = {**(self._outcome.gains or {}), **gains}

    def proposing(self) -> AbstractContextManager[Account]:
        """Count what proposals cost that are made in this block, whatever comes of them."""
        return self._counting("meta")

    def judging(self) -> AbstractContextManager[Account]:
        """Count what judgements cost that are made in this block, beside those of rows."""
        return self._counting("judge")

    @contextmanager
    def _counting(self, role: Role) -> Iterator[Account]:
        with self._ledger.watch() as account:
            try:
                yield account
            finally:
                cost = Spending(charges={role: account.bought})
                self._outcome.proposing += cost
                self._allowance.use(self._number, cost)

    def ahead(self) -> Ahead:
        return self._evaluator.ahead(Rank(round=self._number))

    def reach(self, prompts: int) -> int:
        """Examples that are worth running ahead with so many prompts: enough for every slot, twice."""
        return ceil(2 * self._evaluator.width / max(1, prompts))

    def has(self, split: Split, key: Key) -> bool:
        """Whether a decision has read this row, so that it costs nothing more."""
        own = self._outcome.read.get(split, {}).get(key[0], {})
        return key[1] in own or self._known(split, key)


def _cost(row: Row) -> Spending:
    return Spending(1, charges={"task": charge_of(row.rollout.usage), "judge": charge_of(row.judging)})
