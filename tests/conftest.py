"""For every test: no network but loopback, and nothing of the environment of the person who runs the tests."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from chat_server import ChatServer, Script, Serve
from hypothesis import settings

settings.register_profile("shared", deadline=None)  # a busy machine is slow, which is no fault of the code
settings.load_profile("shared")

NETWORK = False
"""The one switch: whether tests may connect to anything but this machine."""


def _guard(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and not NETWORK and isinstance(args[1], tuple):
        host = str(args[1][0])
        if not (host.startswith("127.") or host in {"::1", "localhost"}):
            raise RuntimeError(f"a test tried to connect to {host}; tests talk to loopback only")


sys.addaudithook(_guard)


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PROMPTLEARN_STORE", "OPENAI_API_KEY", "FORCE_COLOR", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a chat server with a script; it stops with the test."""
    async with AsyncExitStack() as stack:

        async def start(script: Script = ()) -> ChatServer:
            return await stack.enter_async_context(ChatServer(script))

        yield start
