"""The journal: what was paid for is found again, and what is no answer is never kept (invariants 2 and 4)."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stores import KINDS, fresh_store

from promptlearn.records import Json
from promptlearn.store import Store, call_key, open_store

REQUEST = {
    "model": "openai/m@http://127.0.0.1",
    "messages": [{"role": "user", "content": "{x} $y é \r\n"}],
    "sampling": {"max_tokens": 5, "temperature": 0.0},
    "schema": None,
    "repeat": 0,
}


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    with fresh_store(request.param, tmp_path) as opened:
        yield opened


async def test_a_reply_is_found_under_its_key(store: Store) -> None:
    key, reply = call_key(REQUEST), {"text": "{x} $y é \r\n🦊 \x00 \ud83d", "usage": {"calls": 1}, "logprobs": [[-0.5]]}
    assert store.journal.find(key) is None
    await store.journal.record(key, "openai/m", REQUEST, reply)
    assert store.journal.find(key) == reply
    assert key in store.journal
    assert "other" not in store.journal


async def test_the_first_reply_stays(store: Store) -> None:
    """Invariant 3: a run that goes on reads the replies that it has decided on."""
    await store.journal.record("key", "m", REQUEST, {"text": "first"})
    await store.journal.record("key", "m", REQUEST, {"text": "second"})
    assert store.journal.find("key") == {"text": "first"}


@pytest.mark.parametrize("reply", [{"text": ""}, {"text": " \n"}, {"text": None}, {}, None, "text", []])
async def test_what_is_no_answer_is_refused(store: Store, reply: Json) -> None:
    """Invariant 4."""
    with pytest.raises(ValueError, match="without text"):
        await store.journal.record("key", "m", REQUEST, reply)
    assert store.journal.find("key") is None


async def test_it_is_json_that_anybody_can_read(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        await store.journal.record("key", "m", REQUEST, {"text": "Grüße"})
    connection = sqlite3.connect(tmp_path / "store.db")
    row = connection.execute("SELECT key, model, reply FROM calls").fetchone()
    connection.close()
    assert row == ("key", "m", '{"text":"Grüße"}')


async def test_every_thread_may_ask(store: Store) -> None:
    await store.journal.record("key", "m", REQUEST, {"text": "here"})
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(store.journal.find, ["key", "other"] * 50))
    assert found == [{"text": "here"}, None] * 50


def test_a_key_is_the_whole_sha256_and_ignores_the_order_of_keys() -> None:
    key = call_key(REQUEST)
    assert len(key) == 64
    assert key == call_key(dict(reversed(REQUEST.items())))


@given(st.sampled_from(sorted(REQUEST)), st.integers())
def test_every_part_of_a_request_counts(part: str, value: int) -> None:
    changed = REQUEST | {part: ["changed", value]}
    assert call_key(changed) != call_key(REQUEST)
