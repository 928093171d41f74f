"""Steering: what a run does about requests that people make while it works, and what it says of itself meanwhile.

Knows the store's requests and the run's clock; nothing of calls, rows or decisions. About once a second it looks for
requests and keeps a pulse. Pause lets no new call begin, and no minute pass; stop is a Ctrl-C from elsewhere; a raised
cap holds from then on, for the run when it goes on later too. Each request is answered with what came of it, and what
was obeyed is an event of the run.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from math import inf

from promptlearn.errors import Interrupted, StoreError
from promptlearn.ledger import Budget, Ledger
from promptlearn.records import ROLES, Json
from promptlearn.runlog import RunLog
from promptlearn.store import Store
from promptlearn.store.request_rows import RequestRow

POLL = 1.0
"""Seconds between two looks at the requests."""
WINDOW = 30.0
"""Seconds over which speed is measured."""
CAPS = ("usd", "tokens", "calls", "task_calls", "judge_calls", "meta_calls", "minutes")
"""Caps that can be raised while a run works, as the configuration calls them."""


class Steering:
    """One per run that works. `stopping` is the run's own Ctrl-C."""

    def __init__(self, store: Store, run: str, stopping: Callable[[], bool] = lambda: False) -> None:
        self._store = store
        self._run = run
        self._interrupted = stopping
        self._asked_to_stop = False
        self._open = asyncio.Event()
        self._open.set()
        self._paused_at: float | None = None
        self._stood_still = 0.0
        self._rows: deque[float] = deque()
        self._listeners: list[Callable[[Budget], None]] = []

    @property
    def paused(self) -> bool:
        return self._paused_at is not None

    def stopping(self) -> bool:
        """Whether the run is to end its calls and save, for whatever reason."""
        return self._asked_to_stop or self._interrupted()

    def clock(self) -> float:
        """Seconds, those apart in which the run was paused: a pause uses up no minutes."""
        now = time.monotonic() if self._paused_at is None else self._paused_at
        return now - self._stood_still

    async def admitted(self) -> None:
        """Wait until calls may begin. Raises `Interrupted` where the run was stopped during a pause."""
        if self._open.is_set():
            return
        await self._open.wait()
        if self.stopping():
            raise Interrupted("stopped; everything that was paid for is kept, and the same command goes on")

    def note_row(self) -> None:
        """A row is there."""
        self._rows.append(time.monotonic())

    def on_raise(self, listener: Callable[[Budget], None]) -> None:
        """Call `listener` with the new budget whenever a cap is raised."""
        self._listeners.append(listener)

    async def follow(self, log: RunLog, ledger: Ledger, in_flight: Callable[[], int]) -> None:
        """Look and tell until cancelled. What was asked of an earlier stretch of the run is answered first."""
        with suppress(StoreError):
            await self._refuse_stale()
        while True:
            with suppress(StoreError):  # on a full disk the next reply says so, to somebody who listens
                for request in self._store.requests.waiting(self._run):
                    await self._answer(request, log, ledger)
                await self._tell(ledger, in_flight())
            if self.stopping():
                self._open.set()
            await asyncio.sleep(POLL)

    async def _refuse_stale(self) -> None:
        for request in self._store.requests.waiting(self._run):
            if request.kind != "raise":
                await self._store.requests.close(request.id, "refused", "the run was not at work")

    async def _answer(self, request: RequestRow, log: RunLog, ledger: Ledger) -> None:
        if request.kind == "pause":
            note = self._pause()
        elif request.kind == "resume":
            note = self._resume()
        elif request.kind == "stop":
            self._asked_to_stop, note = True, "ending the calls under way"
        elif request.kind == "raise":
            note = self._raise(request, ledger)
        else:
            await self._store.requests.close(request.id, "refused", f"a run knows no request {request.kind!r}")
            return
        if note is None:
            await self._store.requests.close(request.id, "refused", "nothing would change")
        elif await self._store.requests.close(request.id, "done", note):
            await log.event("steered", what=request.kind, who=request.who, message=note)

    def _pause(self) -> str | None:
        if self.paused:
            return None
        self._paused_at = time.monotonic()
        self._open.clear()
        return "calls under way end, no new one is begun"

    def _resume(self) -> str | None:
        if self._paused_at is None:
            return None
        self._stood_still += time.monotonic() - self._paused_at
        self._paused_at = None
        self._open.set()
        return "calls are begun again"

    def _raise(self, request: RequestRow, ledger: Ledger) -> str | None:
        budget = raised(ledger.budget, request.body)
        if budget == ledger.budget:
            return None
        changed = [name for name in CAPS if getattr(budget, name) != getattr(ledger.budget, name)]
        ledger.widen(budget)
        for listener in self._listeners:
            listener(budget)
        return ", ".join(f"budget.{name} is {getattr(budget, name):g} now" for name in changed)

    async def _tell(self, ledger: Ledger, in_flight: int) -> None:
        now = time.monotonic()
        while self._rows and self._rows[0] < now - WINDOW:
            self._rows.popleft()
        spent = ledger.outlay()
        body: dict[str, Json] = {
            "caps": {name: getattr(ledger.budget, name) for name in CAPS},
            "spent": {
                "usd": spent.usd,
                "tokens": spent.tokens,
                "calls": spent.calls,
                **{f"{role}_calls": ledger.spent(role).calls for role in ROLES},
                "minutes": round(ledger.minutes, 2),
            },
            "rows_per_second": round(len(self._rows) / WINDOW, 2),
            "in_flight": in_flight,
            "paused": self.paused,
            "stopping": self.stopping(),
        }
        await self._store.requests.beat(self._run, body)


def raised(budget: Budget, body: Json) -> Budget:
    """The budget with every cap that `body["caps"]` raises; a cap that is not set, or is higher already, stays."""
    caps = body.get("caps") if isinstance(body, dict) else None
    wanted = caps if isinstance(caps, dict) else {}
    changed = {}
    for name in CAPS:
        old, new = getattr(budget, name), wanted.get(name)
        if old is not None and isinstance(new, int | float) and old < new < inf:
            changed[name] = type(old)(new)
    return replace(budget, **changed)


def budget_of(store: Store, run: str, budget: Budget) -> Budget:
    """A run's budget with every cap that people raised before, in earlier stretches of it."""
    for request in reversed(store.requests.items(run, "raise")):
        if request.state == "done":
            budget = raised(budget, request.body)
    return budget
