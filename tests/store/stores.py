"""Fresh stores for tests: a file, and a schema in a real PostgreSQL (see `postgres`)."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import postgres
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from promptlearn.store import Store, open_store
from promptlearn.store.dialect import connect

_THERE = pytest.mark.skipif(not postgres.AVAILABLE, reason="PostgreSQL (initdb, pg_ctl) is not installed")
KINDS = ("sqlite", pytest.param("postgresql", marks=_THERE))


@contextmanager
def fresh_place(kind: str, folder: Path) -> Iterator[str]:
    """Where a store can be opened that holds nothing yet."""
    if kind == "sqlite":
        yield str(folder / "store.db")
        return
    schema = f"test_{secrets.token_hex(6)}"
    server = make_url(postgres.server())
    engine = connect(server)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        url = server.update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


@contextmanager
def fresh_store(kind: str, folder: Path, *secrets: str) -> Iterator[Store]:
    with fresh_place(kind, folder) as where, open_store(where, secrets=secrets) as store:
        yield store
