"""A store's versions: a numbered list of functions, each taking the tables from one version to the next.

Knows tables, not what is in them. A migration never changes after its release: stores that it made are out there. To
change the tables, change `schema`, and append a function here that does the same to an existing store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.engine import Connection, Engine

from promptlearn.errors import StoreError
from promptlearn.store.dialect import lock_schema
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


def _feedback_tables(connection: Connection) -> None:
    for statement in _FEEDBACK:
        connection.exec_driver_sql(statement)


_FEEDBACK = (
    """CREATE TABLE feedback (
        ref TEXT NOT NULL PRIMARY KEY, host TEXT NOT NULL, id TEXT NOT NULL, repo TEXT NOT NULL, pull INTEGER NOT NULL,
        kind TEXT NOT NULL, author TEXT NOT NULL, state TEXT NOT NULL, dropped TEXT NOT NULL, created_at TEXT NOT NULL,
        received_at TEXT NOT NULL, changed_at TEXT NOT NULL, head TEXT NOT NULL, original_commit TEXT,
        digest TEXT NOT NULL, body TEXT NOT NULL, decision TEXT, classification TEXT)""",
    "CREATE INDEX ix_feedback_pull ON feedback (host, repo, pull)",
    "CREATE INDEX ix_feedback_order ON feedback (created_at, ref)",
    """CREATE TABLE feedback_events (
        ref TEXT NOT NULL REFERENCES feedback (ref), n INTEGER NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL,
        at TEXT NOT NULL, PRIMARY KEY (ref, n))""",
    """CREATE TABLE pulls (
        host TEXT NOT NULL, repo TEXT NOT NULL, number INTEGER NOT NULL, updated_at TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (host, repo, number))""",
    """CREATE TABLE pull_sources (
        source TEXT NOT NULL PRIMARY KEY, host TEXT NOT NULL, repo TEXT NOT NULL, progress TEXT NOT NULL,
        at TEXT NOT NULL)""",
    """CREATE TABLE pull_reads (
        source TEXT NOT NULL, number INTEGER NOT NULL, read_at TEXT NOT NULL, PRIMARY KEY (source, number))""",
    """CREATE TABLE etags (
        token TEXT NOT NULL, source TEXT NOT NULL, url TEXT NOT NULL, etag TEXT NOT NULL, at TEXT NOT NULL,
        PRIMARY KEY (token, source, url))""",
    """CREATE TABLE permissions (
        host TEXT NOT NULL, repo TEXT NOT NULL, author TEXT NOT NULL, permission TEXT NOT NULL, asked_at TEXT NOT NULL,
        PRIMARY KEY (host, repo, author))""",
    """CREATE TABLE deliveries (
        id TEXT NOT NULL PRIMARY KEY, host TEXT NOT NULL, repo TEXT NOT NULL, pull INTEGER NOT NULL,
        event TEXT NOT NULL, state TEXT NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL,
        received_at TEXT NOT NULL, done_at TEXT)""",
    "CREATE INDEX ix_deliveries_state ON deliveries (state)",
)


def _batch_tables(connection: Connection) -> None:
    for statement in _BATCHES:
        connection.exec_driver_sql(statement)


_BATCHES = (
    """CREATE TABLE batches (
        own TEXT NOT NULL PRIMARY KEY, endpoint TEXT NOT NULL, state TEXT NOT NULL, size INTEGER NOT NULL, file TEXT,
        batch TEXT, created_at TEXT NOT NULL, touched_at TEXT NOT NULL)""",
    "CREATE TABLE batch_calls (key TEXT NOT NULL PRIMARY KEY, own TEXT NOT NULL)",
)


def _sums(connection: Connection) -> None:
    """What reports add up gets columns, with indexes that answer without reading a body."""
    for statement in _SUMS:
        connection.exec_driver_sql(statement)
    for table, key in (("rollouts", ("id",)), ("verdicts", ("rollout", "judge"))):
        _fill_usage(connection, table, ("run", *key))
    connection.exec_driver_sql(_VERDICTS_OF)
    for statement in _SUM_INDEXES:
        connection.exec_driver_sql(statement)


def _fill_usage(connection: Connection, table: str, key: Sequence[str]) -> None:
    """Copy each row's usage from its body into its columns, a page of rows at a time."""
    names = ", ".join(key)
    after = ", ".join(f":{name}" for name in key)
    page = text(f"SELECT {names}, body FROM {table} WHERE ({names}) > ({after}) ORDER BY {names} LIMIT 1000")  # noqa: S608
    values = ", ".join(f"{name} = :{name}" for name in _USAGE)
    where = " AND ".join(f"{name} = :of_{name}" for name in key)
    fill = text(f"UPDATE {table} SET {values} WHERE {where}")  # noqa: S608
    last = dict.fromkeys(key, "")
    while rows := connection.execute(page, last).mappings().all():
        last = {name: rows[-1][name] for name in key}
        connection.execute(fill, [_counted(row["body"]) | {f"of_{name}": row[name] for name in key} for row in rows])


