"""What differs between databases: how a connection is set up, and how a row is written twice without harm.

The one place with SQL that only SQLite has. Everything else is SQLAlchemy Core or plain SQL.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from threading import Lock
from typing import Any, cast

from sqlalchemy import (
    Column,
    ColumnElement,
    Float,
    LargeBinary,
    Table,
    bindparam,
    case,
    create_engine,
    event,
    func,
    select,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, Connection, Engine
from sqlalchemy.pool import PoolProxiedConnection
from sqlalchemy.sql import Executable
from sqlalchemy.sql.dml import Insert

from promptlearn.errors import StoreError

BUSY_SECONDS = 30
"""How long a write waits for another process's transaction."""

SCHEMA_LOCK = 0x70726F6D7074
"""Number of the advisory lock that migrations hold on PostgreSQL: `prompt` in ASCII."""
PARAMETERS = 5_000
"""Values in one statement, at most. SQLite takes 32,766 since 3.32 (2020)."""
_SQLITE = sqlite.dialect()


def connect(url: URL, *, readonly: bool = False) -> Engine:
    """An engine whose transactions are durable when they are committed (`readonly`: one that can not write)."""
    if url.get_backend_name() != "sqlite":
        return _server(url)
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_SECONDS})
    event.listen(engine, "connect", _read_only if readonly else _durable)
    if not readonly:
        event.listen(engine, "begin", _begin_write)
    return engine


def _server(url: URL) -> Engine:
    """With psycopg 3 where the URL names no driver. Raises StoreError where the driver is not installed."""
    if "+" not in url.drivername:
        url = url.set(drivername=f"{url.drivername}+psycopg")
    try:
        return create_engine(url, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        raise StoreError(
            f"a store in PostgreSQL needs {error.name}: pip install 'promptlearn-optimizer[postgres]'"
        ) from None


def _durable(connection: Any, _record: object) -> None:
    """SQLite that survives a killed process and a power cut, with readers that never wait for the writer."""
    _plain(connection)
    _write_ahead(connection)
    # fullfsync counts on macOS alone, where a plain fsync stops at the disk's own memory.
    for pragma in ("synchronous=FULL", "fullfsync=ON", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}").close()


def _write_ahead(connection: Any) -> None:
    """Have SQLite log ahead, as a new file does not yet.

    While another process is about to write to such a file (to open it just as this one does, say), the change is
    refused at once: `busy_timeout` does not count there.
    """
    ends = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL").close()
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > ends:
                raise
            time.sleep(0.02)


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


def lock_schema(connection: Connection) -> None:
    """Let one process at a time change the tables, until its transaction ends. SQLite's write lock does so already."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({SCHEMA_LOCK})")


def execute(connection: Connection, statement: Executable, rows: Sequence[Mapping[str, Any]]) -> None:
    """Execute a statement for each row.

    SQLite takes all rows of an `INSERT` at once. Its driver lets other threads run during each execution and then
    waits its turn again, up to 5 ms where the event loop is busy: once for a group costs that once, not once per row.
    """
    if connection.dialect.name != "sqlite" or not isinstance(statement, Insert):
        connection.execute(statement, rows)
        return
    insert = _insert_many(statement, tuple(rows[0]))
    page = PARAMETERS // len(insert.names)
    for start in range(0, len(rows), page):
        some = rows[start : start + page]
        values = chain.from_iterable([row[name] for name in insert.names] for row in some)
        connection.exec_driver_sql(insert.sql(len(some)), tuple(values))


@dataclass(frozen=True, slots=True)
class _InsertMany:
    """`INSERT … VALUES (?, ?), (?, ?), … ON CONFLICT …`, for SQLite's driver."""

    names: tuple[str, ...]
    """Whose value each `?` of a row stands for."""
    head: str
    row: str
    tail: str

    def sql(self, rows: int) -> str:
        return self.head + ", ".join([self.row] * rows) + self.tail


@lru_cache(maxsize=64)
def _insert_many(statement: Insert, columns: tuple[str, ...]) -> _InsertMany:
    compiled = statement.compile(dialect=_SQLITE, column_keys=list(columns))
    names = tuple(compiled.positiontup or ())
    row = f"({', '.join('?' * len(names))})"
    head, tail = compiled.string.split(row, 1)
    return _InsertMany(names, head, row, tail)


class Lookup:
    """One value by its key, asked before every call: on SQLite with a connection and a prepared statement of its own.

    Going through the pool costs ten times what the question costs.
    """

    def __init__(self, engine: Engine, value: Column[str], key: Column[str]) -> None:
        self._engine = engine
        self._query = select(value).where(key == bindparam("key"))
        self._sql = str(self._query.compile(engine))
        self._lock = Lock()
        self._own: PoolProxiedConnection | None = None

    def find(self, key: str) -> str | None:
        """The value, or None; from any thread."""
        if self._engine.dialect.name != "sqlite":
            with self._engine.connect() as connection:
                found: str | None = connection.execute(self._query, {"key": key}).scalar_one_or_none()
            return found
        with self._lock:
            if self._own is None:
                self._own = self._engine.raw_connection()
            row = cast("sqlite3.Connection", self._own.driver_connection).execute(self._sql, (key,)).fetchone()
        return None if row is None else str(row[0])

    def close(self) -> None:
        """Give the connection back; the next question takes another."""
        with self._lock:
            if self._own is not None:
                self._own.close()
                self._own = None


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
    if dialect != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # takes as long to import as all of SQLite's part

    # Both dialects' inserts have the same two methods, and no class in common that declares them.
    return cast("sqlite.Insert", postgresql.insert(table))


def octets(dialect: str, column: Column[str]) -> ColumnElement[int]:
    """Bytes of a text, not characters."""
    return func.octet_length(column) if dialect == "postgresql" else func.length(sql_cast(column, LargeBinary))


def json_number(dialect: str, column: Column[str], section: str, name: str) -> ColumnElement[float]:
    """A number inside an object inside a JSON text; NULL where there is none.

    PostgreSQL reads no JSON that holds an escaped NUL, so the name is looked for in the text: with its quotes and colon
    it can stand in no string, because quotes are escaped there.
    """
    if dialect == "postgresql":
        return sql_cast(func.substring(column, f'"{name}":(-?[0-9][-+.0-9eE]*)'), Float)
    return case((func.json_valid(column) == 1, func.json_extract(column, f"$.{section}.{name}")))


def stored_bytes(connection: Connection) -> int:
    """What the database takes on the disk."""
    if connection.dialect.name == "postgresql":
        return int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
    pages, size = (connection.exec_driver_sql(f"PRAGMA {name}").scalar_one() for name in ("page_count", "page_size"))
    return int(pages) * int(size)


def compact(engine: Engine) -> None:
    """Give the space of removed rows back to the disk; PostgreSQL's server does that by itself.

    Writes of other processes wait meanwhile. The log is emptied too, unless somebody is just reading from it.
    """
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        driver = cast("sqlite3.Connection", connection.driver_connection)
        driver.execute("VACUUM")
        driver.execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
    finally:
        connection.close()
