"""The circuit: whether an endpoint is down, so that its callers wait instead of trying.

It opens after FAILURES failures in a row of an endpoint that is known to be one; then one call at a time probes it,
after waits that double, and the first answer closes it (Nygard, "Release It!", 2007). The failures of a single call
open it only where the endpoint itself says that it serves nobody: any other may as well be the fault of that call.
Knows no clock of its own.
"""

from __future__ import annotations

from dataclasses import dataclass

FAILURES = 5
FIRST_PROBE, LAST_PROBE = 1.0, 15.0
"""Seconds before the first probe, and at most between two."""
OUTAGES = frozenset({"server", "timeout", "connection"})
"""Kinds of failure that an endpoint shows which is down."""


@dataclass(slots=True)
class Circuit:
    proven: bool = False
    """Whether the endpoint has ever given a reply, or said itself that it serves nobody now."""
    opened: float | None = None
    """When it was found to be down; None while it is up."""
    probing: bool = False
    _probe_at: float = 0.0
    _wait: float = FIRST_PROBE
    _failures: int = 0
    _caller: object = None
    _several: bool = False

    def wait(self, now: float) -> float:
        """Seconds until a call may be tried, as far as anybody knows; 0: now."""
        if self.opened is None:
            return 0.0
        return LAST_PROBE if self.probing else max(0.0, self._probe_at - now)

    def answered(self) -> bool:
        """The endpoint is alive. Whether it was down before."""
        was_down = self.opened is not None
        self.opened = None
        self._failures = 0
        self._caller, self._several = None, False
        return was_down

    def failed(self, caller: object, unavailable: bool, now: float) -> None:
        """A call of `caller` failed; `unavailable`: the endpoint serves nobody."""
        self._failures += 1
        self._several = self._several or self._caller not in (None, caller)
        self._caller = caller
        blamed = self._several or unavailable
        if self.opened is None and self.proven and blamed and self._failures >= FAILURES:
            self.opened = now
            self._wait = FIRST_PROBE
            self._probe_at = now + FIRST_PROBE

    def probe_failed(self, now: float) -> None:
        """Wait twice as long before the next one."""
        self._wait = min(LAST_PROBE, 2 * self._wait)
        self._probe_at = now + self._wait
