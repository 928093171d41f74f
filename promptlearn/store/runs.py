"""The store itself: what the optimizer writes while a run goes on.

Knows the tables and which write is safe to repeat: all but events and active seconds (invariant 3). Error messages pass
`redaction` on their way in (invariant 10); prompts, inputs and outputs are never altered (invariant 12).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import Table, delete, func, insert, select, update
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.sql.dml import Insert

from promptlearn.errors import StoreError
from promptlearn.records import Candidate, Decision, Example, Json, Prompt, Rollout, Split, Verdict
from promptlearn.redaction import redact
from promptlearn.store import schema
from promptlearn.store.codec import dumps, encode
from promptlearn.store.dialect import connect, execute, upsert
from promptlearn.store.entries import rollout_entry, verdict_entry
from promptlearn.store.failures import boundary
from promptlearn.store.ids import new_id
from promptlearn.store.journal import Journal
from promptlearn.store.locks import RunLock, holder
from promptlearn.store.migrations import migrate
from promptlearn.store.place import Place, find_place, make_own, make_private, prepare
from promptlearn.store.reader import Reader
from promptlearn.store.rows import STATES, RunState
from promptlearn.store.writer import Rows, Writer

if TYPE_CHECKING:
    from promptlearn.store.batches import Batches
    from promptlearn.store.cache import Cache
    from promptlearn.store.deliveries import Deliveries
    from promptlearn.store.feedback import Feedback
    from promptlearn.store.guards import Guards
    from promptlearn.store.judge_checks import JudgeChecks
    from promptlearn.store.pulls import Pulls
    from promptlearn.store.requests import Requests
    from promptlearn.store.tuning import Tuning
    from promptlearn.store.views import Views

Failable = TypeVar("Failable", Rollout, Verdict)


class Store:
    """One open store. Use it as a context manager, or `close` it: closing writes what waits."""

    reader: Reader
    """Every question, answered without waiting for a write."""
    journal: Journal
    """Replies that were paid for."""

    def __init__(self, place: Place, writes: Engine, reads: Engine, secrets: Sequence[str]) -> None:
        self.where = str(place)
        self.shared = place.file is None
        """Whether runs of other machines may be in it, as in a database on a server."""
        self._folder = place.folder
        self._engines = (writes, reads)
        self._dialect = writes.dialect.name
        self._secrets = tuple(secrets)
        self._writer = Writer(writes, self.where)
        self.reader = Reader(reads, self.where)
        self.journal = Journal(reads, self._writer, self.where)

    @classmethod
    def open(cls, where: str | Path | None, *, create: bool = True, secrets: Sequence[str] = ()) -> Store:
        """See `promptlearn.store.open_store`."""
        place = find_place(where)
        prepare(place, create)
        with boundary(str(place), "opened"):
            writes = connect(place.url)
            reads = connect(place.url, readonly=True)
        try:
            migrate(writes, str(place))
        except BaseException:
            writes.dispose()
            raise
        return cls(place, writes, reads, secrets)

    @cached_property
    def cache(self) -> Cache:
        """The journal's size, and how it is made smaller."""
        from promptlearn.store.cache import Cache

        return Cache(*self._engines, self.where)

    @cached_property
    def batches(self) -> Batches:
        """Which calls wait at a provider."""
        from promptlearn.store.batches import Batches

        return Batches(self._engines[1], self._writer, self.where)

    @cached_property
    def feedback(self) -> Feedback:
        """What people said on pull requests."""
        from promptlearn.store.feedback import Feedback

        return Feedback(self._engines[1], self._writer, self.where)

    @cached_property
    def guards(self) -> Guards:
        """What prompts learned from reviewers."""
        from promptlearn.store.guards import Guards

        return Guards(self._engines[1], self._writer, self.where)

    @cached_property
    def judges(self) -> JudgeChecks:
        """How judges stood their examinations, and what people say about outputs."""
        from promptlearn.store.judge_checks import JudgeChecks

        return JudgeChecks(self._engines[1], self._writer, self.where)

    @cached_property
    def requests(self) -> Requests:
        """What people ask of runs."""
        from promptlearn.store.requests import Requests

        return Requests(self._engines[1], self._writer, self.where)

    @cached_property
    def views(self) -> Views:
        """What reports show of many rows, a page at a time."""
        from promptlearn.store.views import Views

        return Views(self._engines[1], self.where)

    @cached_property
    def pulls(self) -> Pulls:
        """How far pull requests were read."""
        from promptlearn.store.pulls import Pulls

        return Pulls(self._engines[1], self._writer, self.where)

    @cached_property
    def tuning(self) -> Tuning:
        """How weights were trained."""
        from promptlearn.store.tuning import Tuning

        return Tuning(self._engines[1], self._writer, self.where, self._clean)

    @cached_property
    def deliveries(self) -> Deliveries:
        """Webhooks that wait."""
        from promptlearn.store.deliveries import Deliveries

        return Deliveries(self._engines[1], self._writer, self.where)

    def close(self) -> None:
        """Write what waits and give every connection back; twice is once."""
        self._writer.close()
        self.journal.close()
        for engine in self._engines:
            engine.dispose()

    def __enter__(self) -> Store:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run_dir(self, run: str) -> Path:
        """The folder for a run's files (`.promptlearn/runs/<id>/`), for this user only; made where it is missing."""
        folder = self._folder / "runs" / run
        try:
            make_own(self._folder)
            make_private(folder)
        except OSError as error:
            raise StoreError(f"no folder can be made at {folder}: {error.strerror}; mend that and try again") from error
        return folder

    def lock_run(self, run: str) -> RunLock:
        """The right to write a run, for one process at a time; a context manager.

        Raises `StoreError` naming the process that has it. The operating system gives it back when that process dies.
        """
        path = self.run_dir(run) / "lock"
        try:
            return RunLock(path, run)
        except OSError as error:
            raise StoreError(f"the lock at {path} can not be written: {error.strerror}; mend that") from error

    def running(self) -> dict[str, str]:
        """Runs that are at work on this machine, with the process of each."""
        held = {run: self.process_of(run) for run in self.reader.runs_in("running")}
        return {run: process for run, process in held.items() if process is not None}

    def process_of(self, run: str) -> str | None:
        """The process on this machine that works on a run; None where there is none."""
        return holder(self._folder / "runs" / run / "lock")

    def unfinished_run(self, config_digest: str) -> str | None:
        """The newest run of this configuration that was killed, interrupted or stopped by its budget."""
        return self.reader.unfinished_run(config_digest)

    async def start_run(self, config: Json, config_digest: str, versions: Mapping[str, str], seed: int) -> str:
        """Begin a run in state `running`; returns its id. `config` names where keys come from and holds none."""
        run = new_id()
        await self._writer.write(
            insert(schema.runs),
            {
                "id": run,
                "created_at": _now(),
                "config_digest": config_digest,
                "config": dumps(config),
                "state": "running",
                "stop_reason": "",
                "result": None,
                "active_seconds": 0.0,
                "versions": dumps(dict(versions)),
                "seed": seed,
            },
        )
        return run

    async def resume_run(self, run: str) -> None:
        """Put a run back to `running`."""
        await self._change(run, state="running", stop_reason="", result=None)

    async def finish_run(self, run: str, state: RunState, stop_reason: str, result: Json = None) -> None:
        """End a run (or a stretch of it: `interrupted` and `budget` can go on). `result` is what `--json` prints."""
        if state not in STATES:
            raise ValueError(f"{state!r} is no state of a run: possible are {', '.join(STATES)}")
        if isinstance(result, dict) and "stop_reason" in result:
            result = result | {"stop_reason": self._clean_json(result["stop_reason"])}
        text = None if result is None else dumps(result)
        await self._change(run, state=state, stop_reason=self._clean(stop_reason), result=text)

    async def add_active_seconds(self, run: str, seconds: float) -> None:
        """Count working time. Called every so often, so that little is forgotten at a kill."""
        await self._change(run, active_seconds=schema.runs.c.active_seconds + seconds)

    async def add_prompt(self, prompt: Prompt) -> None:
        """Keep a prompt under its digest; a later one of the same text (with measured effects, say) replaces it."""
        await self._put(schema.prompts, {"digest": prompt.digest, "body": encode(prompt)})

    async def add_candidate(self, run: str, candidate: Candidate, number: int) -> None:
        """Keep a candidate, its prompt with it. The baseline is number 0, with no parents."""
        await self._put(
            schema.candidates,
            {"run": run, "digest": candidate.digest, "number": number, "body": encode(candidate)},
        )

    async def add_examples(self, run: str, examples: Sequence[Example], split: Split) -> None:
        """Keep the rows that a run works on, so that reports can show them next to what was said about them."""
        rows = [{"run": run, "id": row.id, "split": split, "body": encode(row)} for row in examples]
        await self._put(schema.examples, *rows)

    async def add_row(
        self, run: str, rollout: Rollout, verdicts: Sequence[Verdict], split: Split, score: float | None = None
    ) -> None:
        """Keep a rollout and what was said about it, all of it or nothing; what is run or judged again replaces it.

        `score` is what the panel made of the verdicts; None: not judged.
        """
        entry = rollout_entry(run, self._clean_record(rollout), split, score)
        said = [verdict_entry(run, self._clean_record(verdict), rollout.prompt, split) for verdict in verdicts]
        parts: list[Rows] = [(self._upsert(schema.rollouts), [entry]), (self._upsert(schema.verdicts), said)]
        await self._writer.write_together(*(part for part in parts if part[1]))

    async def add_rollout(self, run: str, rollout: Rollout, split: Split) -> None:
        """Keep a rollout that nobody judged yet; one that is run again after a failure replaces it."""
        await self.add_row(run, rollout, (), split)

    async def add_verdicts(self, run: str, verdicts: Sequence[Verdict]) -> None:
        """Keep verdicts on rollouts that the run has, one per rollout and judge; the latest counts."""
        cleaned = [self._clean_record(verdict) for verdict in verdicts]
        if cleaned:
            await self._writer.run(lambda connection: _put_verdicts(connection, run, cleaned))

    async def add_decision(self, run: str, number: int, decision: Decision) -> None:
        """Keep the decision with this number (0, 1, … in the order of decisions)."""
        await self._put(schema.decisions, {"run": run, "number": number, "body": encode(decision)})

    async def keep_search(self, run: str, candidates: Sequence[str], decisions: int) -> None:
        """Forget all candidates but those with these digests, and all decisions but the first so many."""
        of, made = schema.candidates.c, schema.decisions.c
        lost = [
            delete(schema.candidates).where(of.run == run, of.digest.not_in(candidates)),
            delete(schema.decisions).where(made.run == run, made.number >= decisions),
        ]
        await self._writer.run(lambda connection: [connection.execute(one).rowcount for one in lost])

    async def add_event(self, run: str, kind: str, body: Json = None) -> int:
        """Append an event; returns its id, which counts up from 1 within the run."""
        text = dumps(self._clean_json(body))
        return await self._writer.run(lambda connection: _append_event(connection, run, kind, text))

    async def read_test(self, run: str, reading: str | None = None) -> int:
        """Note that the test split is about to be read; returns the how many-th time this is (invariant 5).

        A `reading` that has a name ("final", say) is noted once: a run that was killed during it and goes on reads for
        the same n-th time. Without a name every call counts.
        """
        return await self._writer.run(lambda connection: _note_test_read(connection, run, reading))

    async def _put(self, table: Table, *rows: dict[str, Any]) -> None:
        if rows:
            await self._writer.write(self._upsert(table), *rows)

    def _upsert(self, table: Table) -> Insert:
        return upsert(self._dialect, table)

    async def _change(self, run: str, **values: Any) -> None:
        statement = update(schema.runs).where(schema.runs.c.id == run).values(**values)
        if not await self._writer.run(lambda connection: connection.execute(statement).rowcount):
            raise StoreError(f"the store at {self.where} has no run {run}: see `promptlearn runs`")

    def _clean(self, text: str) -> str:
        return redact(text, self._secrets)

    def _clean_record(self, record: Failable) -> Failable:
        """Without a secret in its error's message."""
        if record.error is None:
            return record
        return replace(record, error=replace(record.error, message=self._clean(record.error.message)))

    def _clean_json(self, value: Json) -> Json:
        if isinstance(value, str):
            return self._clean(value)
        if isinstance(value, Mapping):
            return {name: self._clean_json(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self._clean_json(item) for item in value]
        return value


def _put_verdicts(connection: Connection, run: str, verdicts: Sequence[Verdict]) -> None:
    table = schema.rollouts.c
    about = sorted({verdict.rollout for verdict in verdicts})
    query = select(table.id, table.prompt, table.split).where(table.run == run, table.id.in_(about))
    known = {row.id: row for row in connection.execute(query)}
    missing = [rollout for rollout in about if rollout not in known]
    if missing:
        raise StoreError(f"run {run} has no rollout {missing[0]} that a verdict could be about: keep the rollout first")
    entries = [
        verdict_entry(run, verdict, known[verdict.rollout].prompt, known[verdict.rollout].split) for verdict in verdicts
    ]
    execute(connection, upsert(connection.dialect.name, schema.verdicts), entries)


def _append_event(connection: Connection, run: str, kind: str, text: str) -> int:
    last = connection.execute(select(func.max(schema.events.c.id)).where(schema.events.c.run == run)).scalar()
    number = int(last or 0) + 1
    connection.execute(insert(schema.events).values(run=run, id=number, kind=kind, body=text, at=_now()))
    return number


def _note_test_read(connection: Connection, run: str, reading: str | None) -> int:
    table = schema.test_reads
    of_run = select(table.c.n, table.c.reading).where(table.c.run == run)
    seen = connection.execute(of_run.order_by(table.c.n)).all()
    known = next((row.n for row in seen if reading is not None and row.reading == reading), None)
    if known is not None:
        return int(known)
    number = len(seen) + 1
    connection.execute(insert(table).values(run=run, n=number, reading=reading, at=_now()))
    return number


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
