"""The log of batches at a provider: which call stands in which batch (invariant 3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from promptlearn.store import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


async def test_what_is_noted_of_a_batch_is_there_after_a_restart(tmp_path: Path) -> None:
    keys = [f"{number:032x}" for number in range(1200)]
    with open_store(tmp_path / "store.db") as store:
        await store.batches.intend("own", "url#model", keys)
        assert store.batches.holders(keys[:1])[keys[0]].batch is None
        await store.batches.note("own", "uploaded", file="file-1")
        await store.batches.note("own", "validating", batch="batch_1")
    with open_store(tmp_path / "store.db") as store:
        held = store.batches.holders([*keys, "unknown"])
    assert held.keys() == set(keys)
    [row] = set(held.values())
    assert (row.own, row.endpoint, row.size, row.state) == ("own", "url#model", 1200, "validating")
    assert (row.file, row.batch) == ("file-1", "batch_1")
    assert row.created <= row.touched <= datetime.now(UTC).timestamp() + 1


async def test_a_call_stands_in_the_last_batch_that_took_it(store: Store) -> None:
    await store.batches.intend("first", "m", ["a", "b", "c"])
    await store.batches.intend("second", "m", ["b", "c"])
    await store.batches.release("first", ["b"])
    await store.batches.release("second", ["c"])
    await store.batches.release("second", [])
    held = store.batches.holders(["a", "b", "c"])
    assert {key: row.own for key, row in held.items()} == {"a": "first", "b": "second"}
    assert {row.own for row in store.batches.rows()} == {"first", "second"}


async def test_old_batches_are_forgotten(store: Store) -> None:
    await store.batches.intend("own", "m", ["a"])
    now = datetime.now(UTC)
    assert await store.batches.prune(now - timedelta(minutes=1)) == 0
    assert store.batches.holders(["a"])
    assert await store.batches.prune(now + timedelta(minutes=1)) == 1
    await store.batches.intend("other", "m", ["b"])
    assert await store.batches.prune() == 1
    assert (store.batches.rows(), store.batches.holders(["a", "b"])) == ([], {})
