"""Who may talk to the dashboard: hosts, origins, passwords, proxies."""

import base64
from typing import Any

import pytest

from promptlearn.dashboard.gate import COOKIE, Gate, Rules

OWN = {"host": "127.0.0.1:8501"}


async def _page(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.accept"})
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"page"})


async def knock(
    gate: Gate, headers: dict[str, str], kind: str = "http", path: str = "/", method: str = "GET"
) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        said.append(dict(message))

    async def receive() -> Any:
        return {"type": "http.request", "body": b""}

    pairs = [(name.encode(), value.encode()) for name, value in headers.items()]
    await gate({"type": kind, "path": path, "headers": pairs, "method": method}, receive, send)
    return said


async def status(headers: dict[str, str], rules: Rules | None = None, path: str = "/", method: str = "GET") -> int:
    return int((await knock(Gate(_page, rules or Rules()), headers, path=path, method=method))[0]["status"])


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.mark.parametrize(
    "host", ["127.0.0.1:8501", "localhost:8501", "LOCALHOST", "localhost.:8501", "[::1]:8501", "127.0.0.1"]
)
async def test_this_machine_is_let_in_under_each_of_its_names(host: str) -> None:
    assert await status({"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example:8501", "", "localhost@evil.example", "127.0.0.1:x", "127.0.0.1/a", "[::1"],
)
async def test_a_foreign_host_is_refused(host: str) -> None:
    assert await status({"host": host}) == 403
    assert (await knock(Gate(_page, Rules()), {"host": host}, "websocket"))[0]["type"] == "websocket.close"


async def test_a_host_header_that_comes_twice_is_refused() -> None:
    said: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        said.append(dict(message))

    pairs = [(b"host", b"127.0.0.1:8501"), (b"host", b"evil.example")]
    await Gate(_page, Rules())({"type": "http", "path": "/", "headers": pairs}, None, send)  # type: ignore[arg-type]
    assert said[0]["status"] == 403


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "http://localhost:3000", "null", "http://127.0.0.1:9999", "file://", "127.0.0.1:8501"],
)
async def test_a_foreign_origin_is_refused(origin: str) -> None:
    assert await status({**OWN, "origin": origin}) == 403
    closed = await knock(Gate(_page, Rules()), {**OWN, "origin": origin}, "websocket")
    assert closed[0]["type"] == "websocket.close"


async def test_its_own_origin_is_let_in() -> None:
    assert await status({**OWN, "origin": "http://127.0.0.1:8501"}) == 200
    opened = await knock(Gate(_page, Rules()), {**OWN, "origin": "http://127.0.0.1:8501"}, "websocket")
    assert opened[0]["type"] == "websocket.accept"


async def test_behind_a_proxy_the_name_from_outside_is_an_origin() -> None:
    rules = Rules(hosts=Rules().hosts | {"dash.example.com"}, proxy_header="X-User")
    headers = {**OWN, "origin": "https://dash.example.com", "x-user": "kim"}
    assert await status(headers, rules) == 200
    assert await status({**headers, "x-user": " "}, rules) == 403
    assert await status({**OWN}, rules) == 403


async def test_a_password_is_asked_for_and_its_cookie_opens_the_socket() -> None:
    gate = Gate(_page, Rules(password="correct horse"))
    refused = (await knock(gate, OWN))[0]
    assert refused["status"] == 401
    assert (b"www-authenticate", b'Basic realm="promptlearn"') in refused["headers"]
    assert (await knock(gate, {**OWN, "authorization": basic("wrong")}))[0]["status"] == 401
    assert (await knock(gate, {**OWN, "authorization": "Basic ?"}))[0]["status"] == 401
    opened = (await knock(gate, {**OWN, "authorization": basic("correct horse")}))[0]
    cookie = dict(opened["headers"])[b"set-cookie"].decode()
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    session = cookie.split(";")[0]
    assert (await knock(gate, {**OWN, "cookie": session}, "websocket"))[0]["type"] == "websocket.accept"
    forged = {**OWN, "cookie": f"{COOKIE}={'0' * 64}"}
    assert (await knock(gate, forged, "websocket"))[0]["type"] == "websocket.close"
    assert "correct horse" not in cookie
    assert "correct horse" not in repr(Rules(password="correct horse"))


async def test_no_page_may_load_an_image_from_elsewhere_or_stand_in_a_frame() -> None:
    headers = dict((await knock(Gate(_page, Rules()), OWN))[0]["headers"])
    policy = headers[b"content-security-policy"].decode()
    assert "img-src 'self' data: blob:;" in policy
    assert "frame-ancestors 'none'" in policy


async def test_a_path_that_checks_by_itself_is_open_and_no_other() -> None:
    rules = Rules(password="correct horse", open_paths=frozenset({"/github"}))
    assert await status({"host": "hooks.example.com"}, rules, "/github", "POST") == 200
    assert await status({"host": "hooks.example.com"}, rules, "/github") == 403
    said = await knock(Gate(_page, rules), {"host": "hooks.example.com"}, "websocket", "/github")
    assert said[0]["type"] == "websocket.close"
    assert await status({"host": "hooks.example.com"}, rules, "/github/") == 403
