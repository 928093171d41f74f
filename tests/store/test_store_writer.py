"""The writer: grouped, durable, in order, and clear about what went wrong (invariants 2 and 3)."""

import asyncio
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, insert, select, text
from sqlalchemy.engine import Connection
from stores import KINDS, fresh_place

from promptlearn.errors import StoreError
from promptlearn.store import Journal, Store, call_key, dialect, open_store
from promptlearn.store.dialect import connect, insert_new, upsert
from promptlearn.store.migrations import migrate
from promptlearn.store.place import find_place
from promptlearn.store.schema import calls
from promptlearn.store.writer import Writer

KILLED = """
import asyncio, os, signal, sys
from promptlearn.store import open_store

async def main() -> None:
    store = open_store(sys.argv[1])
    for number in range(20):
        await store.journal.record(f"key-{number}", "m", {"n": number}, {"text": f"reply {number}"})
        print(number, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""

FILLED = """
import asyncio, resource, sys
from promptlearn.errors import StoreError
from promptlearn.store import open_store

async def main() -> None:
    with open_store(sys.argv[1]) as store:
        await store.journal.record("first", "m", {}, {"text": "paid for"})
        resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
        try:
            for number in range(100):
                await store.journal.record(f"key-{number}", "m", {}, {"text": "x" * 20_000})
        except StoreError as error:
            print(error)
        assert store.journal.find("first") == {"text": "paid for"}
        print(number)

asyncio.run(main())
"""

WRITES = """
import asyncio, sys
from promptlearn.store import open_store

async def main() -> None:
    with open_store(sys.argv[1]) as store:
        run = await store.start_run({}, "digest", {}, 0)
        for number in range(100):
            await asyncio.gather(
                store.journal.record(f"{sys.argv[2]}-{number}", "m", {}, {"text": "own"}),
                store.journal.record(f"shared-{number}", "m", {}, {"text": "shared"}),
                store.add_event(run, "tick", number),
            )

asyncio.run(main())
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    place = find_place(tmp_path / "store.db")
    engine = connect(place.url)
    migrate(engine, str(place))
    opened = Writer(engine, str(place))
    yield opened
    opened.close()
    engine.dispose()


def row(key: str, reply: str = '{"text":"a"}') -> dict[str, str]:
    return {"key": key, "model": "m", "request": "{}", "reply": reply, "created_at": ""}


def count(connection: Connection) -> int:
    return int(connection.execute(text("SELECT count(*) FROM calls")).scalar_one())


def test_a_reply_that_was_awaited_survives_sigkill(tmp_path: Path) -> None:
    """Invariant 2."""
    process = start(KILLED, tmp_path / "store.db")
    said, failed = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, failed
    with open_store(tmp_path / "store.db", create=False) as store:
        for number in map(int, said.split()):
            assert store.journal.find(f"key-{number}") == {"text": f"reply {number}"}
    assert said.split()[-1] == "19"


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    processes = [start(WRITES, tmp_path / "store.db", name) for name in ("a", "b")]
    for process in processes:
        _, failed = process.communicate(timeout=60)
        assert process.returncode == 0, failed
    with open_store(tmp_path / "store.db") as store:
        assert all(store.journal.find(f"{name}-{n}") for name in ("a", "b", "shared") for n in range(100))
        for run in store.reader.runs():
            assert [event.id for event in store.reader.events(run.id)] == list(range(1, 101))
        assert len(store.reader.runs()) == 2


@pytest.fixture
def written_elsewhere(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """A file that no store was opened in, with somebody who is about to write to it."""
    connection = sqlite3.connect(tmp_path / "store.db", isolation_level=None, check_same_thread=False)
    connection.execute("BEGIN IMMEDIATE")
    yield connection
    connection.close()


def test_a_new_store_that_another_process_opens_too_is_waited_for(
    tmp_path: Path, written_elsewhere: sqlite3.Connection
) -> None:
    timer = threading.Timer(0.3, lambda: written_elsewhere.execute("ROLLBACK"))
    timer.start()
    with open_store(tmp_path / "store.db") as store:
        assert store.reader.runs() == []
    timer.join()


@pytest.mark.usefixtures("written_elsewhere")
def test_a_new_store_that_is_held_for_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "BUSY_SECONDS", 1)
    with pytest.raises(StoreError, match="can not be opened: another process has held it for too long; end that"):
        open_store(tmp_path / "store.db")


