"""Where a store is, who may read it, and what is refused."""

import json
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Table, insert, inspect, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from promptlearn.errors import StoreError
from promptlearn.records import Failure, Rollout, Usage, Verdict
from promptlearn.store import open_store
from promptlearn.store.codec import encode
from promptlearn.store.dialect import connect, insert_new, upsert
from promptlearn.store.migrations import MIGRATIONS, migrate
from promptlearn.store.place import find_place
from promptlearn.store.rows import FailedRow, ScoreRow
from promptlearn.store.schema import metadata, runs


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


async def test_the_default_store_is_private_and_never_committed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    before = os.umask(0)
    try:
        with open_store() as store:
            run = await store.start_run({}, "digest", {}, 0)
            folder = store.run_dir(run)
    finally:
        os.umask(before)
    own = tmp_path / ".promptlearn"
    assert folder == own / "runs" / run
    assert [mode(path) for path in (own, own / "runs", folder)] == [0o700] * 3
    assert mode(own / "store.db") == 0o600
    assert (own / ".gitignore").read_text() == "*\n"


def test_an_open_store_of_somebody_else_is_closed(tmp_path: Path) -> None:
    own = tmp_path / ".promptlearn"
    own.mkdir(mode=0o755)
    open_store(own).close()
    assert mode(own) == 0o700
    assert (own / "store.db").exists()
    assert (own / ".gitignore").exists()


def test_a_store_in_a_folder_of_the_users_leaves_that_folder_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with open_store(tmp_path / "team.db") as store:
        folder = store.run_dir("run")
    assert mode(tmp_path) == 0o755
    assert not (tmp_path / ".gitignore").exists()
    assert folder.parent == tmp_path / ".promptlearn" / "runs"
    assert mode(tmp_path / "team.db") == 0o600


def test_a_url_and_a_path_name_the_same_store(tmp_path: Path) -> None:
    assert find_place(f"sqlite:///{tmp_path / 'store.db'}") == find_place(tmp_path / "store.db")


def test_a_password_is_shown_nowhere() -> None:
    """Invariant 10."""
    assert "hunter2" not in str(find_place("postgresql+psycopg://me:hunter2@example.org/prompts"))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("mysql://host/name", "can not be a mysql database: possible are sqlite and postgresql"),
        ("sqlite://", "in memory would lose replies that were paid for: name a file"),
        ("sqlite:///:memory:", "in memory"),
        ("://nothing", "URL can not be read"),
    ],
)
def test_what_can_not_be_a_store_is_one_clear_line(where: str, message: str) -> None:
    with pytest.raises(StoreError, match=message):
        open_store(where)


def test_commands_that_only_look_make_no_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"there is no store at .*: start a run first"):
        open_store(tmp_path / ".promptlearn" / "store.db", create=False)
    assert not (tmp_path / ".promptlearn").exists()


def test_a_file_that_is_no_store(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("dear diary, " * 100)
    with pytest.raises(StoreError, match=r"notes.txt can not be opened: it is not a promptlearn store"):
        open_store(file)
    assert file.read_text() == "dear diary, " * 100


def test_a_folder_that_can_not_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"no store can be made at .*; name another place"):
        open_store(tmp_path / "file" / "store.db")


