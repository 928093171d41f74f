"""Fresh stores for tests: a file always, and a schema in PostgreSQL where PROMPTLEARN_TEST_POSTGRESQL names a database.

PROMPTLEARN_TEST_POSTGRESQL=postgresql+psycopg://postgres@127.0.0.1/test pytest tests/store
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from promptlearn.store import Store, open_store

SERVER = os.environ.get("PROMPTLEARN_TEST_POSTGRESQL")
KINDS = ("sqlite", "postgresql") if SERVER else ("sqlite",)


@contextmanager
def fresh_place(kind: str, folder: Path) -> Iterator[str]:
    """Where a store can be opened that holds nothing yet."""
    if kind == "sqlite" or SERVER is None:
        yield str(folder / "store.db")
        return
    schema = f"test_{secrets.token_hex(6)}"
    engine = create_engine(SERVER)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE SCHEMA {schema}"))
    try:
        url = make_url(SERVER).update_query_dict({"options": f"-csearch_path={schema}"})
        yield url.render_as_string(hide_password=False)
    finally:
        with engine.begin() as connection:
            connection.execute(text(f"DROP SCHEMA {schema} CASCADE"))
        engine.dispose()


@contextmanager
def fresh_store(kind: str, folder: Path, *secrets: str) -> Iterator[Store]:
    with fresh_place(kind, folder) as where, open_store(where, secrets=secrets) as store:
        yield store