def test_a_disk_that_takes_no_more_is_one_clear_line_and_loses_nothing(tmp_path: Path) -> None:
    process = start(FILLED, tmp_path / "store.db")
    said, failed = process.communicate(timeout=60)
    assert process.returncode == 0, failed
    message, last = said.splitlines()
    assert message.startswith(f"the store at {tmp_path / 'store.db'} can not be written: the disk takes no more")
    assert "free space" in message
    assert "nothing that was paid for before is lost" in message
    with open_store(tmp_path / "store.db") as store:
        assert store.journal.find("first") == {"text": "paid for"}
        kept = [number for number in range(100) if f"key-{number}" in store.journal]
        assert kept == list(range(int(last)))
        asyncio.run(store.journal.record("later", "m", {}, {"text": "there is space again"}))


async def test_a_full_database_says_so_and_goes_on_when_there_is_space(writer: Writer) -> None:
    await writer.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=40").close())
    with pytest.raises(StoreError, match="can not be written: disk is full; free space and run the same command again"):
        await writer.write(insert(calls), row("large", "x" * 500_000))
    await writer.run(lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=100000").close())
    await writer.write(insert(calls), row("large", "x" * 500_000))
    assert await writer.run(count) == 1


async def test_ten_thousand_calls_are_grouped(tmp_path: Path) -> None:
    """Counts processor time and commits, which a busy machine does not change."""
    place = find_place(tmp_path / "store.db")
    engine = connect(place.url)
    migrate(engine, str(place))
    commits: list[object] = []
    event.listen(engine, "commit", commits.append)
    writer = Writer(engine, str(place))
    journal = Journal(engine, writer, str(place))
    slots = asyncio.Semaphore(500)

    async def pay(number: int) -> None:
        request = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
        async with slots:
            await journal.record(call_key(request), "m", request, {"text": f"answer {number}"})

    began = time.process_time()
    await asyncio.gather(*(pay(number) for number in range(10_000)))
    assert time.process_time() - began < 10
    assert await writer.run(count) == 10_000
    assert len(commits) < 2_000
    writer.close()
    engine.dispose()


async def test_a_bad_write_does_not_fail_its_neighbours(writer: Writer) -> None:
    gate = asyncio.get_running_loop().create_task(writer.run(lambda _: time.sleep(0.05)))
    await asyncio.sleep(0)
    results = await asyncio.gather(
        writer.write(insert(calls), row("a")),
        writer.write(insert(calls), row("a")),
        writer.write(text("INSERT INTO nowhere VALUES (:key)"), row("c")),
        writer.run(lambda _: 1 / 0),
        writer.write(insert(calls), row("b")),
        return_exceptions=True,
    )
    await gate
    assert [type(result).__name__ for result in results] == [
        "NoneType",
        "WriteError",
        "WriteError",
        "ZeroDivisionError",
        "NoneType",
    ]
    assert await writer.run(count) == 2


async def test_a_cancelled_caller_does_not_take_its_write_back(writer: Writer) -> None:
    """Invariant 2: a reply that arrives while the run is being stopped was paid for."""
    task = asyncio.ensure_future(writer.write(insert(calls), row("a")))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await writer.run(count) == 1


async def test_closing_writes_what_waits_and_ends_it(tmp_path: Path) -> None:
    store = open_store(tmp_path / "store.db")
    waiting = [asyncio.ensure_future(store.journal.record(f"{n}", "m", {}, {"text": "a"})) for n in range(100)]
    await asyncio.sleep(0)
    store.close()
    store.close()
    await asyncio.gather(*waiting)
    with pytest.raises(StoreError, match="is closed: open it again"):
        await store.journal.record("later", "m", {}, {"text": "a"})
    with open_store(tmp_path / "store.db") as again:
        assert all(again.journal.find(f"{n}") for n in range(100))


async def test_a_read_waits_for_no_writer(store: Store, tmp_path: Path) -> None:
    await store.journal.record("a", "m", {}, {"text": "first"})
    other = create_engine(f"sqlite:///{tmp_path / 'store.db'}")
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        began = time.perf_counter()
        assert store.journal.find("a") == {"text": "first"}
        assert time.perf_counter() - began < 1
        connection.rollback()
    other.dispose()


async def test_a_long_reading_holds_up_no_write_and_sees_none(store: Store, tmp_path: Path) -> None:
    await store.journal.record("before", "m", {}, {"text": "a"})
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN")
    assert other.execute("SELECT count(*) FROM calls").fetchone() == (1,)
    write = (store.journal.record(f"{n}", "m", {}, {"text": "x" * 5000}) for n in range(1000))
    await asyncio.wait_for(asyncio.gather(*write), timeout=20)
    assert other.execute("SELECT count(*) FROM calls").fetchone() == (1,)
    assert all(store.journal.find(f"{n}") for n in range(1000))
    other.execute("COMMIT")
    assert other.execute("SELECT count(*) FROM calls").fetchone() == (1001,)
    other.close()


async def test_questions_are_answered_in_the_midst_of_a_group(store: Store) -> None:
    await store.journal.record("a", "m", {}, {"text": "first"})
    begun, answered = threading.Event(), threading.Event()

    def long_write(connection: Connection) -> bool:
        connection.execute(insert(calls), [row(f"{n}") for n in range(5000)])
        begun.set()
        return answered.wait(20)

    group = asyncio.ensure_future(store._writer.run(long_write))
    await asyncio.to_thread(begun.wait, 20)
    assert store.journal.find("a") == {"text": "first"}
    assert store.journal.find("4999") is None
    assert store.reader.runs() == []
    answered.set()
    assert await group
    assert store.journal.find("4999") == {"text": "a"}


async def test_several_statements_are_kept_together(writer: Writer) -> None:
    other = insert(calls)
    await writer.write_together((insert(calls), [row("a"), row("b")]), (other, [row("c")]))
    with pytest.raises(StoreError, match="can not be written"):
        await writer.write_together((insert(calls), [row("d")]), (other, [row("a")]))
    assert await writer.run(count) == 3


async def test_a_write_of_the_same_row_by_many_is_written_once(writer: Writer) -> None:
    statement = upsert("sqlite", calls)
    await asyncio.gather(*(writer.write(statement, row("a", f'{{"text":"{n}"}}')) for n in range(100)))
    reply = await writer.run(lambda connection: connection.execute(select(calls.c.reply)).scalars().all())
    assert reply == ['{"text":"99"}'], "the last word counts"


@pytest.mark.parametrize("rows", [1, 2, 999, 1000, 1001, 4500])
async def test_any_number_of_rows_fits(writer: Writer, rows: int) -> None:
    await writer.write(insert_new("sqlite", calls), *(row(f"{n}") for n in range(rows)))
    assert await writer.run(count) == rows


def test_each_event_loop_hears_of_its_own_writes(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:

        async def write(name: int) -> None:
            await asyncio.gather(*(store.journal.record(f"{name}-{n}", "m", {}, {"text": "a"}) for n in range(50)))

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda name: asyncio.run(write(name)), range(4)))
        assert all(store.journal.find(f"{name}-{n}") for name in range(4) for n in range(50))


