"""The ledger: what a run has spent, what it may spend, and what is promised to calls in flight (invariant 1).

Knows nothing about models. A call reserves its upper bound, runs, and settles for what it really cost. A reservation
that does not fit waits until calls in flight have settled; when it does not fit even then, the budget is spent.

Replies that the journal answers are charged like paid ones, so that a run which is resumed or repeated stops where
the first one did; `usage` counts them apart, as cached.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from promptlearn.errors import BudgetSpent
from promptlearn.records import ROLES, Role, Usage


@dataclass(frozen=True, slots=True)
class Budget:
    """Caps; None is no cap. `calls` counts every role, `task_calls` and its like one role each."""

    usd: float | None = None
    tokens: int | None = None
    """Input and output tokens together."""
    calls: int | None = None
    task_calls: int | None = None
    judge_calls: int | None = None
    meta_calls: int | None = None
    minutes: float | None = None


@dataclass(frozen=True, slots=True)
class Charge:
    """What one call may cost at most, or did cost."""

    calls: int = 1
    tokens: int = 0
    usd: float | None = 0.0

    def __add__(self, other: Charge) -> Charge:
        return Charge(self.calls + other.calls, self.tokens + other.tokens, (self.usd or 0.0) + (other.usd or 0.0))

    def __sub__(self, other: Charge) -> Charge:
        return Charge(self.calls - other.calls, self.tokens - other.tokens, (self.usd or 0.0) - (other.usd or 0.0))


NOTHING = Charge(0, 0, 0.0)


@dataclass(slots=True)
class Account:
    """One role's side of the ledger."""

    spent: Charge = NOTHING
    reserved: Charge = NOTHING
    usage: Usage = Usage()


@dataclass(frozen=True, slots=True)
class Reservation:
    role: Role
    charge: Charge


@dataclass(slots=True)
class Ledger:
    """One per run, shared by all roles. `clock` gives seconds; `minutes_before` was spent by earlier attempts."""

    budget: Budget = field(default_factory=Budget)
    clock: Callable[[], float] = time.monotonic
    minutes_before: float = 0.0
    _accounts: dict[Role, Account] = field(default_factory=lambda: {role: Account() for role in ROLES})
    _held: dict[Role, Charge] = field(default_factory=lambda: dict.fromkeys(ROLES, NOTHING))
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque)
    _woken: int = 0
    _started: float = 0.0
    _proving: bool = False

    def __post_init__(self) -> None:
        self._started = self.clock()

    @property
    def minutes(self) -> float:
        return self.minutes_before + (self.clock() - self._started) / 60

    def usage(self, role: Role) -> Usage:
        return self._accounts[role].usage

    def spent(self, role: Role) -> Charge:
        return self._accounts[role].spent

    def hold(self, role: Role, charge: Charge) -> None:
        """Keep `charge` back for later calls (the test read), until `release`."""
        self._held[role] = self._held[role] + charge

    def release(self) -> None:
        """Free everything that was held back, for the proof; minutes end a search, not its proof."""
        self._proving = True
        self._held = dict.fromkeys(ROLES, NOTHING)

    def affordable_calls(self, role: Role) -> int | None:
        """How many more calls of `role` the call caps allow; None where there is none."""
        caps = [
            cap - self._total(only).calls
            for only, cap in ((role, self._call_cap(role)), (None, self.budget.calls))
            if cap is not None
        ]
        return max(0, min(caps)) if caps else None

    async def reserve(self, role: Role, charge: Charge) -> Reservation:
        """Promise `charge` to a call. First come, first served, so that the order of requests decides, not latency.

        Raises BudgetSpent when it would not fit even if every call in flight cost nothing more than it has.
        """
        if self._waiting or self._woken:
            await self._wait()
        while (exceeded := self._exceeded(role, charge)) is not None:
            if self._total(None, reserved_only=True).calls == 0 or exceeded == "minutes":
                self._wake()
                raise BudgetSpent(self._message(exceeded))
            await self._wait(front=True)
        account = self._accounts[role]
        account.reserved = account.reserved + charge
        self._wake()
        return Reservation(role, charge)

    def settle(self, reservation: Reservation, usage: Usage, cached: bool = False) -> None:
        """Replace a promise by what the call cost. `usage.calls` may exceed one where attempts were paid for twice."""
        account = self._accounts[reservation.role]
        account.reserved = account.reserved - reservation.charge
        tokens = usage.input_tokens + usage.output_tokens
        account.spent = account.spent + Charge(usage.calls, tokens, usage.cost_usd)
        if cached:
            usage = Usage(cached_calls=usage.calls)
        account.usage = account.usage + usage
        self._wake()

    def forfeit(self, reservation: Reservation) -> None:
        """The call failed, and may have been billed: what was promised to it counts as spent."""
        account = self._accounts[reservation.role]
        account.reserved = account.reserved - reservation.charge
        account.spent = account.spent + reservation.charge
        account.usage = account.usage + Usage(calls=1, cost_usd=reservation.charge.usd)
        self._wake()

    def cancel(self, reservation: Reservation) -> None:
        """Take back a promise to a call that cost nothing."""
        account = self._accounts[reservation.role]
        account.reserved = account.reserved - reservation.charge
        self._wake()

    async def _wait(self, front: bool = False) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if front:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._waiting:
                self._waiting.remove(turn)
            else:
                self._woken -= 1
                self._wake()
            raise
        self._woken -= 1

    def _wake(self) -> None:
        """Let the first in line look again, one at a time: nobody gets in between."""
        while self._waiting and not self._woken:
            turn = self._waiting.popleft()
            if not turn.done():
                self._woken += 1
                turn.set_result(None)

    def _total(self, only: Role | None, reserved_only: bool = False) -> Charge:
        total = NOTHING
        for role, account in self._accounts.items():
            if only is None or role == only:
                total = total + account.reserved
                if not reserved_only:
                    total = total + account.spent + self._held[role]
        return total

    def _call_cap(self, role: Role) -> int | None:
        return {"task": self.budget.task_calls, "judge": self.budget.judge_calls, "meta": self.budget.meta_calls}[role]

    def _exceeded(self, role: Role, charge: Charge) -> str | None:
        budget, total, own = self.budget, self._total(None) + charge, self._total(role) + charge
        role_cap = self._call_cap(role)
        if budget.minutes is not None and self.minutes >= budget.minutes and not self._proving:
            return "minutes"
        if role_cap is not None and own.calls > role_cap:
            return f"{role}_calls"
        if budget.calls is not None and total.calls > budget.calls:
            return "calls"
        if budget.tokens is not None and total.tokens > budget.tokens:
            return "tokens"
        if budget.usd is not None and (total.usd or 0.0) > budget.usd:
            return "usd"
        return None

    def _message(self, key: str) -> str:
        cap = getattr(self.budget, key)
        held = sum(charge.calls for charge in self._held.values())
        kept = f", {held} calls of it kept for the test split" if held else ""
        return f"the next call might exceed budget.{key} = {cap:g}{kept}; raise it and run the same command again"
