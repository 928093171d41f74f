"""ChatServer: a real HTTP server on loopback that speaks chat completions and can be told how to misbehave.

    async with ChatServer(["first reply", Answer(status=429, headers={"Retry-After": "1"})]) as server:
        model = ChatModel("openai/m", server.url)

    with ChatServer(lambda request: "reply").in_thread() as url:   # for code that is not async
        ...

After the last answer of a list every further request gets `ok`. `server.requests` holds what came in.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


def completion(
    text: str | None, finish_reason: str | None = "stop", usage: Any = "count", **message: Any
) -> dict[str, Any]:
    """The body of a chat completion; `usage=None` leaves the token counts out."""
    counted = {"prompt_tokens": 11, "completion_tokens": 3, "total_tokens": 14}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": finish_reason}
        ],
    }
    if usage is not None:
        body["usage"] = counted if usage == "count" else usage
    return body


@dataclass(frozen=True, slots=True)
class Answer:
    """One HTTP answer."""

    body: Any = field(default_factory=lambda: completion("ok"))
    """Sent as JSON, or as it is where it is a text or bytes."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/json"
    delay: float = 0.0
    """Seconds before the first byte."""
    cut: int | None = None
    """Reset the connection after so many bytes of the body."""


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: Mapping[str, str]
    body: Any


Script = Sequence[Answer | str] | Callable[[Any], Answer | str]
"""Answers in order, or a function of the request's body."""
Serve = Callable[[Script], Awaitable["ChatServer"]]
"""The fixture `serve`: starts a server that stops with the test."""


async def _end_others() -> None:
    """Handlers of clients that went away (or were killed) end with the server."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)


class ChatServer:
    def __init__(self, script: Script = ()) -> None:
        self._script = script
        self._runner: web.AppRunner | None = None
        self.requests: list[Request] = []
        self.url = ""
        """Base URL, ending in /v1."""
        self.at_once = 0
        """The most requests that were open at the same time."""
        self._open = 0

    async def __aenter__(self) -> ChatServer:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
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
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result(10)
            asyncio.run_coroutine_threadsafe(_end_others(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        self.requests.append(Request(request.path, dict(request.headers), body))
        self._open += 1
        self.at_once = max(self.at_once, self._open)
        try:
            return await self._send(request, self._next(body))
        finally:
            self._open -= 1

    def _next(self, body: Any) -> Answer:
        if callable(self._script):
            answer = self._script(body)
        else:
            at = len(self.requests) - 1
            answer = self._script[at] if at < len(self._script) else "ok"
        return Answer(completion(answer)) if isinstance(answer, str) else answer

    async def _send(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        await asyncio.sleep(answer.delay)
        raw = answer.body if isinstance(answer.body, str | bytes) else json.dumps(answer.body)
        data = raw.encode() if isinstance(raw, str) else raw
        response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
        response.content_type = answer.content_type
        response.content_length = len(data)
        await response.prepare(request)
        await response.write(data if answer.cut is None else data[: answer.cut])
        if answer.cut is not None and request.transport is not None:
            await asyncio.sleep(0.01)
            request.transport.abort()
        return response