def test_a_loop_that_ended_without_waiting_is_no_harm(tmp_path: Path) -> None:
    """Invariant 2: what was under way when the program stopped listening is kept."""

    async def leave(store: Store) -> None:
        for n in range(20):
            task = asyncio.ensure_future(store.journal.record(f"{n}", "m", {}, {"text": "a"}))
            await asyncio.sleep(0)
            task.cancel()

    with open_store(tmp_path / "store.db") as store:
        asyncio.run(leave(store))
        asyncio.run(store.journal.record("last", "m", {}, {"text": "a"}))
        assert all(f"{n}" in store.journal for n in range(20))


async def test_connections_are_as_durable_as_promised(writer: Writer) -> None:
    def settings(connection: Connection) -> list[object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return [connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names]

    assert await writer.run(settings) == ["wal", 2, 1, 30_000]


@pytest.mark.parametrize("kind", KINDS)
def test_many_processes_may_open_a_new_store_at_once(kind: str, tmp_path: Path) -> None:
    script = "import sys; from promptlearn.store import open_store; open_store(sys.argv[1]).close()"
    with fresh_place(kind, tmp_path / ".promptlearn") as where:
        processes = [start(script, where) for _ in range(4)]
        for process in processes:
            _, failed = process.communicate(timeout=60)
            assert process.returncode == 0, failed
