from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from chat_server import ChatServer, Script, Serve


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Start a chat server with a script; it stops with the test."""
    async with AsyncExitStack() as stack:

        async def start(script: Script = ()) -> ChatServer:
            return await stack.enter_async_context(ChatServer(script))

        yield start
