"""The cache: what is kept for each model, and how replies are removed without touching anything else."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import update
from stores import KINDS, fresh_store

from promptlearn.records import Candidate, Json, Prompt, Rollout, Verdict
from promptlearn.store import Store, open_store
from promptlearn.store.cache import Choice
from promptlearn.store.locks import holder
from promptlearn.store.schema import calls

HOLDER = """
import asyncio, sys
from promptlearn.store import open_store

with open_store(sys.argv[1]) as store:
    run = asyncio.run(store.start_run({}, "digest", {}, 0))
    with store.lock_run(run):
        print(run, flush=True)
        sys.stdin.read()
"""

FILLED = """
import asyncio, resource, sys
from promptlearn.store import open_store
from promptlearn.store.cache import Choice

async def fill() -> None:
    with open_store(sys.argv[1]) as store:
        reply = {"text": "x" * 20_000}
        await asyncio.gather(
            *(store.journal.record(f"{n}", "old" if n < 50 else "new", {}, reply) for n in range(200))
        )

asyncio.run(fill())
with open_store(sys.argv[1]) as store:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_500_000, 1_500_000))
    removed = store.cache.remove(Choice(models=("old",)))
    print(removed.replies.replies, removed.freed, removed.kept)
"""

LOOKER = """
import sys, time
from pathlib import Path
from promptlearn.store.locks import holder
print("looking", flush=True)
while True:
    holder(Path(sys.argv[1]))
    time.sleep(0.0005)
