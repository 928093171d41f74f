"""The allowance: how the budget is shared out among rounds that are in flight at the same time.

Counts what committed decisions have read, never what happens to be under way, so that where the budget ends a search
depends on no clock (invariant 8). The ledger below knows what was really spent, and has the last word (invariant 1).

The unit is a row: a prompt on an example, judged. What is left of each cap is divided by what a row has cost so far.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, floor, inf
from typing import Literal

from promptlearn.errors import BudgetSpent
from promptlearn.ledger import Budget, Charge
from promptlearn.records import ROLES, Role, Usage

MARGIN = 1.5
"""A grant, as a multiple of what rounds have used on average."""
DEARER = 1.5
"""What a row of the test split may cost, as a multiple of the average row: learned prompts are longer."""


@dataclass(frozen=True, slots=True)
class Spending:
    """What decisions have read so far."""

    rows: int = 0
    rounds: int = 0
    charges: Mapping[Role, Charge] = field(default_factory=dict)

    def __add__(self, other: Spending) -> Spending:
        charges = {role: self.of(role) + other.of(role) for role in ROLES}
        return Spending(self.rows + other.rows, self.rounds + other.rounds, charges)

    def of(self, role: Role) -> Charge:
        return self.charges.get(role, Charge(0))


NOTHING = Spending()


def charge_of(usage: Usage) -> Charge:
    """What a row's records say it cost, whether it was paid for now or found in the journal."""
    return Charge(usage.calls + usage.cached_calls, usage.input_tokens + usage.output_tokens, usage.cost_usd)


@dataclass(frozen=True, slots=True)
class Cap:
    """One cap of a budget, and how to read what counts against it."""

    name: str
    value: float
    roles: tuple[Role, ...]
    unit: Literal["calls", "tokens", "usd"]
    least: float = 0
    """What a row costs at least."""

    def rows_left(self, spending: Spending, kept: int, rounds: int, spare: float) -> float:
        """Rows that fit, when `kept` rows and the proposals of `rounds` rounds are held back; inf where nobody can tell
        yet what a row costs.
        """
        per_row = self.per_row(spending)
        if not per_row:
            return inf
        per_round = self._spent(spending, ("meta",)) / spending.rounds if spending.rounds else 0
        left = self.value * (1 - spare) - self.spent(spending) - per_round * rounds
        return floor(left / per_row) - self.dearer(kept)

    def spent(self, spending: Spending) -> float:
        """What counts against this cap by now."""
        return self._spent(spending, ROLES)

    def per_row(self, spending: Spending) -> float:
        """What a row costs by what is known; 0 where nobody can tell yet."""
        of_rows = self._spent(spending, ("task", "judge"))
        return max(self.least, of_rows / spending.rows if spending.rows else 0)

    def dearer(self, kept: int) -> int:
        """Rows of the test split, in rows of what rows have cost so far."""
        return kept if self.unit == "calls" else ceil(DEARER * kept)

    def amount(self, value: float) -> str:
        """So much of this cap, in words; rounded up, so that what is asked for is enough."""
        return f"{ceil(value * 10_000) / 10_000:g}" if self.unit == "usd" else f"{ceil(value - 1e-9)}"

    def _spent(self, spending: Spending, roles: Sequence[Role]) -> float:
        return sum(getattr(spending.of(role), self.unit) or 0 for role in roles if role in self.roles)


def caps(budget: Budget, llm_judges: int) -> list[Cap]:
    """The caps of a budget that rows count against."""
    found = [
        Cap("calls", budget.calls, ROLES, "calls", 1 + llm_judges) if budget.calls else None,
        Cap("task_calls", budget.task_calls, ("task",), "calls", 1) if budget.task_calls else None,
        Cap("judge_calls", budget.judge_calls, ("judge",), "calls", llm_judges) if budget.judge_calls else None,
        Cap("tokens", budget.tokens, ROLES, "tokens") if budget.tokens else None,
        Cap("usd", budget.usd, ROLES, "usd") if budget.usd else None,
    ]
    for role in ("task", "judge"):
        own = budget.roles.get(role)
        found.append(Cap(f"roles.{role}.tokens", own.tokens, (role,), "tokens") if own and own.tokens else None)
        found.append(Cap(f"roles.{role}.usd", own.usd, (role,), "usd") if own and own.usd else None)
    return [cap for cap in found if cap is not None]


