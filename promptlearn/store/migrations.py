"""A store's versions: a numbered list of functions, each taking the tables from one version to the next.

Knows tables, not what is in them. A migration never changes after its release: stores that it made are out there. To
change the tables, change `schema`, and append a function here that does the same to an existing store.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

from sqlalchemy import func, insert, inspect, select
from sqlalchemy.engine import Connection, Engine

from promptlearn.errors import StoreError
from promptlearn.store.failures import boundary
from promptlearn.store.schema import schema_version

Migration: TypeAlias = Callable[[Connection], None]


def _first_tables(connection: Connection) -> None:
    for statement in _VERSION_1:
        connection.exec_driver_sql(statement)


_VERSION_1 = (
    """CREATE TABLE runs (
        id TEXT NOT NULL PRIMARY KEY, created_at TEXT NOT NULL, config_digest TEXT NOT NULL, config TEXT NOT NULL,
        state TEXT NOT NULL, stop_reason TEXT NOT NULL, result TEXT, active_seconds DOUBLE PRECISION NOT NULL,
        versions TEXT NOT NULL, seed BIGINT NOT NULL)""",
    "CREATE INDEX ix_runs_config_digest ON runs (config_digest)",
    "CREATE TABLE prompts (digest TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL)",
    """CREATE TABLE candidates (
        run TEXT NOT NULL REFERENCES runs (id), digest TEXT NOT NULL, number INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, digest))""",
    """CREATE TABLE examples (
        run TEXT NOT NULL REFERENCES runs (id), id TEXT NOT NULL, split TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, id))""",
    """CREATE TABLE rollouts (
        run TEXT NOT NULL REFERENCES runs (id), id TEXT NOT NULL, prompt TEXT NOT NULL, split TEXT NOT NULL,
        failed INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, id))""",
    "CREATE INDEX ix_rollouts_prompt ON rollouts (run, prompt, split)",
    """CREATE TABLE verdicts (
        run TEXT NOT NULL REFERENCES runs (id), rollout TEXT NOT NULL, judge TEXT NOT NULL, score DOUBLE PRECISION,
        body TEXT NOT NULL, PRIMARY KEY (run, rollout, judge))""",
    """CREATE TABLE decisions (
        run TEXT NOT NULL REFERENCES runs (id), number INTEGER NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (run, number))""",
    """CREATE TABLE events (
        run TEXT NOT NULL REFERENCES runs (id), id INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
        at TEXT NOT NULL, PRIMARY KEY (run, id))""",
    """CREATE TABLE test_reads (
        run TEXT NOT NULL REFERENCES runs (id), n INTEGER NOT NULL, reading TEXT, at TEXT NOT NULL,
        PRIMARY KEY (run, n))""",
    """CREATE TABLE calls (
        key TEXT NOT NULL PRIMARY KEY, model TEXT NOT NULL, request TEXT NOT NULL, reply TEXT NOT NULL,
        created_at TEXT NOT NULL)""",
)

MIGRATIONS: tuple[Migration, ...] = (_first_tables,)


def migrate(engine: Engine, where: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Take the store to the newest version, all in one transaction; refuse one that is newer still."""
    with boundary(where, "opened"):
        with engine.connect() as connection:
            version = _version(connection)
        if version < len(migrations):
            with engine.begin() as connection:
                # Read again: another process may have migrated while this one waited for the write lock.
                version = _version(connection)
                _apply(connection, migrations, version)
    if version > len(migrations):
        raise StoreError(
            f"the store at {where} has version {version} and this promptlearn knows versions up to {len(migrations)}: "
            "upgrade promptlearn, or name another store"
        )


def _apply(connection: Connection, migrations: Sequence[Migration], version: int) -> None:
    schema_version.create(connection, checkfirst=True)
    for number, step in enumerate(migrations[version:], start=version + 1):
        step(connection)
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        connection.execute(insert(schema_version).values(version=number, at=at))


def _version(connection: Connection) -> int:
    """0 for a database without our tables."""
    if not inspect(connection).has_table(schema_version.name):
        return 0
    return int(connection.execute(select(func.max(schema_version.c.version))).scalar_one() or 0)