def test_an_old_store_still_opens_and_is_taken_forward(tmp_path: Path) -> None:
    place = find_place(tmp_path / "store.db")
    with open_store(tmp_path / "store.db") as store:
        assert store.reader.runs() == []

    def add_a_note(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE runs ADD COLUMN note TEXT")

    engine = connect(place.url)
    old = {"id": "old", "created_at": "", "config_digest": "d", "config": "{}", "state": "finished"}
    with engine.begin() as connection:
        connection.execute(insert(runs), old | {"stop_reason": "", "active_seconds": 0, "versions": "{}", "seed": 1})
    migrate(engine, str(place), (*MIGRATIONS, add_a_note))
    migrate(engine, str(place), (*MIGRATIONS, add_a_note))
    with engine.connect() as connection:
        assert connection.execute(text("SELECT id, note FROM runs")).all() == [("old", None)]
        assert connection.execute(text("SELECT version FROM schema_version")).scalars().all() == list(
            range(1, len(MIGRATIONS) + 2)
        )
    engine.dispose()
    with pytest.raises(StoreError, match=r"has version \d+ and this promptlearn knows versions up to \d+: upgrade"):
        open_store(tmp_path / "store.db")


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    place = find_place(tmp_path / "store.db")
    open_store(tmp_path / "store.db").close()

    def half(connection: Connection) -> None:
        connection.exec_driver_sql("CREATE TABLE half (a TEXT)")
        connection.exec_driver_sql("CREATE TABLE runs (a TEXT)")

    engine = connect(place.url)
    with pytest.raises(StoreError, match="can not be opened: table runs already exists"):
        migrate(engine, str(place), (*MIGRATIONS, half))
    assert not inspect(engine).has_table("half")
    engine.dispose()
    open_store(tmp_path / "store.db").close()


def test_an_old_store_s_rows_are_added_up(tmp_path: Path) -> None:
    """Rows of before there were columns for usage."""
    place = find_place(tmp_path / "store.db")
    engine = connect(place.url)
    migrate(engine, str(place), MIGRATIONS[:3])
    paid = Usage(1, 2, 3, 4, 5, 0.5)
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO runs VALUES ('r', '', 'd', '{}', 'finished', '', '{}', 0, '{}', 0)")
        for number in range(2500):
            rollout = Rollout("p", f"e{number:04}", usage=paid)
            unknown = replace(paid, cost_usd=None) if number == 7 else paid
            verdict = Verdict("exact", rollout.id, 1.0, usage=unknown)
            connection.exec_driver_sql(
                "INSERT INTO rollouts VALUES ('r', ?, 'p', 'test', 0, ?)", (rollout.id, encode(rollout))
            )
            connection.exec_driver_sql(
                "INSERT INTO verdicts VALUES ('r', ?, 'exact', 1, ?)", (rollout.id, encode(verdict))
            )
    engine.dispose()
    sums = Usage(2500, 5000, 7500, 10_000, 12_500, 1250.0)
    with open_store(tmp_path / "store.db") as store:
        assert store.reader.failures("r") == [FailedRow("p", "test", 2500, 0, sums)]
        assert store.reader.scores("r") == [ScoreRow("p", "test", "exact", 1.0, 2500, 0, replace(sums, cost_usd=None))]


def test_labels_that_overwrote_each_other_are_told_apart(tmp_path: Path) -> None:
    """Of before a label named the judge that it is about."""
    place = find_place(tmp_path / "store.db")
    engine = connect(place.url)
    migrate(engine, str(place), MIGRATIONS[:8])
    last = Verdict("human:ana", "p/e", 1.0, "pass", "polite", passed=True, kind="human", source="ana")
    asked = [("ana", "exact", 0.0, "no"), ("ana", "tone", 1.0, "polite"), ("ben", "", 0.5, "so so")]
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO runs VALUES ('r', '', 'd', '{}', 'finished', '', '{}', 0, '{}', 0)")
        for verdict in (last, replace(last, name="human:ben", score=0.5, source="ben")):
            connection.exec_driver_sql(
                "INSERT INTO verdicts (run, rollout, judge, score, body) VALUES ('r', 'p/e', ?, 1, ?)",
                (verdict.name, encode(verdict)),
            )
        for number, (who, judge, score, words) in enumerate(asked):
            body = {"version": "p", "example": "e", "score": score, "words": words, "judge": judge}
            connection.exec_driver_sql(
                "INSERT INTO requests VALUES (?, 'r', 'label', ?, '', ?, 'done', '', '')",
                (str(number), who, json.dumps(body)),
            )
    engine.dispose()
    with open_store(tmp_path / "store.db") as store:
        found = [(one.name, one.about, one.score, one.passed, one.explanation) for one in store.reader.verdicts("r")]
    assert found == [
        ("human:ana@exact", "exact", 0.0, False, "no"),
        ("human:ana@tone", "tone", 1.0, True, "polite"),
        ("human:ben", "", 0.5, False, "so so"),
    ]


def test_an_old_store_tells_what_was_skipped_from_what_failed(tmp_path: Path) -> None:
    """Of before a verdict's standing had a column."""
    place = find_place(tmp_path / "store.db")
    engine = connect(place.url)
    migrate(engine, str(place), MIGRATIONS[:9])
    said = (
        Verdict("tone", "p/a", 0.8, passed=True),
        Verdict("tone", "p/b", 0.8, passed=False),
        Verdict("tone", "p/c", 0.5),
        Verdict("tone", "p/d", label="skipped"),
        Verdict("tone", "p/e", error=Failure("timeout", "60 s")),
    )
    with engine.begin() as connection:
        connection.exec_driver_sql("INSERT INTO runs VALUES ('r', '', 'd', '{}', 'finished', '', '{}', 0, '{}', 0)")
        for one in said:
            connection.exec_driver_sql(
                "INSERT INTO verdicts (run, rollout, judge, score, body, prompt, split)"
                " VALUES ('r', ?, 'tone', ?, ?, 'p', 'test')",
                (one.rollout, one.score, encode(one)),
            )
    engine.dispose()
    with open_store(tmp_path / "store.db") as store:
        [row] = store.views.judges("r")
        assert (row.verdicts, row.scored, row.passed, row.skipped) == (5, 3, 2, 1)
        assert [one.rollout for one in store.views.judge_errors("r", "p", "tone")] == ["p/e"]


def test_migrations_lead_to_the_schema(tmp_path: Path) -> None:
    open_store(tmp_path / "store.db").close()
    engine = connect(find_place(tmp_path / "store.db").url)
    made = inspect(engine)
    assert set(made.get_table_names()) == set(metadata.tables)
    for name, table in metadata.tables.items():
        columns = {column["name"]: column["nullable"] for column in made.get_columns(name)}
        assert columns == {column.name: column.nullable for column in table.columns}, name
        assert made.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]
        assert {index["name"] for index in made.get_indexes(name)} == {index.name for index in table.indexes}
        assert len(made.get_foreign_keys(name)) == len(table.foreign_keys)
    engine.dispose()


@pytest.mark.parametrize("table", metadata.tables.values(), ids=str)
def test_what_sqlite_is_asked_postgresql_understands(table: Table) -> None:
    for build in (insert_new, upsert):
        statement = build("postgresql", table)
        assert "ON CONFLICT" in str(statement.compile(dialect=postgresql.dialect()))  # type: ignore[no-untyped-call]


def test_readers_can_not_write(tmp_path: Path) -> None:
    open_store(tmp_path / "store.db").close()
    engine = connect(find_place(tmp_path / "store.db").url, readonly=True)
    with engine.connect() as connection, pytest.raises(Exception, match="readonly") as caught:
        connection.execute(text("DELETE FROM runs"))
    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)
    engine.dispose()


def test_importing_the_store_imports_no_database() -> None:
    script = "import sys, promptlearn.store, promptlearn.report; print({'sqlalchemy', 'pydantic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
