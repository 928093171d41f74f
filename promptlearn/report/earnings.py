"""What the proposers of a run earned, from the run's events."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from promptlearn.store.rows import EventRow


@dataclass(frozen=True, slots=True)
class Earnings:
    """What one proposer has earned; see `selection.credit.Account`."""

    proposer: str
    drafts: int
    """Drafts that it made."""
    candidates: int
    """Those of them that were run."""
    gain: float
    calls: int
    """Spent on its drafts, from asking for them to their races, whatever came of it."""
    usd: float | None
    """What these cost; None where a price is unknown."""
    rate: float
    """Gain per 100 calls or per dollar, with a prior."""
    per: str
    """`100 calls` or `dollar`."""
    asked: int | None = None
    """Drafts that it was asked for; None in runs of versions that did not store it."""


def earnings(events: Iterable[EventRow]) -> tuple[Earnings, ...]:
    """What each proposer had earned when the last of these events was written; the best rate first."""
    last = next((event for event in reversed([*events]) if event.kind == "credit"), None)
    if last is None:
        return ()
    rows = [Earnings(**row, per=last.body["per"]) for row in last.body["proposers"]]
    return tuple(sorted(rows, key=lambda row: -row.rate))
