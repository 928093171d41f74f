"""What a run writes, twice without harm, by one process at a time (invariants 3, 5, 10, 12)."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event
from stores import KINDS, fresh_store

from promptlearn.errors import StoreError
from promptlearn.records import (
    Candidate,
    Decision,
    Effect,
    Example,
    Failure,
    Interval,
    Prompt,
    Rollout,
    Rule,
    Usage,
    Verdict,
)
from promptlearn.store import Store, open_store
from promptlearn.store.ids import new_id
from promptlearn.store.rows import CandidateRow, ExampleRow, FailedRow, RolloutRow, RunState, ScoreRow

HOLDER = """
import sys
from promptlearn.store import open_store
store = open_store(sys.argv[1])
lock = store.lock_run(sys.argv[2])
print("locked", flush=True)
sys.stdin.read()
"""

SEED = Prompt.of("Answer {question} in \r\n one word: {{x}} $y")
BETTER = Prompt(SEED.messages, rules=(Rule("Be brief.", ("verdict@1",)),))


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.chdir(tmp_path)
    with fresh_store(request.param, tmp_path, "hunter2-hunter2") as opened:
        yield opened


async def start(store: Store, digest: str = "digest") -> str:
    return await store.start_run({"prompt": "a.md"}, digest, {"promptlearn": "0.1"}, 2**40)


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.glob("store.db*"))


async def test_a_run_is_kept_as_it_was_started(store: Store) -> None:
    run = await start(store)
    row = store.reader.run(run)
    assert row is not None
    assert (row.config, row.versions, row.seed) == ({"prompt": "a.md"}, {"promptlearn": "0.1"}, 2**40)
    assert (row.state, row.stop_reason, row.result, row.active_seconds) == ("running", "", None, 0.0)
    assert store.reader.run("other") is None


@pytest.mark.parametrize(
    ("state", "goes_on"),
    [("running", True), ("interrupted", True), ("budget", True), ("finished", False), ("failed", False)],
)
async def test_a_run_that_did_not_end_goes_on(store: Store, state: RunState, goes_on: bool) -> None:
    """Invariant 3."""
    run = await start(store)
    await store.finish_run(run, state, "why", {"decision": "improved"})
    assert store.unfinished_run("digest") == (run if goes_on else None)
    assert store.unfinished_run("other") is None
    await store.resume_run(run)
    row = store.reader.run(run)
    assert row is not None
    assert (row.state, row.stop_reason, row.result) == ("running", "", None)


async def test_the_newest_run_goes_on(store: Store) -> None:
    runs = [await start(store) for _ in range(5)]
    assert [row.id for row in store.reader.runs()] == runs[::-1]
    assert store.unfinished_run("digest") == runs[-1]
    await store.finish_run(runs[-1], "finished", "done")
    assert store.unfinished_run("digest") == runs[-2]


async def test_writing_again_changes_nothing(store: Store) -> None:
    """Invariant 3: a run that goes on writes the same rows once more."""
    run = await start(store)
    candidate = Candidate(BETTER, (SEED.digest,), "rules", "because", Usage(calls=2))
    example = Example("e1", {"question": "{a} $b \r\n"}, "yes", group="g")
    rollout = Rollout(SEED.digest, "e1", "yes \x00", usage=Usage(calls=1))
    verdict = Verdict("exact", rollout.id, 1.0, explanation="says {yes}", suggestion="$x", passed=True)
    decision = Decision(BETTER.digest, SEED.digest, "race", "accepted", "better", 3, 0.5, Interval(0.1, 0.9), 0.01)
    for _ in range(2):
        await store.add_prompt(SEED)
        await store.add_candidate(run, Candidate(SEED, (), "baseline"), 0)
        await store.add_candidate(run, candidate, 1)
        await store.add_examples(run, [example], "validation")
        await store.add_rollout(run, rollout, "validation")
        await store.add_verdicts(run, [verdict, replace(verdict, name="tone", score=None)])
        await store.add_verdicts(run, [])
        await store.add_decision(run, 0, decision)
    reader = store.reader
    assert reader.prompt(SEED.digest) == SEED
    assert reader.prompt("unknown") is None
    assert reader.candidates(run) == [CandidateRow(0, Candidate(SEED, (), "baseline")), CandidateRow(1, candidate)]
    assert reader.examples(run) == [ExampleRow("validation", example)]
    assert reader.examples(run, "test") == []
    assert reader.rollouts(run) == [RolloutRow("validation", rollout)]
    assert reader.rollouts(run, BETTER.digest) == reader.rollouts(run, split="test") == []
    assert reader.verdicts(run, SEED.digest, "validation") == [verdict, replace(verdict, name="tone", score=None)]
    assert reader.decisions(run) == [decision]
    assert reader.scores(run) == [
        ScoreRow(SEED.digest, "validation", "exact", 1.0, 1, 0),
        ScoreRow(SEED.digest, "validation", "tone", None, 0, 1),
    ]


async def test_what_was_measured_later_replaces_what_was_not(store: Store) -> None:
    """Invariant 11."""
    measured = replace(BETTER.rules[0], effect=Effect(0.1, Interval(0.0, 0.2), 30))
    later = Prompt(BETTER.messages, rules=(measured,))
    assert later.digest == BETTER.digest
    await store.add_prompt(BETTER)
    await store.add_prompt(later)
    assert store.reader.prompt(BETTER.digest) == later


async def test_a_rollout_that_failed_is_replaced_by_its_repetition(store: Store) -> None:
    """Invariant 4."""
    run = await start(store)
    failed = Rollout(SEED.digest, "e1", error=Failure("timeout", "no answer in 30 s"))
    await store.add_rollout(run, failed, "train")
    assert store.reader.failures(run) == [FailedRow(SEED.digest, "train", 1, 1)]
    await store.add_rollout(run, Rollout(SEED.digest, "e1", "yes"), "train")
    assert store.reader.failures(run) == [FailedRow(SEED.digest, "train", 1, 0)]


async def test_a_row_is_kept_with_its_verdicts(store: Store) -> None:
    run = await start(store)
    rollout = Rollout(SEED.digest, "e1", "yes", usage=Usage(calls=1, cost_usd=0.5))
    await store.add_row(run, rollout, [], "train")
    verdicts = [Verdict("exact", rollout.id, 1.0, usage=Usage(calls=2)), Verdict("tone", rollout.id, 0.5)]
    for _ in range(2):
        await store.add_row(run, rollout, verdicts, "train")
    assert store.reader.rollouts(run) == [RolloutRow("train", rollout)]
    assert store.reader.verdicts(run, SEED.digest, "train") == verdicts
    assert store.reader.failures(run) == [FailedRow(SEED.digest, "train", 1, 0, Usage(calls=1, cost_usd=0.5))]


async def test_a_row_is_kept_whole_or_not_at_all(store: Store) -> None:
    run = await start(store)
    rollout = Rollout(SEED.digest, "e1", "yes")
    with pytest.raises(StoreError, match="can not be written"):
        await store.add_row(run, rollout, [Verdict(cast("str", None), rollout.id, 1.0)], "train")
    with pytest.raises(StoreError, match="can not be written"):
        await store.add_row("nowhere", rollout, [Verdict("exact", rollout.id, 1.0)], "train")
    assert store.reader.rollouts(run) == []
    assert store.reader.verdicts(run) == []


async def test_a_count_that_nobody_believes_stops_no_run(store: Store) -> None:
    """Invariant 12: the record keeps it; a sum is as large as a database can count."""
    run = await start(store)
    rollout = Rollout(SEED.digest, "e1", "yes", usage=Usage(calls=1, output_tokens=10**30))
    await store.add_row(run, rollout, [Verdict("exact", rollout.id, usage=rollout.usage)], "train")
    assert store.reader.rollouts(run)[0].rollout.usage.output_tokens == 10**30
    assert store.reader.failures(run)[0].usage.output_tokens == store.reader.scores(run)[0].usage.output_tokens > 10**12


async def test_a_verdict_is_about_a_rollout_that_is_kept(store: Store) -> None:
    run = await start(store)
    with pytest.raises(StoreError, match="has no rollout p/e1 that a verdict could be about: keep the rollout first"):
        await store.add_verdicts(run, [Verdict("exact", "p/e1", 1.0)])
    await store.add_rollout(run, Rollout("p", "e1", "yes"), "test")
    await store.add_verdicts(run, [Verdict("exact", "p/e1", 1.0)])
    assert store.reader.scores(run) == [ScoreRow("p", "test", "exact", 1.0, 1, 0)]


COSTS = st.none() | st.sampled_from([0.0, 0.25, 2.0])
USAGES = st.builds(Usage, *[st.integers(0, 10**9)] * 5, COSTS)
ROWS = st.lists(
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["1", "2", "3"]),
        st.booleans(),
        USAGES,
        st.lists(st.tuples(st.sampled_from("xy"), st.none() | st.sampled_from([0.0, 0.5, 1.0]), USAGES), max_size=3),
    ),
    max_size=12,
)


@settings(max_examples=30, deadline=None)
@given(rows=ROWS)
def test_what_is_added_up_is_what_was_kept_last(rows: list[tuple[str, str, bool, Usage, list[Any]]]) -> None:
    """Invariant 4, for rows that are run and judged again."""
    rollouts: dict[str, Rollout] = {}
    verdicts: dict[tuple[str, str], Verdict] = {}

    async def write(store: Store) -> str:
        run = await start(store)
        for prompt, example, failed, usage, said in rows:
            rollout = Rollout(prompt, example, error=Failure("timeout", "") if failed else None, usage=usage)
            given = [Verdict(judge, rollout.id, score, usage=cost) for judge, score, cost in said]
            await store.add_row(run, rollout, given, "train")
            rollouts[rollout.id] = rollout
            verdicts.update({(verdict.rollout, verdict.name): verdict for verdict in given})
        return run

    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:
        run = asyncio.run(write(store))
        for failures in store.reader.failures(run):
            mine = [rollout for rollout in rollouts.values() if rollout.prompt == failures.prompt]
            assert (failures.rollouts, failures.failed) == (len(mine), sum(one.error is not None for one in mine))
            assert failures.usage == sum((one.usage for one in mine), Usage())
        assert sum(found.rollouts for found in store.reader.failures(run)) == len(rollouts)
        for scores in store.reader.scores(run):
            of = [one for one in verdicts.values() if (one.rollout[0], one.name) == (scores.prompt, scores.judge)]
            known = [one.score for one in of if one.score is not None]
            assert (scores.n, scores.unscored) == (len(known), len(of) - len(known))
            assert scores.mean == (pytest.approx(sum(known) / len(known)) if known else None)
            assert scores.usage == sum((one.usage for one in of), Usage())
        assert sum(found.n + found.unscored for found in store.reader.scores(run)) == len(verdicts)


async def test_reports_add_up_without_reading_rows(tmp_path: Path) -> None:
    """So that the list of runs and a run's table take no longer for long outputs."""
    asked: list[str] = []
    with open_store(tmp_path / "store.db") as store:
        run = await start(store)
        listen = store.reader._engine
        event.listen(listen, "before_cursor_execute", lambda *seen: asked.append(seen[2]))
        store.reader.scores(run)
        store.reader.failures(run)
    with sqlite3.connect(tmp_path / "store.db") as connection:
        for sql in asked:
            (plan,) = connection.execute(f"EXPLAIN QUERY PLAN {sql}", (run,) * sql.count("?")).fetchall()[:1]
            assert "USING COVERING INDEX ix_" in plan[3]
    connection.close()