"""

DAYS = [f"2026-01-0{day}T00:00:00.000+00:00" for day in range(1, 7)]


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with fresh_store(request.param, tmp_path) as opened:
        yield opened


def reply(said: str = "a", cost: float | None = 0.5, tokens: int = 10) -> Json:
    usage = {"calls": 1, "input_tokens": tokens, "output_tokens": 1, "cost_usd": cost}
    return {"text": said, "usage": usage, "logprobs": None}


async def keep(store: Store, key: str, model: str = "m", answer: Json = None, day: int = 0) -> None:
    await store.journal.record(key, model, {"q": key}, answer or reply())
    at = update(calls).where(calls.c.key == key).values(created_at=DAYS[day])
    await store._writer.run(lambda connection: connection.execute(at))


async def six_days(store: Store) -> None:
    for day in range(6):
        await keep(store, f"k{day}", "even" if day % 2 == 0 else "odd", reply("x" * 1000), day)


def left(store: Store) -> str:
    return "".join(str(day) for day in range(6) if f"k{day}" in store.journal)


def on_disk(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("store.db*"))


async def test_each_model_has_its_replies_added_up(store: Store) -> None:
    await keep(store, "a", "one", reply("Grüße", 0.25), 1)
    await keep(store, "b", "one", reply('\x00 \ud83d "cost_usd":7', 0.5, 20), 3)
    await keep(store, "c", "two", reply(cost=None))
    await keep(store, "d", "three", {"text": "of an adapter that counts nothing"})
    one, three, two = store.cache.models()
    assert (one.model, one.replies, one.oldest, one.newest) == ("one", 2, DAYS[1], DAYS[3])
    assert (one.input_tokens, one.output_tokens, one.cost_usd) == (30, 2, 0.75)
    assert (two.replies, two.cost_usd) == (1, None), "unknown is not free"
    assert (three.replies, three.input_tokens, three.cost_usd) == (1, 0, None)
    assert store.cache.size() > sum(row.bytes for row in (one, two, three))


async def test_size_counts_bytes(store: Store) -> None:
    await store.journal.record("a", "m", {}, {"text": "🦊"})
    assert store.cache.models()[0].bytes == len("{}") + len('{"text":"🦊"}'.encode())


def test_an_empty_cache(store: Store) -> None:
    assert store.cache.models() == []
    nothing = store.cache.count(Choice())
    assert (nothing.replies, nothing.bytes, nothing.oldest, nothing.cost_usd) == (0, 0, None, 0.0)
    assert store.cache.remove(Choice()).replies == nothing


@pytest.mark.parametrize(
    ("choice", "stay"),
    [
        (Choice(), ""),
        (Choice(before=DAYS[2]), "2345"),
        (Choice(models=("odd",)), "024"),
        (Choice(models=("odd", "even")), ""),
        (Choice(models=("other",)), "012345"),
        (Choice(max_bytes=2500), "45"),
        (Choice(max_bytes=0), ""),
        (Choice(max_bytes=10**9), "012345"),
        (Choice(models=("even",), max_bytes=1500), "1345"),
        (Choice(before=DAYS[1], max_bytes=2500), "12345"),
    ],
    ids=str,
)
async def test_what_is_chosen_is_removed_and_nothing_else(store: Store, choice: Choice, stay: str) -> None:
    await six_days(store)
    said = store.cache.count(choice)
    removed = store.cache.remove(choice)
    assert left(store) == stay
    assert removed.replies == said
    assert (said.replies, removed.kept) == (6 - len(stay), "")


async def test_runs_rows_and_decisions_stay(store: Store) -> None:
    run = await store.start_run({}, "digest", {}, 0)
    rollout = Rollout("p", "e", "yes")
    await store.add_candidate(run, Candidate(Prompt.of("x"), (), "baseline"), 0)
    await store.add_row(run, rollout, [Verdict("exact", rollout.id, 1.0)], "train")
    await six_days(store)
    store.cache.remove(Choice())
    assert store.reader.rollouts(run)[0].rollout == rollout
    assert len(store.reader.candidates(run)) == len(store.reader.verdicts(run)) == 1
    await keep(store, "k1")
    assert left(store) == "1"


async def test_the_file_becomes_smaller(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        await asyncio.gather(*(keep(store, f"{n}", answer=reply("x" * 5000)) for n in range(200)))
        removed = store.cache.remove(Choice())
        assert removed.freed > 1_000_000
        assert on_disk(tmp_path) < 500_000


async def test_the_file_becomes_smaller_once_others_have_read(tmp_path: Path) -> None:
    """Somebody who is reading neither blocks the removal nor sees half of it."""
    with open_store(tmp_path / "store.db") as store:
        await asyncio.gather(*(keep(store, f"{n}", answer=reply("x" * 5000)) for n in range(200)))
        other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
        other.execute("BEGIN")
        assert other.execute("SELECT count(*) FROM calls").fetchone() == (200,)
        assert store.cache.remove(Choice()).replies.replies == 200
        assert other.execute("SELECT count(*) FROM calls").fetchone() == (200,)
        other.execute("COMMIT")
        other.close()
    assert on_disk(tmp_path) < 500_000


def test_a_file_that_can_not_be_made_smaller_says_why(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FILLED, str(tmp_path / "store.db")], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("50 0 the store at")
    assert "the disk takes no more" in done.stdout
    with open_store(tmp_path / "store.db") as store:
        assert store.cache.count(Choice()).replies == 150


def test_runs_at_work_are_known_by_their_locks(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "store.db")]
    with (
        open_store(tmp_path / "store.db") as store,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process,
    ):
        assert process.stdout is not None
        run = process.stdout.readline().strip()
        assert store.running() == {run: str(process.pid)}
        process.kill()
        process.wait()
        assert store.running() == {}, "a run that was killed is not at work"
    assert holder(tmp_path / "nothing") is None


def test_looking_whether_a_run_is_at_work_stops_nobody_from_beginning(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        run = asyncio.run(store.start_run({}, "digest", {}, 0))
        store.lock_run(run).release()
        command = [sys.executable, "-c", LOOKER, str(store.run_dir(run) / "lock")]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as looker:
            assert looker.stdout is not None
            looker.stdout.readline()
            try:
                for _ in range(200):
                    store.lock_run(run).release()
            finally:
                looker.kill()
