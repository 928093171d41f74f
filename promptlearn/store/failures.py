"""What a database says when it fails, as one line for the person at the terminal.

The only place that knows the texts of SQLite's errors.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from promptlearn.errors import StoreError, WriteError

Doing = Literal["opened", "read", "written"]

_REASONS = {
    "database or disk is full": "disk is full; free space",
    "disk i/o error": "the disk takes no more (full, over a quota or failing); free space or mend it",
    "readonly database": "it is read-only; make its file and folder writable",
    "unable to open database file": "its file can not be opened; check that file and folder can be read and written",
    "database is locked": "another process has held it for too long; end that process",
    "file is not a database": "it is not a promptlearn store; name another file",
    "malformed": "its file is damaged; restore it from a copy, or name another store",
}


def name_failure(error: SQLAlchemyError | sqlite3.Error, where: str, doing: Doing) -> StoreError:
    """The `StoreError` for what the database raised: what failed, why, and what to do."""
    said = str(error.orig if isinstance(error, DBAPIError) else error)
    reason = next((reason for text, reason in _REASONS.items() if text in said.lower()), None)
    if reason is None:
        reason = f"{' '.join(said.split())}; mend that"
    tail = " and run the same command again"
    kept = "; nothing that was paid for before is lost" if doing == "written" else ""
    kind = WriteError if doing == "written" else StoreError
    return kind(f"the store at {where} can not be {doing}: {reason}{tail}{kept}")


@contextmanager
def boundary(where: str, doing: Doing) -> Iterator[None]:
    """Inside it, an error of the database is a `StoreError`."""
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise name_failure(error, where, doing) from error
