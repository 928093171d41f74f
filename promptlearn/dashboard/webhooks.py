"""GitHub's webhooks at the dashboard: POST /github, with the secret that `promptlearn github serve` wants too.

What a delivery asks for is kept in the store; `promptlearn github serve` or the next `promptlearn github pull` reads
it. The dashboard itself never talks to GitHub and holds no token.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from promptlearn.forge.serve import MAX_BODY, MAX_READ_SECONDS, Receiver

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

PATH = "/github"


def webhook_route(receiver: Receiver) -> Route:
    """The route that hands deliveries to the receiver; it believes only who knows the secret."""
    from starlette.responses import PlainTextResponse
    from starlette.routing import Route

    async def deliver(request: Request) -> Response:
        try:
            raw = await asyncio.wait_for(_read(request), timeout=MAX_READ_SECONDS)
        except TimeoutError:
            return PlainTextResponse("too slow\n", 408)
        if raw is None:
            return PlainTextResponse("too large\n", 413)
        reply = await receiver.receive(request.headers, raw)
        return PlainTextResponse(reply.text + "\n", reply.status)

    return Route(PATH, deliver, methods=["POST"])


async def _read(request: Request) -> bytes | None:
    """The body; None for one that is too large."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            return None
        parts.append(part)
    return b"".join(parts)
