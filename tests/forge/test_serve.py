"""Deliveries over real HTTP: refused, kept once, answered at once, worked on after any kill."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from promptlearn.errors import ForgeError, PromptlearnError, UsageError
from promptlearn.forge import serve
from promptlearn.forge.serve import Receiver, Worker, check_secret, is_loopback, listening, make_app
from promptlearn.forge.webhooks import PullRef, sign
from promptlearn.store import Store, open_store

SECRET = "a long secret"
COMMENT = {
    "action": "created",
    "repository": {"id": 7, "full_name": "shop/support"},
    "issue": {"number": 2, "pull_request": {"url": "https://api.github.com/repos/shop/support/pulls/2"}},
    "comment": {"body": "Never promise a refund."},
}
PULL = PullRef("shop/support", 2)
Send = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
async def url(store: Store) -> AsyncIterator[str]:
    async with listening(make_app(Receiver(store.deliveries, "github.com", SECRET)), "127.0.0.1", 0) as address:
        yield address


async def post(
    url: str, payload: Any = COMMENT, event: str = "issue_comment", **changes: str | None
) -> tuple[int, str]:
    """Send a delivery as GitHub does; `changes` are headers (with `_` for `-`), None takes one away."""
    raw = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    headers: dict[str, str | None] = {
        "Content-Type": "application/json",
        "X-GitHub-Event": event,
        "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
        "X-Hub-Signature-256": sign(SECRET, raw),
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    sent = {name: value for name, value in headers.items() if value is not None}
    async with aiohttp.ClientSession() as session, session.post(f"{url}/github", data=raw, headers=sent) as response:
        return response.status, (await response.text()).strip()


async def test_a_delivery_is_on_the_disk_before_it_is_answered(store: Store, url: str, tmp_path: Path) -> None:
    started = time.monotonic()
    assert await post(url) == (202, "will be read again")
    assert time.monotonic() - started < 1
    with open_store(tmp_path / "store.db") as other:
        (row,) = other.deliveries.waiting()
    assert (row.host, row.repo, row.pull, row.event) == ("github.com", "shop/support", 2, "issue_comment")


async def test_the_same_delivery_is_kept_once(store: Store, url: str) -> None:
    await post(url)
    assert await post(url) == (202, "was received before")
    assert await post(url, X_GitHub_Delivery="another") == (202, "will be read again")
    assert len(store.deliveries.waiting()) == 2


@pytest.mark.parametrize(
    ("changes", "status", "said"),
    [
        ({"X_Hub_Signature_256": None}, 401, "X-Hub-Signature-256 is missing or wrong"),
        ({"X_Hub_Signature_256": sign("wrong", json.dumps(COMMENT).encode())}, 401, "X-Hub-Signature-256"),
        ({"payload": b"{nonsense", "X_Hub_Signature_256": "sha256=00"}, 401, "X-Hub-Signature-256"),
        ({"payload": b"{nonsense"}, 400, "the body is not JSON"),
        ({"payload": b"[" * 100_000}, 400, "the body is not JSON"),
        ({"Content_Type": "application/x-www-form-urlencoded"}, 415, "choose application/json"),
        ({"X_GitHub_Delivery": None}, 400, "X-GitHub-Delivery is missing or odd"),
        ({"X_GitHub_Delivery": "a b"}, 400, "X-GitHub-Delivery is missing or odd"),
        ({"event": "push"}, 200, "nothing to read"),
        ({"event": "ping", "payload": {"zen": "x"}, "X_GitHub_Delivery": None}, 200, "pong"),
    ],
)
async def test_other_requests_leave_nothing(store: Store, url: str, changes: Any, status: int, said: str) -> None:
    """Invariant 9: nothing is parsed before it is known to be genuine."""
    answered, text = await post(url, **changes)
    assert (answered, said in text) == (status, True)
    assert store.deliveries.waiting() == []


async def test_a_large_body_is_refused_before_it_is_read(
    store: Store, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /github HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\n")
    assert b" 413 " in await asyncio.wait_for(reader.readline(), 2)
    writer.close()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65536

    async with aiohttp.ClientSession() as session:
        try:
            async with session.post(f"{url}/github", data=endless()) as response:
                assert response.status == 413
        except aiohttp.ClientError:  # hung up on while it still sent
            pass
    assert store.deliveries.waiting() == []


async def test_a_busy_store_is_answered_for_within_a_second(
    store: Store, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sqlite3

    monkeypatch.setattr(serve, "MAX_KEEP_SECONDS", 0.2)
    other = sqlite3.connect(tmp_path / "store.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    assert await post(url) == (503, "the store is busy; send it again")
    assert time.monotonic() - started < 1
    other.execute("ROLLBACK")
    other.close()
    await work(store, Reading(), lambda: bool(store.deliveries.waiting()))
    assert await post(url) == (202, "was received before")


async def test_only_some_repositories(store: Store) -> None:
    headers = {"Content-Type": "application/json", "X-GitHub-Event": "issue_comment", "X-GitHub-Delivery": "a"}
    raw = json.dumps(COMMENT).encode()
    for repos, status in ((["shop/other"], 200), (["Shop/Support"], 202)):
        receiver = Receiver(store.deliveries, "github.com", SECRET, repos)
        reply = await receiver.receive(headers | {"X-Hub-Signature-256": sign(SECRET, raw)}, raw)
        assert reply.status == status


async def test_without_a_secret_only_this_machine_is_listened_to(store: Store) -> None:
    async with listening(make_app(Receiver(store.deliveries, "github.com", "")), "127.0.0.1", 0) as url:
        assert (await post(url, X_Hub_Signature_256=None))[0] == 202
        assert (await post(url, X_Hub_Signature_256=None, Host="evil.example"))[0] == 403
        assert (await post(url, X_Hub_Signature_256=None, Content_Type="text/plain"))[0] == 415


def test_no_server_starts_that_would_believe_anybody() -> None:
    check_secret(SECRET, "0.0.0.0", allow_unsigned=False)
    check_secret("", "127.0.0.1", allow_unsigned=True)
    with pytest.raises(UsageError, match="no secret: put the webhook's secret into PROMPTLEARN_WEBHOOK_SECRET"):
        check_secret("", "127.0.0.1", allow_unsigned=False)
    for host in ("0.0.0.0", "10.0.0.7", "example.com", "::", ""):
        with pytest.raises(UsageError, match="believes anybody who can reach"):
            check_secret("", host, allow_unsigned=True)
    assert all(map(is_loopback, ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"]))


async def test_health_and_a_taken_port(url: str, store: Store) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")
    port = int(url.rpartition(":")[2])
    with pytest.raises(UsageError, match="can not be listened on"):
        async with listening(make_app(Receiver(store.deliveries, "github.com", SECRET)), "127.0.0.1", port):
            pass


class Reading:
    """What stands in for a pull: fails as it is told, then notes what was read."""

    def __init__(self, *errors: PromptlearnError) -> None:
        self.errors = list(errors)
        self.tried = 0
        self.read: list[PullRef] = []

    async def __call__(self, pull: PullRef) -> None:
        self.tried += 1
        if self.errors:
            raise self.errors.pop(0)
        self.read.append(pull)


async def work(store: Store, reading: Reading, until: Callable[[], bool]) -> list[str]:
    """Run a worker until something is so; returns what it told."""
    told: list[str] = []
    async with asyncio.timeout(10):
        await Worker(store.deliveries, reading, told.append).run(until, first_delay=0.002)
    return told


async def test_a_pull_request_is_read_once_for_all_that_waits(store: Store, url: str) -> None:
    for delivery in "abc":
        await post(url, X_GitHub_Delivery=delivery)
    reading = Reading()
    told = await work(store, reading, lambda: not store.deliveries.waiting())
    assert reading.read == [PULL]
    assert told == ["shop/support#2 was read again, for 3 deliveries"]
    await post(url, X_GitHub_Delivery="a")
    assert store.deliveries.waiting() == [], "what is done is not done again"


async def test_what_comes_while_it_is_read_is_read_for_again(store: Store, url: str) -> None:
    await post(url, X_GitHub_Delivery="a")
    reading = Reading()

    async def read(pull: PullRef) -> None:
        await reading(pull)
        if len(reading.read) == 1:
            await post(url, X_GitHub_Delivery="b")

    async with asyncio.timeout(10):
        await Worker(store.deliveries, read).run(lambda: not store.deliveries.waiting())
    assert reading.read == [PULL, PULL]


@pytest.mark.parametrize("kind", ["rate_limit", "server", "connection", "auth"])
async def test_failures_that_pass_are_waited_out(store: Store, url: str, kind: str) -> None:
    await post(url)
    reading = Reading(*[ForgeError(kind, "not now")] * 7)
    told = await work(store, reading, lambda: not store.deliveries.waiting())
    assert reading.read == [PULL]
    assert told[0] == "shop/support#2 could not be read: not now"


async def test_what_never_works_is_given_up_and_nothing_else_waits_for_it(store: Store, url: str) -> None:
    await post(url)
    other = COMMENT | {"issue": {"number": 3, "pull_request": {"url": "x"}}}
    await post(url, other, X_GitHub_Delivery="other")
    reading = Reading(*[ForgeError("not_found", "no such pull request")] * 1)
    await work(store, reading, lambda: reading.tried >= 2)
    assert reading.read == [PullRef("shop/support", 3)]
    await work(store, Reading(*[UsageError("no")] * 99), lambda: not store.deliveries.waiting())


async def test_what_waits_survives_a_restart(store: Store, url: str, tmp_path: Path) -> None:
    await post(url)
    store.close()
    with open_store(tmp_path / "store.db") as again:
        reading = Reading()
        await work(again, reading, lambda: not again.deliveries.waiting())
    assert reading.read == [PULL]


async def test_a_new_delivery_wakes_the_worker(store: Store) -> None:
    reading = Reading()
    worker = Worker(store.deliveries, reading)
    receiver = Receiver(store.deliveries, "github.com", SECRET, on_new=worker.wake)
    async with asyncio.timeout(5), listening(make_app(receiver), "127.0.0.1", 0) as url:
        task = asyncio.create_task(worker.run(lambda: bool(reading.read)))
        await asyncio.sleep(0.05)
        started = time.monotonic()
        await post(url)
        await task
    assert time.monotonic() - started < serve.POLL_SECONDS