def _counted(body: str) -> dict[str, float | None]:
    usage = json.loads(body)["usage"]
    return {name: min(usage[name], 10**14) for name in _COUNTS} | {"cost_usd": usage["cost_usd"]}


_RATED = ("rollouts", "verdicts")
_COUNTS = ("calls", "cached_calls", "input_tokens", "output_tokens", "cached_tokens")
_USAGE = (*_COUNTS, "cost_usd")
_SUMS = (
    *(f"ALTER TABLE {table} ADD COLUMN {name} BIGINT NOT NULL DEFAULT 0" for table in _RATED for name in _COUNTS),
    *(f"ALTER TABLE {table} ADD COLUMN cost_usd DOUBLE PRECISION" for table in _RATED),
    *(f"ALTER TABLE verdicts ADD COLUMN {name} TEXT NOT NULL DEFAULT ''" for name in ("prompt", "split")),
)
_VERDICTS_OF = """UPDATE verdicts SET
    prompt = coalesce((SELECT prompt FROM rollouts WHERE rollouts.run = verdicts.run AND id = rollout), ''),
    split = coalesce((SELECT split FROM rollouts WHERE rollouts.run = verdicts.run AND id = rollout), '')"""
_SUM_INDEXES = (
    "DROP INDEX ix_rollouts_prompt",
    f"CREATE INDEX ix_rollouts_sums ON rollouts (run, prompt, split, failed, {', '.join(_USAGE)})",
    f"CREATE INDEX ix_verdicts_sums ON verdicts (run, prompt, split, judge, score, {', '.join(_USAGE)})",
)


def _guard_table(connection: Connection) -> None:
    connection.exec_driver_sql(
        """CREATE TABLE guards (
        scope TEXT NOT NULL, id TEXT NOT NULL, active INTEGER NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL,
        PRIMARY KEY (scope, id))"""
    )


def _tuning_tables(connection: Connection) -> None:
    for statement in _TUNING:
        connection.exec_driver_sql(statement)


_TUNING = (
    """CREATE TABLE tuning_steps (
        run TEXT NOT NULL REFERENCES runs (id), step INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, step))""",
    """CREATE TABLE tuning_validations (
        run TEXT NOT NULL REFERENCES runs (id), step INTEGER NOT NULL, body TEXT NOT NULL, PRIMARY KEY (run, step))""",
    """CREATE TABLE tuning_samples (
        run TEXT NOT NULL REFERENCES runs (id), step INTEGER NOT NULL, place INTEGER NOT NULL, n INTEGER NOT NULL,
        body TEXT NOT NULL, PRIMARY KEY (run, step, place, n))""",
)


def _judge_tables(connection: Connection) -> None:
    for statement in _JUDGES:
        connection.exec_driver_sql(statement)


_JUDGES = (
    """CREATE TABLE judge_checks (
        id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, judge TEXT NOT NULL, at TEXT NOT NULL,
        body TEXT NOT NULL)""",
    "CREATE INDEX ix_judge_checks_judge ON judge_checks (judge, kind, at)",
    """CREATE TABLE judge_labels (
        item TEXT NOT NULL PRIMARY KEY, judge TEXT NOT NULL, at TEXT NOT NULL, body TEXT NOT NULL)""",
)


def _report_tables(connection: Connection) -> None:
    """Which example a rollout is of and what it scored, in columns; what people ask of runs; how runs are getting on.

    A row that was judged before gets the mean of its judges' scores, whatever their weights; none where one gave none.
    """
    for statement in _REPORTS:
        connection.exec_driver_sql(statement)


_REPORTS = (
    "ALTER TABLE rollouts ADD COLUMN example TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE rollouts ADD COLUMN score DOUBLE PRECISION",
    """UPDATE rollouts SET example = substr(id, length(prompt) + 2), score = (
        SELECT CASE WHEN count(score) = count(*) THEN avg(score) END FROM verdicts
        WHERE verdicts.run = rollouts.run AND verdicts.rollout = rollouts.id)""",
    "CREATE INDEX ix_rollouts_scores ON rollouts (run, prompt, split, example, score, failed)",
    "CREATE INDEX ix_examples_split ON examples (run, split, id)",
    """CREATE TABLE requests (
        id TEXT NOT NULL PRIMARY KEY, run TEXT NOT NULL, kind TEXT NOT NULL, who TEXT NOT NULL, at TEXT NOT NULL,
        body TEXT NOT NULL, state TEXT NOT NULL, note TEXT NOT NULL, done_at TEXT)""",
    "CREATE INDEX ix_requests_run ON requests (run, state)",
    """CREATE TABLE pulses (
        run TEXT NOT NULL PRIMARY KEY REFERENCES runs (id), at TEXT NOT NULL, body TEXT NOT NULL)""",
)