def spare_rows(budget: Budget, llm_judges: int, spare: float) -> int | None:
    """Rows that the spare part of the call caps pays for; None where calls have no cap."""
    known = [cap.value * spare / cap.least for cap in caps(budget, llm_judges) if cap.least]
    return floor(min(known)) if known else None


@dataclass(slots=True)
class Grant:
    """What one round may use, and what it has used."""

    rows: float
    used: Spending = field(default_factory=Spending)
    resting: bool = False
    """The round is through, or waits for its turn to ask for more: what it has used stays as it is."""


class Allowance:
    """Grants rows to rounds, in the order of the rounds.

    A round that needs more than it was granted waits until it is the oldest in flight; then it may use what nobody was
    granted, and once the younger ones rest, what they have left. What several rounds read together, which is the
    incumbent's rows, is held back once for all of them (`share`). `kept` rows, those of the test split, are never
    granted. Nor is the `spare` part of every cap: it pays for rows that ran ahead in vain, second copies of slow calls
    and failed attempts, none of which may decide where a search ends.
    """

    def __init__(self, budget: Budget, llm_judges: int, kept: int, spare: float, judged_again: int = 0) -> None:
        """`judged_again` rows of the test split are kept back once more for judges, to measure their noise."""
        self._caps = caps(budget, llm_judges)
        self._llm_judges = llm_judges
        self._spare = spare
        self._kept = kept
        self._judged_again = judged_again
        self._committed = Spending()
        self._open: dict[int, Grant] = {}
        self._shared = 0
        self._changed = asyncio.Event()

    def share(self, rows: int) -> None:
        """Hold back so many rows that rounds in flight may read and that count for none of them."""
        self._shared = rows

    def widen(self, budget: Budget) -> None:
        """Go on with higher caps."""
        self._caps = caps(budget, self._llm_judges)
        self._change()

    def open(self, number: int, least: int, most: int) -> bool:
        """Grant a round what it may need: halfway between `least` and `most` rows, or from the first commit on what
        rounds have used on average and half as much again. False while that is not left and other rounds are in flight.

        A round on its own gets what is left. Raises BudgetSpent where that is less than half of what a round needs,
        because its race would hardly be decided; but the first round takes what there is.
        """
        left = self._left(NOTHING, sum(grant.rows for grant in self._open.values()), len(self._open))
        unknown = left == inf and bool(self._caps)  # until a first round has shown what a row costs
        rounds = self._committed.rounds
        usual = MARGIN * self._committed.rows / rounds if rounds else (least + most) / 2
        needed = min(most, max(least, usual))
        if self._open and (unknown or left < needed):
            return False
        if number and needed and 2 * left < needed:
            raise BudgetSpent(self._message(ceil(needed), NOTHING))
        self._open[number] = Grant(0.0 if unknown else max(0.0, min(needed, left)))
        return True

    def part(self, share: float, least: int, most: int) -> int:
        """Rows that a share of the call caps pays for, within these bounds; `most` where calls have no cap."""
        known = [cap.value * share / cap.least for cap in self._caps if cap.least]
        return min(most, max(least, floor(min(known, default=most))))

    async def take(self, number: int, rows: int) -> None:
        """Let a round read `rows` more rows. Raises BudgetSpent where they do not fit."""
        grant = self._open[number]
        if not self._caps or grant.used.rows + rows <= grant.rows:
            return
        grant.resting = True
        self._change()
        await self._until(lambda: number == min(self._open))
        others = [other for key, other in self._open.items() if key != number]
        if rows > self._left(grant.used, sum(other.rows for other in others), len(others)):
            await self._until(lambda: all(other.resting for other in others))
            theirs = sum(other.used.rows for other in others)
            if rows > self._left(grant.used, theirs, 0):
                raise BudgetSpent(self._message(rows, grant.used, theirs))
        grant.resting = False

    def room(self, number: int) -> float:
        """Rows that fit a round which is alone in flight; inf where nothing bounds them."""
        return self._left(self._open[number].used, 0, 0)

    def shortage(self, number: int, rows: int) -> str:
        """Why so many rows do not fit that round, in words."""
        return self._message(rows, self._open[number].used)

    def too_small(self, rows: int) -> tuple[str, float, str] | None:
        """The cap that does not hold so many rows: its name, the least value that would, and why, in words; None where
        all of them do.
        """
        if rows <= self._left(NOTHING, 0, 0):
            return None
        cap = self._tightest(NOTHING)
        return cap.name, self._enough(cap, rows, NOTHING, 0), self._sum(cap, NOTHING, 0)

    def use(self, number: int, spending: Spending) -> None:
        """Count what a round has read."""
        self._open[number].used += spending

    def rest(self, number: int) -> None:
        """A round is through and will ask for nothing more."""
        self._open[number].resting = True
        self._change()

    def close(self, number: int, spending: Spending) -> None:
        """A round is committed: `spending` comes on top of what rounds before it spent, and its grant is free again."""
        del self._open[number]
        self._committed += spending + Spending(rounds=1)
        self._change()

    def kept(self, role: Role) -> Charge:
        """What the rows that are kept back may cost, by what rows have cost so far."""
        rows = self._committed.rows
        if not rows:
            return Charge(0)
        spent, share = self._committed.of(role), self._rows_kept((role,)) / rows
        usd = None if spent.usd is None else DEARER * share * spent.usd
        return Charge(ceil(share * spent.calls), ceil(DEARER * share * spent.tokens), usd)

    def _left(self, used: Spending, others: float, rounds: int) -> float:
        spending = self._committed + used
        return min((self._rows_left(cap, spending, rounds) for cap in self._caps), default=inf) - others - self._shared

    def _rows_left(self, cap: Cap, spending: Spending, rounds: int) -> float:
        return cap.rows_left(spending, self._rows_kept(cap.roles), rounds, self._spare)

    def _rows_kept(self, roles: Sequence[Role]) -> int:
        return self._kept + (self._judged_again if "judge" in roles else 0)

    def _tightest(self, used: Spending) -> Cap:
        return min(self._caps, key=lambda cap: self._rows_left(cap, self._committed + used, 0))

    def _enough(self, cap: Cap, rows: int, used: Spending, others: float) -> float:
        """The least value of a cap that holds so many rows more."""
        spending = self._committed + used
        held = cap.dearer(self._rows_kept(cap.roles)) + self._shared + others
        return (cap.spent(spending) + (rows + held) * cap.per_row(spending)) / (1 - self._spare)

    def _sum(self, cap: Cap, used: Spending, others: float) -> str:
        """Where a cap goes, in words; what they leave of it is left for the search."""
        spending = self._committed + used
        spent, per_row = cap.spent(spending), cap.per_row(spending)
        spare = cap.value * (1 - self._spare)
        held = {
            "for the test split": cap.dearer(self._rows_kept(cap.roles)) * per_row,
            "for speed (search.spare)": cap.value - (spare if cap.unit == "usd" else floor(spare)),
            "for the incumbent's validation rows": self._shared * per_row,
            "for other rounds": others * per_row,
        }
        parts = [f"{cap.amount(amount)} {what}" for what, amount in held.items() if amount]
        words = [f"{cap.amount(spent)} spent"] if spent else []
        return ", ".join([*words, *(["held back are " + ", ".join(parts)] if parts else [])])

    def _message(self, rows: int, used: Spending, others: float = 0) -> str:
        cap = self._tightest(used)
        per_row = cap.per_row(self._committed + used)
        left = max(0, self._left(used, others, 0))
        why = self._sum(cap, used, others)
        return (
            f"the next step needs {_rows(cap, rows, per_row)}, and budget.{cap.name} = {cap.amount(cap.value)} has "
            f"{cap.amount(left * per_row)} left for the search{f' ({why})' if why else ''}; raise it to at least "
            f"{cap.amount(self._enough(cap, rows, used, others))} and run the same command again"
        )

    async def _until(self, true: Callable[[], bool]) -> None:
        while not true():
            await self._changed.wait()

    def _change(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def _rows(cap: Cap, rows: int, per_row: float) -> str:
    """So many rows, and what they take of a cap where that is another number."""
    return f"{rows} rows" if per_row == 1 else f"{rows} rows ({cap.amount(rows * per_row)} of it)"
