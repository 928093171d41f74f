"""What a run writes, twice without harm, by one process at a time (invariants 3, 5, 10, 12)."""

import asyncio
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

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


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db", secrets=("hunter2-hunter2",)) as opened:
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


async def test_secrets_reach_no_table(store: Store, tmp_path: Path) -> None:
    """Invariant 10."""
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


def test_a_run_is_written_by_one_process(store: Store, tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store.db"), "run"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
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