def _label_columns(connection: Connection) -> None:
    """Which judge a person's label is about, in a column.

    Before, one person's labels for two judges overwrote each other. What was asked for is kept, so each is made anew.
    """
    for statement in _LABELS:
        connection.exec_driver_sql(statement)
    asked = text("SELECT run, who, body FROM requests WHERE kind = 'label' AND state = 'done' ORDER BY id")
    latest = {}
    for row in connection.execute(asked).mappings().all():
        said = json.loads(row["body"])
        latest[row["run"], f"{said['version']}/{said['example']}", row["who"], said["judge"]] = said
    whole = {key[:3] for key in latest if not key[3]}
    for (run, rollout, who, judge), said in latest.items():
        _relabel(connection, {"run": run, "rollout": rollout, "old": f"human:{who}"}, judge, said)
    for run, rollout, who in {key[:3] for key in latest} - whole:
        gone = {"run": run, "rollout": rollout, "old": f"human:{who}"}
        connection.execute(text("DELETE FROM verdicts WHERE run = :run AND rollout = :rollout AND judge = :old"), gone)


def _relabel(connection: Connection, key: dict[str, str], judge: str, said: dict[str, Any]) -> None:
    """Write a label with the judge that it is about, beside the one that held the last of them all."""
    body = connection.execute(text(_LABEL_BODY), key).scalar()
    if body is None:
        return
    score, name = said["score"], f"{key['old']}@{judge}" if judge else key["old"]
    passed = score >= 1
    label = json.loads(body) | {"name": name, "score": score, "explanation": said["words"], "about": judge}
    label |= {"label": "pass" if passed else "fail", "passed": passed}
    if judge:
        connection.execute(text(_COPY_LABEL), key | {"name": name})
    values = {"run": key["run"], "rollout": key["rollout"], "old": name, "score": score, "about": judge}
    values["body"] = json.dumps(label, ensure_ascii=False, separators=(",", ":"))
    connection.execute(text(_SET_LABEL), values)


_LABEL_BODY = "SELECT body FROM verdicts WHERE run = :run AND rollout = :rollout AND judge = :old"
_COPY_LABEL = """INSERT INTO verdicts (run, rollout, judge, body, prompt, split)
    SELECT run, rollout, :name, body, prompt, split FROM verdicts
    WHERE run = :run AND rollout = :rollout AND judge = :old"""
_SET_LABEL = """UPDATE verdicts SET score = :score, about = :about, body = :body
    WHERE run = :run AND rollout = :rollout AND judge = :old"""
_LABELS = (
    "ALTER TABLE verdicts ADD COLUMN about TEXT",
    "UPDATE verdicts SET about = '' WHERE substr(judge, 1, 6) = 'human:'",
    "CREATE INDEX ix_verdicts_people ON verdicts (run, rollout) WHERE about IS NOT NULL",
)


def _standings(connection: Connection) -> None:
    """What became of each judgement in a column, so that what was skipped is told from what failed."""
    connection.exec_driver_sql("ALTER TABLE verdicts ADD COLUMN standing TEXT NOT NULL DEFAULT ''")
    last = {"run": "", "rollout": "", "judge": ""}
    while rows := connection.execute(text(_VERDICT_PAGE), last).mappings().all():
        last = {name: rows[-1][name] for name in last}
        stood = [{f"of_{name}": row[name] for name in last} | {"standing": _standing(row["body"])} for row in rows]
        connection.execute(text(_SET_STANDING), stood)
    for statement in _STANDING_INDEX:
        connection.exec_driver_sql(statement)


def _standing(body: str) -> str:
    verdict = json.loads(body)
    if verdict["score"] is None:
        return "skipped" if verdict["label"] == "skipped" and verdict["error"] is None else "not_judged"
    passed = verdict["passed"] if verdict["passed"] is not None else verdict["score"] >= 0.5
    return "passed" if passed else "not_passed"


_VERDICT_PAGE = """SELECT run, rollout, judge, body FROM verdicts
    WHERE (run, rollout, judge) > (:run, :rollout, :judge) ORDER BY run, rollout, judge LIMIT 1000"""
_SET_STANDING = """UPDATE verdicts SET standing = :standing
    WHERE run = :of_run AND rollout = :of_rollout AND judge = :of_judge"""
_STANDING_INDEX = (
    "DROP INDEX ix_verdicts_sums",
    f"CREATE INDEX ix_verdicts_sums ON verdicts (run, prompt, split, judge, score, standing, {', '.join(_USAGE)})",
)


MIGRATIONS: tuple[Migration, ...] = (
    _first_tables,
    _feedback_tables,
    _batch_tables,
    _sums,
    _guard_table,
    _tuning_tables,
    _judge_tables,
    _report_tables,
    _label_columns,
    _standings,
)


def migrate(engine: Engine, where: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Take the store to the newest version, all in one transaction; refuse one that is newer still."""
    with boundary(where, "opened"):
        with engine.connect() as connection:
            version = _version(connection)
        if version < len(migrations):
            with engine.begin() as connection:
                lock_schema(connection)
                # Read again: another process may have migrated while this one waited for the lock.
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
