"""The tables of the newest version. How a store gets there stands in `migrations`.

A record is stored whole, as JSON in `body`; other columns are what rows are found by and what reports add up. Times
are ISO 8601 in UTC.
"""

from typing import Any

from sqlalchemy import BigInteger, Column, Float, ForeignKey, Index, Integer, MetaData, Table, Text

metadata = MetaData()


def _run() -> Column[str]:
    return Column("run", Text, ForeignKey("runs.id"), primary_key=True)


def _usage() -> list[Column[Any]]:
    """The fields of `records.Usage`, to be added up without reading bodies. No cost: unknown."""
    counts = ("calls", "cached_calls", "input_tokens", "output_tokens", "cached_tokens")
    return [
        *(Column(name, BigInteger, nullable=False, server_default="0") for name in counts),
        Column("cost_usd", Float),
    ]


USAGE = tuple(column.name for column in _usage())


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
    Index("ix_examples_split", "run", "split", "id"),
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
    *_usage(),
    Column("example", Text, nullable=False, server_default=""),
    Column("score", Float),
    Index("ix_rollouts_sums", "run", "prompt", "split", "failed", *USAGE),
    Index("ix_rollouts_scores", "run", "prompt", "split", "example", "score", "failed"),
)

verdicts = Table(
    "verdicts",
    metadata,
    _run(),
    Column("rollout", Text, primary_key=True),
    Column("judge", Text, primary_key=True),
    Column("score", Float),
    Column("body", Text, nullable=False),
    *_usage(),
    Column("prompt", Text, nullable=False, server_default=""),
    Column("split", Text, nullable=False, server_default=""),
    Column("about", Text),
    Column("standing", Text, nullable=False, server_default=""),
    Index("ix_verdicts_sums", "run", "prompt", "split", "judge", "score", "standing", *USAGE),
)
PEOPLE = verdicts.c.about.is_not(None)
"""Verdicts that are people's labels: few, and found by an index of their own."""
Index("ix_verdicts_people", verdicts.c.run, verdicts.c.rollout, sqlite_where=PEOPLE, postgresql_where=PEOPLE)

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

feedback = Table(
    "feedback",
    metadata,
    Column("ref", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("pull", Integer, nullable=False),
    Column("kind", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("dropped", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("changed_at", Text, nullable=False),
    Column("head", Text, nullable=False),
    Column("original_commit", Text),
    Column("digest", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("decision", Text),
    Column("classification", Text),
    Index("ix_feedback_pull", "host", "repo", "pull"),
    Index("ix_feedback_order", "created_at", "ref"),
)

feedback_events = Table(
    "feedback_events",
    metadata,
    Column("ref", Text, ForeignKey("feedback.ref"), primary_key=True),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("at", Text, nullable=False),
)

pulls = Table(
    "pulls",
    metadata,
    Column("host", Text, primary_key=True),
    Column("repo", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("updated_at", Text, nullable=False),
    Column("body", Text, nullable=False),
)

pull_sources = Table(
    "pull_sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("progress", Text, nullable=False),
    Column("at", Text, nullable=False),
)

pull_reads = Table(
    "pull_reads",
    metadata,
    Column("source", Text, primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("read_at", Text, nullable=False),
)

etags = Table(
    "etags",
    metadata,
    Column("token", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("url", Text, primary_key=True),
    Column("etag", Text, nullable=False),
    Column("at", Text, nullable=False),
)

permissions = Table(
    "permissions",
    metadata,
    Column("host", Text, primary_key=True),
    Column("repo", Text, primary_key=True),
    Column("author", Text, primary_key=True),
    Column("permission", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
)

deliveries = Table(
    "deliveries",
    metadata,
    Column("id", Text, primary_key=True),
    Column("host", Text, nullable=False),
    Column("repo", Text, nullable=False),
    Column("pull", Integer, nullable=False),
    Column("event", Text, nullable=False),
    Column("state", Text, nullable=False, index=True),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("received_at", Text, nullable=False),
    Column("done_at", Text),
)

batches = Table(
    "batches",
    metadata,
    Column("own", Text, primary_key=True),
    Column("endpoint", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("file", Text),
    Column("batch", Text),
    Column("created_at", Text, nullable=False),
    Column("touched_at", Text, nullable=False),
)

batch_calls = Table(
    "batch_calls",
    metadata,
    Column("key", Text, primary_key=True),
    Column("own", Text, nullable=False),
)

guards = Table(
    "guards",
    metadata,
    Column("scope", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("active", Integer, nullable=False),
    Column("at", Text, nullable=False),
    Column("body", Text, nullable=False),
)

tuning_steps = Table(
    "tuning_steps",
    metadata,
    _run(),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

tuning_validations = Table(
    "tuning_validations",
    metadata,
    _run(),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

tuning_samples = Table(
    "tuning_samples",
    metadata,
    _run(),
    Column("step", Integer, primary_key=True, autoincrement=False),
    Column("place", Integer, primary_key=True, autoincrement=False),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
)

judge_checks = Table(
    "judge_checks",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("judge", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("body", Text, nullable=False),
    Index("ix_judge_checks_judge", "judge", "kind", "at"),
)

judge_labels = Table(
    "judge_labels",
    metadata,
    Column("item", Text, primary_key=True),
    Column("judge", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("body", Text, nullable=False),
)

requests = Table(
    "requests",
    metadata,
    Column("id", Text, primary_key=True),
    Column("run", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("who", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("note", Text, nullable=False),
    Column("done_at", Text),
    Index("ix_requests_run", "run", "state"),
)

pulses = Table(
    "pulses",
    metadata,
    _run(),
    Column("at", Text, nullable=False),
    Column("body", Text, nullable=False),
)
