"""The tables of the newest version. How a store gets there stands in `migrations`.

A record is stored whole, as JSON in `body`; other columns are what rows are found by. Times are ISO 8601 in UTC.
"""

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

metadata = MetaData()


def _run() -> Column[str]:
    return Column("run", Text, ForeignKey("runs.id"), primary_key=True)


schema_version = Table(
    "schema_version",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("at", Text, nullable=False),
)

runs = Table(
    "runs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("created_at", Text, nullable=False),
    Column("config_digest", Text, nullable=False, index=True),
    Column("config", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("stop_reason", Text, nullable=False),
    Column("result", Text),
    Column("active_seconds", Float, nullable=False),
    Column("versions", Text, nullable=False),
    Column("seed", BigInteger, nullable=False),
)

prompts = Table(
    "prompts",
    metadata,
    Column("digest", Text, primary_key=True),
    Column("body", Text, nullable=False),
)

candidates = Table(
    "candidates",
    metadata,
    _run(),
    Column("digest", Text, primary_key=True),
    Column("number", Integer, nullable=False),
    Column("body", Text, nullable=False),
)

examples = Table(
    "examples",
    metadata,
    _run(),
    Column("id", Text, primary_key=True),
    Column("split", Text, nullable=False),
    Column("body", Text, nullable=False),
)

rollouts = Table(
    "rollouts",
    metadata,
    _run(),
    Column("id", Text, primary_key=True),
    Column("prompt", Text, nullable=False),
    Column("split", Text, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_rollouts_prompt", "run", "prompt", "split"),
)

verdicts = Table(
    "verdicts",
    metadata,
    _run(),
    Column("rollout", Text, primary_key=True),
    Column("judge", Text, primary_key=True),
    Column("score", Float),
    Column("body", Text, nullable=False),
)

decisions = Table(
    "decisions",
    metadata,
    _run(),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

events = Table(
    "events",
    metadata,
    _run(),
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Text, nullable=False),
)

test_reads = Table(
    "test_reads",
    metadata,
    _run(),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("reading", Text),
    Column("at", Text, nullable=False),
)

calls = Table(
    "calls",
    metadata,
    Column("key", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("request", Text, nullable=False),
    Column("reply", Text, nullable=False),
    Column("created_at", Text, nullable=False),
)
