"""The ledger: what a run has spent, what it may spend, and what is promised to calls in flight (invariant 1).

Knows nothing about models. A call reserves its upper bound, runs, and settles for what it really cost. A reservation
that does not fit waits until calls in flight have settled; when it would not fit even if they all cost nothing, the
budget is spent. Every reservation is closed once: by `settle`, `forfeit` or `cancel`.

Replies that the journal answers are charged like paid ones, so that a run which is resumed or repeated stops where
the first one did; `usage` counts them apart, as cached.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import inf

from promptlearn.errors import BudgetSpent
from promptlearn.records import ROLES, Role, Usage

PICO = 10**12
"""The ledger counts in whole picodollars: sums of floats that come and go drift, and a cap is a cap."""


@dataclass(frozen=True, slots=True)
class RoleCap:
    """What one role may take; None is no cap. (Its calls have names of their own in `Budget`.)"""

    usd: float | None = None
    tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Budget:
    """Caps; None is no cap. `usd`, `tokens` and `calls` count every role, `task_calls` and its like one role each."""

    usd: float | None = None
    tokens: int | None = None
    """Input and output tokens together."""
    calls: int | None = None
    task_calls: int | None = None
    judge_calls: int | None = None
    meta_calls: int | None = None
    minutes: float | None = None
    roles: Mapping[Role, RoleCap] = field(default_factory=dict)


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


@dataclass(frozen=True, slots=True)
class Reservation:
    """A promise to one call."""

    role: Role
    charge: Charge
    picodollars: int = 0


@dataclass(slots=True)
class _Amount:
    """A charge that changes; dollars in picodollars."""

    calls: int = 0
    tokens: int = 0
    usd: int = 0

    def add(self, calls: int, tokens: int, usd: int) -> None:
        self.calls += calls
        self.tokens += tokens
        self.usd += usd


@dataclass(slots=True)
class Account:
    """What was spent while somebody watched, by role; see `Ledger.watch`."""

    roles: dict[Role, Charge] = field(default_factory=dict)
    lost: Charge = NOTHING
    """The part of it that bought no reply: failed attempts that may be billed, and second copies of slow calls. It
    depends on the clock; the rest does not."""
    _bought: _Amount = field(default_factory=_Amount)
    _priced: bool = True

    @property
    def charge(self) -> Charge:
        """All roles together."""
        return sum(self.roles.values(), NOTHING)

    @property
    def bought(self) -> Charge:
        """The part of it that is not lost, the same to the last digit in whatever order calls ended; its `usd` is None
        where a price is unknown.
        """
        paid = self._bought
        return Charge(paid.calls, paid.tokens, paid.usd / PICO if self._priced else None)

    def _note(self, role: Role, charge: Charge, lost: bool) -> None:
        self.roles[role] = self.roles.get(role, NOTHING) + charge
        if lost:
            self.lost = self.lost + charge
        else:
            self._bought.add(charge.calls, charge.tokens, _picodollars(charge.usd))
            self._priced = self._priced and charge.usd is not None


_WATCHERS: ContextVar[tuple[tuple[Ledger, Account], ...]] = ContextVar("watchers", default=())


@dataclass(slots=True)
class _Scope:
    """One role, or all together: its caps (None: no cap), and how much of them is taken."""

    calls: tuple[str, int | None]
    """The key of a cap in the configuration, and its value; so are the next two."""
    tokens: tuple[str, int | None]
    usd: tuple[str, float | None]
    taken: _Amount = field(default_factory=_Amount)
    """Spent, reserved or held."""
    promised: _Amount = field(default_factory=_Amount)
    """The part of it that is reserved."""
    held: _Amount = field(default_factory=_Amount)
    _most: tuple[float, float, float] = (inf, inf, inf)

    def __post_init__(self) -> None:
        self._count()

    def widen(self, caps: _Scope) -> None:
        """Take the caps of another scope."""
        self.calls, self.tokens, self.usd = caps.calls, caps.tokens, caps.usd
        self._count()

    def _count(self) -> None:
        calls, tokens, usd = self.calls[1], self.tokens[1], self.usd[1]
        self._most = (
            inf if calls is None else calls,
            inf if tokens is None else tokens,
            inf if usd is None else int(Fraction(usd) * PICO),
        )

    def exceeded(self, calls: int, tokens: int, usd: int, landed: bool = False) -> str | None:
        """The key of the cap that so much more would exceed; `landed`: even if all calls in flight cost nothing."""
        taken, most = self.taken, self._most
        if landed:
            flying = self.promised
            calls, tokens, usd = calls - flying.calls, tokens - flying.tokens, usd - flying.usd
        if taken.calls + calls > most[0]:
            return self.calls[0]
        if taken.tokens + tokens > most[1]:
            return self.tokens[0]
        if taken.usd + usd > most[2]:
            return self.usd[0]
        return None

    def promise(self, calls: int, tokens: int, usd: int) -> None:
        self.taken.add(calls, tokens, usd)
        self.promised.add(calls, tokens, usd)

    def hold(self, calls: int, tokens: int, usd: int) -> None:
        self.taken.add(calls, tokens, usd)
        self.held.add(calls, tokens, usd)


class Ledger:
    """One per run, shared by all roles. `clock` gives seconds; `minutes_before` was spent by earlier attempts."""

    def __init__(
        self,
        budget: Budget | None = None,
        clock: Callable[[], float] = time.monotonic,
        minutes_before: float = 0.0,
    ) -> None:
        self.budget = budget = budget or Budget()
        self.clock = clock
        self.minutes_before = minutes_before
        self._started = clock()
        self._all = _common_scope(budget)
        self._scopes = {role: _role_scope(budget, role) for role in ROLES}
        self._usage = dict.fromkeys(ROLES, Usage())
        self._unpriced: set[Role] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._woken = 0
        self._proving = False

    @property
    def minutes(self) -> float:
        return self.minutes_before + (self.clock() - self._started) / 60

    def usage(self, role: Role) -> Usage:
        return self._usage[role]

    def spent(self, role: Role | None = None) -> Charge:
        """Of one role, or of all together."""
        scope = self._scope(role)
        taken, promised, held = scope.taken, scope.promised, scope.held
        return _charge(
            taken.calls - promised.calls - held.calls,
            taken.tokens - promised.tokens - held.tokens,
            taken.usd - promised.usd - held.usd,
        )

    def outlay(self, role: Role | None = None) -> Charge:
        """As `spent`, but `usd` is None where a price is unknown."""
        unknown = self._unpriced if role is None else self._unpriced & {role}
        return replace(self.spent(role), usd=None) if unknown else self.spent(role)

    def reserved(self, role: Role | None = None) -> Charge:
        """Promised to calls in flight, of one role or of all together."""
        promised = self._scope(role).promised
        return _charge(promised.calls, promised.tokens, promised.usd)

    def widen(self, budget: Budget) -> None:
        """Go on with higher caps; who waits for room looks again."""
        self.budget = budget
        self._all.widen(_common_scope(budget))
        for role, scope in self._scopes.items():
            scope.widen(_role_scope(budget, role))
        self._wake()

    def hold(self, role: Role, charge: Charge) -> None:
        """Keep `charge` back for later calls (the test read), until `release`: calls, tokens and dollars alike."""
        for scope in (self._scopes[role], self._all):
            scope.hold(charge.calls, charge.tokens, _picodollars(charge.usd))

    def release(self) -> None:
        """Free everything that was held back, for the proof; minutes end a search, not its proof."""
        self._proving = True
        for scope in (*self._scopes.values(), self._all):
            held, scope.held = scope.held, _Amount()
            scope.taken.add(-held.calls, -held.tokens, -held.usd)
        self._wake()

    @contextmanager
    def watch(self) -> Iterator[Account]:
        """Count what is spent within this block, and by tasks that are begun in it.

            with ledger.watch() as account:
                await evaluate(row)
            account.charge      # what the row cost

        Blocks may stand in each other: the outer one counts what the inner one does.
        """
        account = Account()
        token = _WATCHERS.set((*_WATCHERS.get(), (self, account)))
        try:
            yield account
        finally:
            _WATCHERS.reset(token)

    async def reserve(self, role: Role, charge: Charge) -> Reservation:
        """Promise `charge` to a call. First come, first served, so that the order of requests decides, not latency.

        Raises BudgetSpent when it would not fit even if every call in flight cost nothing.
        """
        return self.try_reserve(role, charge) or await self._reserve_in_turn(role, charge)

    def try_reserve(self, role: Role, charge: Charge) -> Reservation | None:
        """As `reserve`, but None where it would have to wait or would raise."""
        picodollars = _picodollars(charge.usd)
        if self._waiting or self._woken or self._exceeded(role, charge, picodollars) is not None:
            return None
        return self._promise(role, charge, picodollars)

    def check_minutes(self) -> None:
        """Raise BudgetSpent when the time is up."""
        if self._out_of_time():
            raise BudgetSpent(self._message("minutes", None))

    def settle(self, reservation: Reservation, usage: Usage, cached: bool = False, lost: bool = False) -> None:
        """Replace a promise by what the call cost.

        `usage.calls` may exceed one where the model itself asked twice. `cached`: the journal answered. `lost`: another
        copy of the call had answered before.
        """
        self._close(reservation)
        charge = Charge(usage.calls, usage.input_tokens + usage.output_tokens, usage.cost_usd)
        self._spend(reservation.role, charge, lost)
        self._usage[reservation.role] += Usage(cached_calls=usage.calls) if cached else usage
        self._wake()

    def carry(self, role: Role, charge: Charge, paid: Usage) -> None:
        """Count what an earlier stretch of the run spent. It is a fact, whatever the caps are now: they bear on what
        comes after it. `paid` is the part of `charge` that the journal did not answer.
        """
        self._spend(role, charge, lost=False)
        self._usage[role] += replace(paid, cached_calls=charge.calls - paid.calls)

    def forfeit(self, reservation: Reservation) -> None:
        """The call failed, and may have been billed: what was promised to it counts as spent."""
        self._close(reservation)
        self._spend(reservation.role, reservation.charge, lost=True)
        self._usage[reservation.role] += Usage(calls=reservation.charge.calls, cost_usd=reservation.charge.usd)
        self._wake()

    def cancel(self, reservation: Reservation) -> None:
        """Take back a promise to a call that cost nothing."""
        self._close(reservation)
        self._wake()

    def _scope(self, role: Role | None) -> _Scope:
        return self._all if role is None else self._scopes[role]

    def _promise(self, role: Role, charge: Charge, picodollars: int) -> Reservation:
        self._scopes[role].promise(charge.calls, charge.tokens, picodollars)
        self._all.promise(charge.calls, charge.tokens, picodollars)
        return Reservation(role, charge, picodollars)

    def _close(self, reservation: Reservation) -> None:
        charge, picodollars = reservation.charge, reservation.picodollars
        self._scopes[reservation.role].promise(-charge.calls, -charge.tokens, -picodollars)
        self._all.promise(-charge.calls, -charge.tokens, -picodollars)

    def _spend(self, role: Role, charge: Charge, lost: bool) -> None:
        picodollars = _picodollars(charge.usd)
        if charge.usd is None:
            self._unpriced.add(role)
        self._scopes[role].taken.add(charge.calls, charge.tokens, picodollars)
        self._all.taken.add(charge.calls, charge.tokens, picodollars)
        for ledger, account in _WATCHERS.get():
            if ledger is self:
                account._note(role, charge, lost)

    async def _reserve_in_turn(self, role: Role, charge: Charge) -> Reservation:
        picodollars = _picodollars(charge.usd)
        if self._waiting or self._woken:
            await self._wait()
        while self._exceeded(role, charge, picodollars) is not None:
            if (key := self._exceeded(role, charge, picodollars, landed=True)) is not None:
                self._wake()
                raise BudgetSpent(self._message(key, role))
            await self._wait(front=True)
        reservation = self._promise(role, charge, picodollars)
        self._wake()
        return reservation

    def _exceeded(self, role: Role, charge: Charge, picodollars: int, landed: bool = False) -> str | None:
        if self._out_of_time():
            return "minutes"
        return self._scopes[role].exceeded(charge.calls, charge.tokens, picodollars, landed) or self._all.exceeded(
            charge.calls, charge.tokens, picodollars, landed
        )

    def _out_of_time(self) -> bool:
        return self.budget.minutes is not None and not self._proving and self.minutes >= self.budget.minutes

    async def _wait(self, front: bool = False) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if front:
            self._waiting.appendleft(turn)
        else:
            self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):
                    self._waiting.remove(turn)
            else:  # its turn had come
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

    def _message(self, key: str, role: Role | None) -> str:
        caps = dict((self._all.calls, self._all.tokens, self._all.usd, ("minutes", self.budget.minutes)))
        held = self._all.held
        if role is not None:
            scope = self._scopes[role]
            own = dict((scope.calls, scope.tokens, scope.usd))
            caps.update(own)
            held = scope.held if key in own else held
        kept = {"calls": held.calls, "tokens": held.tokens, "usd": held.usd / PICO}.get(_unit(key), 0)
        shown = f", {kept:g} {_unit(key)} of it kept for the test split" if kept else ""
        return (
            f"the next call might exceed budget.{key} = {caps[key]:g}{shown}; raise it and run the same command again"
        )


def _common_scope(budget: Budget) -> _Scope:
    return _Scope(("calls", budget.calls), ("tokens", budget.tokens), ("usd", budget.usd))


def _role_scope(budget: Budget, role: Role) -> _Scope:
    calls: dict[Role, int | None] = {"task": budget.task_calls, "judge": budget.judge_calls, "meta": budget.meta_calls}
    cap = budget.roles.get(role, RoleCap())
    return _Scope((f"{role}_calls", calls[role]), (f"roles.{role}.tokens", cap.tokens), (f"roles.{role}.usd", cap.usd))


def _unit(key: str) -> str:
    """What a cap counts: `calls`, `tokens`, `usd` or `minutes`."""
    return "calls" if key.endswith("calls") else key.rpartition(".")[2]


def _picodollars(usd: float | None) -> int:
    return round(usd * PICO) if usd else 0


def _charge(calls: int, tokens: int, picodollars: int) -> Charge:
    return Charge(calls, tokens, picodollars / PICO)
