"""Takes GitHub's webhooks in, and reads the pull requests that they name again.

    receiver = Receiver(store.deliveries, "github.com", secret)     # for any web framework: headers and bytes in
    reply = await receiver.receive(request.headers, await request.read())
    app = make_app(receiver)                                        # ours: POST /github, GET /healthz
    await Worker(store.deliveries, read_again).run(stopping)

What a delivery asks for is on the disk before it is answered, and every answer comes within a second, so a kill loses
nothing and GitHub waits for nobody. The worker reads a pull request once for all deliveries that wait for it, and
tries again, later and later, while GitHub can not be reached. Knows HTTP and the queue; `webhooks` knows what a
delivery means, and `read_again` what reading is.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promptlearn.errors import ForgeError, PromptlearnError, UsageError
from promptlearn.forge.webhooks import DELIVERY, EVENT, SIGNATURE, PullRef, verify, wanted
from promptlearn.store.feedback_rows import Delivery

if TYPE_CHECKING:
    from aiohttp import web

    from promptlearn.store.deliveries import Deliveries

SECRET_ENV = "PROMPTLEARN_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
MAX_BODY = 4 << 20
"""Bytes of one delivery. A comment has at most 65,536 characters; GitHub itself sends at most 25 MB."""
MAX_READ_SECONDS = 10.0
"""For a delivery to arrive."""
MAX_KEEP_SECONDS = 0.8
"""For a delivery to be on the disk."""
POLL_SECONDS = 1.0
"""Between two looks into the queue, which other processes may fill too, and at whether to stop."""
FIRST_DELAY, LONGEST_DELAY = 5.0, 600.0
"""Seconds before a failed reading is tried again; doubled each time."""
_PASSING = frozenset({"rate_limit", "server", "overload", "connection", "auth"})
"""Failures that say nothing about the pull request: tried again until they pass, however often."""
_ID = re.compile(r"[\w-]{1,100}", re.ASCII)
_AT_ONCE = 100_000
"""Deliveries looked at together: enough that those which can not be read now do not hide those that came later."""


def is_loopback(host: str) -> bool:
    """Whether only this machine can connect to an address of this name."""
    name = host.strip("[]").lower()
    try:
        return name == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def check_secret(secret: str, host: str, allow_unsigned: bool) -> None:
    """Raise `UsageError` for a server that would believe anybody."""
    if secret:
        return
    if not allow_unsigned:
        raise UsageError(
            f"no secret: put the webhook's secret into {SECRET_ENV} (for a try on this machine alone: --allow-unsigned)"
        )
    if not is_loopback(host):
        raise UsageError(f"--allow-unsigned believes anybody who can reach {host}; it goes with --host 127.0.0.1 only")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    text: str


class Receiver:
    """Turns deliveries into work that waits in the queue.

    Without a secret it believes whoever sends JSON to this machine under its own name; see `check_secret`. `repos`
    limits it to some repositories (`owner/name`). `on_new` is called when something new waits.
    """

    def __init__(
        self,
        queue: Deliveries,
        host: str,
        secret: str,
        repos: Collection[str] = (),
        on_new: Callable[[], None] = lambda: None,
    ) -> None:
        self._queue = queue
        self._host = host
        self._secret = secret
        self._repos = frozenset(repo.lower() for repo in repos)
        self._on_new = on_new

    async def receive(self, headers: Mapping[str, str], raw: bytes) -> Reply:
        """The answer to a delivery; `headers` are found in any case. Nothing is parsed that is not genuine."""
        refused = self._refuse(headers, raw)
        if refused is not None:
            return refused
        event, delivery = headers.get(EVENT, ""), headers.get(DELIVERY, "")
        if event == "ping":
            return Reply(200, "pong")
        if not _ID.fullmatch(delivery):
            return Reply(400, f"{DELIVERY} is missing or odd")
        try:
            payload = json.loads(raw)
        except (ValueError, RecursionError):
            return Reply(400, "the body is not JSON")
        pulls = [pull for pull in wanted(event, payload) if not self._repos or pull.repo.lower() in self._repos]
        if not pulls:
            return Reply(200, "nothing to read")
        return await self._keep(event, delivery, pulls)

    def _refuse(self, headers: Mapping[str, str], raw: bytes) -> Reply | None:
        if self._secret:
            if not verify(self._secret, raw, headers.get(SIGNATURE)):
                return Reply(401, f"{SIGNATURE} is missing or wrong")
        elif not is_loopback(_host_name(headers.get("Host", ""))):
            return Reply(403, "without a secret only this machine is listened to")
        if not headers.get("Content-Type", "").lower().startswith("application/json"):
            return Reply(415, "choose application/json as the webhook's content type")
        return None

    async def _keep(self, event: str, delivery: str, pulls: Sequence[PullRef]) -> Reply:
        rows = [
            Delivery(
                id=delivery if len(pulls) == 1 else f"{delivery}/{pull.number}",
                host=self._host,
                repo=pull.repo,
                pull=pull.number,
                event=event,
            )
            for pull in pulls
        ]
        try:
            kept = await asyncio.wait_for(
                asyncio.gather(*(self._queue.enqueue(row) for row in rows)), timeout=MAX_KEEP_SECONDS
            )
        except TimeoutError:
            # It may still be written. Then GitHub calls it failed, and it is known when it is sent again.
            return Reply(503, "the store is busy; send it again")
        if any(kept):
            self._on_new()
        return Reply(202, "will be read again" if any(kept) else "was received before")


def _host_name(header: str) -> str:
    """The name in a `Host` header, without the port."""
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def make_app(receiver: Receiver, path: str = "/github") -> web.Application:
    """The aiohttp application around a receiver."""
    from aiohttp import web

    async def deliver(request: web.Request) -> web.Response:
        if (request.content_length or 0) > MAX_BODY:
            raise web.HTTPRequestEntityTooLarge(MAX_BODY, request.content_length or 0)
        try:
            raw = await asyncio.wait_for(request.read(), timeout=MAX_READ_SECONDS)
        except TimeoutError:
            raise web.HTTPRequestTimeout from None
        reply = await receiver.receive(request.headers, raw)
        return web.Response(status=reply.status, text=reply.text + "\n")

    async def healthy(request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    app = web.Application(client_max_size=MAX_BODY)
    app.router.add_post(path, deliver)
    app.router.add_get("/healthz", healthy)
    return app


@asynccontextmanager
async def listening(app: web.Application, host: str, port: int) -> AsyncIterator[str]:
    """Serve an application while the block lasts; gives its address. Raises `UsageError` for a port that is taken."""
    from aiohttp import web

    runner = web.AppRunner(app, access_log=None, lingering_time=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise UsageError(f"{host}:{port} can not be listened on: {error.strerror}; name another --port") from None
        name, bound = runner.addresses[0][:2]
        yield f"http://{f'[{name}]' if ':' in name else name}:{bound}"
    finally:
        await runner.cleanup()


ReadAgain = Callable[[PullRef], Awaitable[None]]
Tell = Callable[[str], None]


class Worker:
    """Empties the queue: one reading for all deliveries that wait for the same pull request, one after the other."""

    def __init__(self, queue: Deliveries, read_again: ReadAgain, tell: Tell = lambda text: None) -> None:
        self._queue = queue
        self._read_again = read_again
        self._tell = tell
        self._news = asyncio.Event()
        self._failures: dict[PullRef, int] = {}
        self._not_before: dict[PullRef, float] = {}

    def wake(self) -> None:
        """Something new waits."""
        self._news.set()

    async def run(self, stopping: Callable[[], bool], first_delay: float = FIRST_DELAY) -> None:
        """Work until `stopping` says so; a reading that is under way then is ended first."""
        while not stopping():
            self._news.clear()
            waiting, now = self._waiting(), time.monotonic()
            ready = {pull: rows for pull, rows in waiting.items() if self._not_before.get(pull, 0.0) <= now}
            for pull, rows in ready.items():
                if not stopping():
                    await self._read(pull, rows, first_delay)
            if not ready:
                await self._pause(min((self._not_before[pull] for pull in waiting), default=now + POLL_SECONDS) - now)

    def _waiting(self) -> dict[PullRef, list[Delivery]]:
        found: dict[PullRef, list[Delivery]] = {}
        for row in self._queue.waiting(_AT_ONCE):
            found.setdefault(PullRef(row.repo, row.pull), []).append(row)
        return found

    async def _pause(self, seconds: float) -> None:
        """Until something new waits, or something old is due."""
        try:
            await asyncio.wait_for(self._news.wait(), timeout=min(max(seconds, 0.01), POLL_SECONDS))
        except TimeoutError:
            return

    async def _read(self, pull: PullRef, rows: Sequence[Delivery], first_delay: float) -> None:
        ids = [row.id for row in rows]
        try:
            await self._read_again(pull)
        except Exception as error:  # a defect met in one pull request must not keep all others from being read
            times = self._failures[pull] = self._failures.get(pull, 0) + 1
            delay = min(first_delay * 2 ** (times - 1), LONGEST_DELAY)
            self._not_before[pull] = time.monotonic() + delay
            if not (isinstance(error, ForgeError) and error.kind in _PASSING):
                await self._queue.fail(ids, _words(error))
            self._tell(f"{pull} could not be read: {_words(error)}")
            return
        self._failures.pop(pull, None)
        self._not_before.pop(pull, None)
        await self._queue.finish(ids)
        self._tell(f"{pull} was read again, for {len(ids)} {'delivery' if len(ids) == 1 else 'deliveries'}")


def _words(error: Exception) -> str:
    return str(error) if isinstance(error, PromptlearnError) else f"{type(error).__name__}: {error} (this is a defect)"