async def test_secrets_reach_no_table(tmp_path: Path) -> None:
    """Invariant 10."""
    store = open_store(tmp_path / "store.db", secrets=("hunter2-hunter2",))
    run = await start(store)
    said = "401: sk-proj-abcdefghijklmnop0123456789 and hunter2-hunter2 are wrong"
    failure = Failure("auth", said)
    rollout = Rollout(SEED.digest, "e1", error=failure)
    await store.add_rollout(run, rollout, "train")
    await store.add_verdicts(run, [Verdict("tone", rollout.id, error=failure)])
    await store.add_event(run, "failed", {"message": said, "all": [said, {"deep": said}], "count": 3})
    await store.finish_run(run, "failed", said, {"stop_reason": said})
    store.close()
    raw = everything_in(tmp_path)
    assert b"hunter2-hunter2" not in raw
    assert b"abcdefghijklmnop" not in raw
    with open_store(tmp_path / "store.db") as again:
        clean = Failure("auth", "401: [redacted] and [redacted] are wrong")
        assert again.reader.rollouts(run)[0].rollout.error == clean
        assert again.reader.verdicts(run)[0].error == clean
        assert again.reader.events(run)[0].body["count"] == 3


async def test_prompts_and_outputs_are_not_altered(store: Store) -> None:
    """Invariant 12, where a prompt speaks of keys."""
    run = await start(store)
    prompt = Prompt.of("Never print api_key=abcdefgh12345678 or Bearer abcdefgh12345678.")
    await store.add_candidate(run, Candidate(prompt, (), "baseline"), 0)
    await store.add_rollout(run, Rollout(prompt.digest, "e1", prompt.text), "train")
    assert store.reader.candidates(run)[0].candidate.prompt == prompt
    assert store.reader.rollouts(run)[0].rollout.output == prompt.text


