"""BatchServer: a real HTTP server on loopback with OpenAI's files and batches, which can be told how to misbehave.

    async with BatchServer(lambda body: "reply") as server:
        model = BatchModel(ChatModel("openai/m", server.url))

    with BatchServer().in_thread() as url:   # for code that is not async, or in another process
        ...

A batch goes one stage further each time somebody looks at it. `server.paid` counts how often each request was
executed; `server.requests` holds what came in. `POST /v1/chat/completions` answers as a batch does.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.parser import BytesParser
from email.policy import HTTP
from typing import Any

from aiohttp import web
from chat_server import Answer, Request, completion

STAGES = ("validating", "in_progress", "finalizing")
MOST_REQUESTS = 50_000

Reply = Callable[[Any], Answer | str]
"""From the body of a request to a text, or to any answer with a status of its own."""


@dataclass(frozen=True, slots=True)
class End:
    """How a batch ends."""

    state: str = "completed"
    executed: int | None = None
    """Requests that are executed before that, the first ones of the file; None: all of them."""
    errors: tuple[dict[str, Any], ...] = ()
    """Why the whole batch failed; then nothing is executed."""


@dataclass(slots=True)
class ServedBatch:
    id: str
    file: str
    metadata: dict[str, str]
    requests: list[dict[str, Any]]
    end: End
    created_at: int
    stage: int = 0
    cancelled: bool = False
    files: dict[str, str | None] = field(default_factory=dict)

    @property
    def state(self) -> str:
        if self.cancelled:
            return "cancelled"
        return STAGES[self.stage] if self.stage < len(STAGES) else self.end.state


@dataclass(slots=True)
class Fault:
    """Answers that come instead of the next right ones."""

    method: str
    path: str
    """The beginning of the paths that are meant."""
    answers: list[Answer]


def _form(content_type: str, body: bytes) -> dict[str, bytes]:
    """The parts of a multipart form by name."""
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    parts = [part for part in message.walk() if not part.is_multipart()]
    return {str(part.get_param("name", header="content-disposition")): part.get_payload(decode=True) for part in parts}  # type: ignore[misc]


async def _end_others() -> None:
    """Handlers that hold a request of a client that died end with the server."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class BatchServer:
    def __init__(self, reply: Reply = lambda body: "ok", end: Callable[[int], End] = lambda number: End()) -> None:
        """`end` says how the n-th batch (from 0) ends."""
        self.reply = reply
        self.end = end
        self.url = ""
        self.requests: list[Request] = []
        self.batches: dict[str, ServedBatch] = {}
        self.files: dict[str, bytes] = {}
        self.paid: Counter[str] = Counter()
        self.faults: list[Fault] = []
        self.slow = 0.0
        """Seconds between the two halves of a file."""
        self.cuts: list[int] = []
        """The next contents of files break off after so many bytes."""
        self.rewrite: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
        """What becomes of the lines of a file of answers."""
        self.marks = True
        """Whether batches give back their metadata."""
        self.room: int | None = None
        """Requests that may be under way at once; a batch with more fails."""
        self.hold: str | None = None
        """The step at which the server stops answering one request, to let its client die there."""
        self.held = threading.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> BatchServer:
        app = web.Application(client_max_size=512 << 20, middlewares=[self._misbehave])
        app.add_routes(
            [
                web.post("/v1/files", self._upload),
                web.get("/v1/files/{id}/content", self._content),
                web.post("/v1/batches", self._create),
                web.get("/v1/batches", self._list),
                web.get("/v1/batches/{id}", self._retrieve),
                web.post("/v1/batches/{id}/cancel", self._cancel),
                web.post("/v1/chat/completions", self._chat),
            ]
        )
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/v1"
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @contextmanager
    def in_thread(self) -> Iterator[str]:
        """Serve from a thread of its own; gives the base URL."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result(10)
        try:
            yield self.url
        finally:
            asyncio.run_coroutine_threadsafe(_end_others(), loop).result(10)
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    def fail(self, method: str, path: str, *answers: Answer | int) -> None:
        """Answer the next requests like this; a number is a status."""
        made = [Answer("", status=one) if isinstance(one, int) else one for one in answers]
        self.faults.append(Fault(method, path, made))

    def count(self, method: str, path: str) -> int:
        """How many requests came to paths that begin like this."""
        return sum(request.path.startswith(f"{method} {path}") for request in self.requests)

    @web.middleware
    async def _misbehave(self, request: web.Request, handler: Callable[[web.Request], Any]) -> web.StreamResponse:
        self.requests.append(Request(f"{request.method} {request.path}", dict(request.headers), None))
        for fault in self.faults:
            if fault.answers and request.method == fault.method and request.path.startswith(fault.path):
                return await self._instead(request, fault.answers.pop(0), handler)
        response: web.StreamResponse = await handler(request)
        return response

    async def _instead(
        self, request: web.Request, answer: Answer, handler: Callable[[web.Request], Any]
    ) -> web.StreamResponse:
        """The faulty answer; with `cut` the request is dealt with, and its answer is lost."""
        if answer.cut is None:
            await request.read()
        else:
            await handler(request)
            assert request.transport is not None
            request.transport.abort()
        text = answer.body if isinstance(answer.body, str) else json.dumps(answer.body)
        return web.Response(
            status=answer.status, text=text, content_type=answer.content_type, headers=dict(answer.headers)
        )

    async def _at(self, step: str) -> None:
        if self.hold == step:
            self.hold = None
            self.held.set()
            await asyncio.sleep(3600)

    async def _upload(self, request: web.Request) -> web.Response:
        await self._at("upload")
        form = _form(request.headers["Content-Type"], await request.read())
        assert form["purpose"] == b"batch"
        file = self._keep(form["file"])
        await self._at("uploaded")
        return web.json_response({"id": file, "object": "file", "purpose": "batch", "bytes": len(form["file"])})

    async def _create(self, request: web.Request) -> web.Response:
        await self._at("create")
        body = await request.json()
        assert (body["endpoint"], body["completion_window"]) == ("/v1/chat/completions", "24h")
        lines = self.files[body["input_file_id"]].splitlines()
        requests = [json.loads(line) for line in lines]
        number = len(self.batches)
        end = self._refusal(requests) or self.end(number)
        batch = ServedBatch(
            f"batch_{number}", body["input_file_id"], body.get("metadata") or {}, requests, end, int(time.time())
        )
        self.batches[batch.id] = batch
        self._execute(batch)
        await self._at("created")
        return web.json_response(self._shown(batch))

    async def _list(self, request: web.Request) -> web.Response:
        newest = [*reversed(self.batches.values())]
        if after := request.query.get("after"):
            newest = newest[[batch.id for batch in newest].index(after) + 1 :]
        limit = int(request.query.get("limit", "20"))
        data = [self._shown(batch) for batch in newest[:limit]]
        return web.json_response({"object": "list", "data": data, "has_more": len(newest) > limit})

    async def _retrieve(self, request: web.Request) -> web.Response:
        await self._at("poll")
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return web.json_response({"error": {"message": "No batch found"}}, status=404)
        batch.stage += 1
        return web.json_response(self._shown(batch))

    async def _cancel(self, request: web.Request) -> web.Response:
        batch = self.batches[request.match_info["id"]]
        batch.cancelled = True
        return web.json_response(self._shown(batch))

    async def _content(self, request: web.Request) -> web.StreamResponse:
        data = self.files.get(request.match_info["id"])
        if data is None:
            return web.json_response({"error": {"message": "No such File object"}}, status=404)
        response = web.StreamResponse()
        response.content_type = "application/octet-stream"
        response.content_length = len(data)
        await response.prepare(request)
        cut = self.cuts.pop(0) if self.cuts else None
        half = len(data) // 2 if cut is None else cut
        await response.write(data[:half])
        if cut is not None and request.transport is not None:
            await asyncio.sleep(0.01)
            request.transport.abort()
        await self._at("content")
        await asyncio.sleep(self.slow)
        await response.write(data[half:])
        return response

    async def _chat(self, request: web.Request) -> web.Response:
        answer = self._answer(await request.json())
        return web.json_response(answer.body, status=answer.status)

    def _refusal(self, requests: Sequence[dict[str, Any]]) -> End | None:
        """Why a batch fails before anything of it is executed."""
        ids = [request["custom_id"] for request in requests]
        under_way = sum(len(batch.requests) for batch in self.batches.values() if batch.state in STAGES)
        if len(set(ids)) < len(ids):
            return End("failed", errors=({"code": "duplicate_custom_id", "message": "an id stands there twice"},))
        if len(ids) > MOST_REQUESTS:
            return End("failed", errors=({"code": "request_limit_exceeded", "message": "too many requests"},))
        if self.room is not None and under_way + len(ids) > self.room:
            message = "Enqueued token limit reached for small. Please try again once some batches have completed."
            return End("failed", errors=({"code": "token_limit_exceeded", "message": message},))
        return None

    def _execute(self, batch: ServedBatch) -> None:
        """Answer and charge what will be executed of a batch, and write its files."""
        if batch.end.state == "failed":
            return
        count = len(batch.requests) if batch.end.executed is None else batch.end.executed
        answers: list[bytes] = []
        errors: list[bytes] = []
        for request in batch.requests[:count]:
            assert (request["method"], request["url"]) == ("POST", "/v1/chat/completions")
            self.paid[request["custom_id"]] += 1
            answer = self._answer(request["body"])
            response = {"status_code": answer.status, "request_id": "req_1", "body": answer.body}
            line = {"id": "batch_req_1", "custom_id": request["custom_id"], "response": response, "error": None}
            (answers if answer.status == 200 else errors).append(json.dumps(line).encode())
        for request in batch.requests[count:]:
            error = {"code": f"batch_{batch.end.state}", "message": "This request could not be executed."}
            line = {"id": "batch_req_1", "custom_id": request["custom_id"], "response": None, "error": error}
            errors.append(json.dumps(line).encode())
        batch.files = {
            "output_file_id": self._keep(b"\n".join(self.rewrite(answers)) + b"\n") if answers else None,
            "error_file_id": self._keep(b"\n".join(errors) + b"\n") if errors else None,
        }

    def _answer(self, body: Any) -> Answer:
        answer = self.reply(body)
        return Answer(completion(answer)) if isinstance(answer, str) else answer

    def _keep(self, data: bytes) -> str:
        file = f"file-{len(self.files)}"
        self.files[file] = data
        return file

    def _shown(self, batch: ServedBatch) -> dict[str, Any]:
        total = len(batch.requests)
        done = total if batch.end.executed is None else batch.end.executed
        ended = batch.state not in STAGES
        return {
            "id": batch.id,
            "object": "batch",
            "endpoint": "/v1/chat/completions",
            "completion_window": "24h",
            "created_at": batch.created_at,
            "input_file_id": batch.file,
            "status": batch.state,
            "metadata": batch.metadata if self.marks else None,
            "request_counts": {"total": total, "completed": done if ended else 0, "failed": 0},
            "errors": {"object": "list", "data": list(batch.end.errors)} if batch.end.errors and ended else None,
            **(batch.files if ended else {}),
        }
