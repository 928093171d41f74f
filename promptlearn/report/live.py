"""What is new in a run: events after an id, for views that follow it; and what people asked of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from promptlearn.store.request_rows import RequestRow
from promptlearn.store.rows import EventRow

if TYPE_CHECKING:
    from promptlearn.store import Store

MOST = 500
"""Events at a time."""


def events(store: Store, run: str, after: int = 0, limit: int = MOST) -> list[EventRow]:
    """Events of a run (its full id) with an id above `after`, in order; ask again with the last one's id."""
    return store.views.events(run, after, limit)


def requests(store: Store, run: str | None = None, limit: int = 50) -> list[RequestRow]:
    """What people asked of a run, or of any, and what came of it; the newest first."""
    return store.requests.items(run, limit=limit)