async def test_events_count_up_from_one(store: Store) -> None:
    run, other = await start(store), await start(store)
    assert await asyncio.gather(*(store.add_event(run, "tick", {"n": n}) for n in range(20))) == list(range(1, 21))
    assert await store.add_event(other, "tick") == 1
    assert [event.body["n"] for event in store.reader.events(run, after=15)] == [15, 16, 17, 18, 19]


async def test_a_second_reading_of_the_test_split_is_recorded(store: Store) -> None:
    """Invariant 5."""
    run = await start(store)
    assert [await store.read_test(run), await store.read_test(run)] == [1, 2]
    assert [row.n for row in store.reader.test_reads(run)] == [1, 2]


async def test_a_reading_that_a_kill_cut_short_is_the_same_reading(store: Store) -> None:
    """Invariants 3 and 5."""
    run = await start(store)
    assert [await store.read_test(run, name) for name in ("final", "final", "eval", "final")] == [1, 1, 2, 1]
    assert [row.reading for row in store.reader.test_reads(run)] == ["final", "eval"]


async def test_active_seconds_add_up(store: Store) -> None:
    run = await start(store)
    await asyncio.gather(*(store.add_active_seconds(run, 0.5) for _ in range(10)))
    row = store.reader.run(run)
    assert row is not None
    assert row.active_seconds == pytest.approx(5)


async def test_a_run_that_is_not_there(store: Store) -> None:
    with pytest.raises(StoreError, match="has no run nowhere"):
        await store.resume_run("nowhere")
    with pytest.raises(StoreError, match="can not be written"):
        await store.add_event("nowhere", "tick")
    with pytest.raises(ValueError, match="no state of a run: possible are running"):
        await store.finish_run("nowhere", cast("RunState", "done"), "")


def test_a_run_is_written_by_one_process(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store.db"), "run"]
    with (
        open_store(tmp_path / "store.db") as store,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(StoreError, match=f"run run is being written by process {process.pid}"):
            store.lock_run("run")
        store.lock_run("other").release()
        process.send_signal(signal.SIGKILL)
        process.wait()
        with store.lock_run("run"), pytest.raises(StoreError, match="is being written"):
            store.lock_run("run")
        lock = store.lock_run("run")
        lock.release()
        lock.release()


def test_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_id() for _ in range(2000)]
    assert ids == sorted(set(ids))
    assert {len(run) for run in ids} == {26}
