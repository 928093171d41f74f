"""Who may talk to the dashboard: hosts and origins on a list, and beyond this machine a password or a proxy's header.

An ASGI middleware. Knows headers, and nothing of pages. What it guards against:

* a name that an attacker points at 127.0.0.1 (DNS rebinding): the `Host` header must be on the list;
* a page of another site that posts here or opens a socket: an `Origin` must be the address that was asked, or on the
  list;
* other people on the network: HTTP Basic with the password, any name. A cookie carries it into the socket, where not
  every browser repeats it;
* a page that shows this one in a frame, and text that loads an image: `frame-ancestors` and `img-src`.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass, field
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
COOKIE = "promptlearn"
WRONG_PASSWORD_SECONDS = 0.5
"""How long a wrong password is kept waiting."""
POLICY = (
    "img-src 'self' data: blob:; connect-src 'self'; media-src 'self' blob:; object-src 'none'; "
    "base-uri 'self'; form-action 'self'; frame-ancestors 'none'"
)
_HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
)


@dataclass(frozen=True, slots=True)
class Rules:
    """Who is let in."""

    hosts: frozenset[str] = LOOPBACK
    """Names, without ports, that a request may ask for."""
    password: str = field(default="", repr=False)
    """Empty: none is asked for."""
    proxy_header: str = ""
    """Name of the header in which a proxy says who somebody is; empty: none is asked for."""
    open_paths: frozenset[str] = frozenset()
    """Paths that check by themselves who sends them something, and are asked for under any name."""


@dataclass(frozen=True, slots=True)
class Refusal:
    status: int
    text: str
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Gate:
    """Lets in whom the rules let in; answers everybody else."""

    def __init__(self, app: Asgi, rules: Rules) -> None:
        self._app = app
        self._rules = rules
        self._session = hmac.new(secrets.token_bytes(32), rules.password.encode(), hashlib.sha256).hexdigest()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in {"http", "websocket"} or self._is_open(scope):
            await self._app(scope, receive, send)
            return
        refusal = self._refuse(scope)
        if refusal is None:
            await self._app(scope, receive, self._marked(send))
            return
        if refusal.status == 401 and _headers(scope).get("authorization"):
            await asyncio.sleep(WRONG_PASSWORD_SECONDS)
        await _answer(scope, send, refusal)

    def _is_open(self, scope: Scope) -> bool:
        """Whether it is what a path that checks by itself is there for: something sent to it."""
        wanted = scope["type"] == "http" and scope.get("method") == "POST"
        return wanted and scope["path"] in self._rules.open_paths

    def _refuse(self, scope: Scope) -> Refusal | None:
        headers = _headers(scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if _name(f"//{host}") not in self._rules.hosts:
            return Refusal(403, "this address is not on the dashboard's list; --allow-host NAME puts it there")
        if origin is not None and not self._is_own(origin, host):
            return Refusal(403, "requests from other sites are not answered")
        if self._rules.proxy_header and not headers.get(self._rules.proxy_header.lower(), "").strip():
            return Refusal(403, "only requests that the proxy signed in are answered")
        if self._rules.password and not self._knows_password(headers):
            return Refusal(
                401, "the dashboard's password, please", ((b"www-authenticate", b'Basic realm="promptlearn"'),)
            )
        return None

    def _is_own(self, origin: str, host: str) -> bool:
        """Whether it is the address that was asked, or behind a proxy one of the names from outside."""
        if not origin.startswith(("http://", "https://")):
            return False
        named = _name(origin)
        return origin.split("://", 1)[1] == host or (named in self._rules.hosts and named not in LOOPBACK)

    def _knows_password(self, headers: dict[str, str]) -> bool:
        if hmac.compare_digest(_cookie(headers.get("cookie", "")), self._session):
            return True
        given = _basic(headers.get("authorization", ""))
        return given is not None and hmac.compare_digest(given.encode(), self._rules.password.encode())

    def _marked(self, send: Send) -> Send:
        """Adds what browsers should keep to, and the cookie for who knew the password."""
        extra = list(_HEADERS)
        if self._rules.password:
            extra.append((b"set-cookie", f"{COOKIE}={self._session}; Path=/; HttpOnly; SameSite=Strict".encode()))

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        return marked


def _headers(scope: Scope) -> dict[str, str]:
    """By name in lower case. A header that came twice says nothing that one could trust: both values, joined."""
    found: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        joined = "; " if key == "cookie" else ","
        found[key] = f"{found[key]}{joined}{text}" if key in found else text
    return found


def _name(address: str) -> str:
    """The host in an address, in lower case; empty where it is none, or has more in it than a host and a port."""
    try:
        parts = urlsplit(address)
        _ = parts.port
    except ValueError:
        return ""
    odd = parts.username is not None or parts.path or parts.query or parts.fragment
    return "" if odd else (parts.hostname or "").rstrip(".")


def _cookie(header: str) -> str:
    try:
        morsel = SimpleCookie(header).get(COOKIE)
    except CookieError:
        return ""
    return morsel.value if morsel and morsel.value.isascii() else ""


def _basic(header: str) -> str | None:
    """The password of HTTP Basic; None where there is none."""
    kind, _, encoded = header.partition(" ")
    if kind.lower() != "basic":
        return None
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return None


async def _answer(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.text})
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), *_HEADERS, *refusal.headers]
    await send({"type": "http.response.start", "status": refusal.status, "headers": headers})
    await send({"type": "http.response.body", "body": refusal.text.encode() + b"\n"})
