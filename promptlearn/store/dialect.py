"""What differs between databases: how a connection is set up, and how a row is written twice without harm.

The one place with SQL that only SQLite has. Everything else is SQLAlchemy Core or plain SQL.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, cast

from sqlalchemy import Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.sql.dml import Insert

BUSY_SECONDS = 30
"""How long a write waits for another process's transaction."""


def connect(url: URL, *, readonly: bool = False) -> Engine:
    """An engine whose transactions are durable when they are committed (`readonly`: one that can not write)."""
    if url.get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True)
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _read_only if readonly else _durable)
    if not readonly:
        event.listen(engine, "begin", _begin_write)
    return engine


def _durable(connection: Any, _record: object) -> None:
    """SQLite that survives a killed process and a power cut, with readers that never wait for the writer."""
    _plain(connection)
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _read_only(connection: Any, _record: object) -> None:
    # Without transactions: every question is one statement, and so sees one state of the store.
    _plain(connection)
    connection.execute("PRAGMA query_only=ON").close()


def _plain(connection: Any) -> None:
    # The driver would begin transactions by itself, and only before some statements; `begin` events do it here.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}").close()


def _begin_write(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a later upgrade could fail without waiting.
    connection.exec_driver_sql("BEGIN IMMEDIATE")


@lru_cache(maxsize=64)
def insert_new(dialect: str, table: Table) -> Insert:
    """`INSERT` that leaves a row with the same primary key as it is."""
    return _conflicting(dialect, table).on_conflict_do_nothing(index_elements=list(table.primary_key))


@lru_cache(maxsize=64)
def upsert(dialect: str, table: Table) -> Insert:
    """`INSERT` that replaces a row with the same primary key."""
    statement = _conflicting(dialect, table)
    keys = list(table.primary_key)
    changed = {column.name: statement.excluded[column.name] for column in table.columns if not column.primary_key}
    return statement.on_conflict_do_update(index_elements=keys, set_=changed)


def _conflicting(dialect: str, table: Table) -> sqlite.Insert:
    # Both dialects' inserts have the same two methods, and no class in common that declares them.
    return cast("sqlite.Insert", postgresql.insert(table)) if dialect == "postgresql" else sqlite.insert(table)
