"""Ctrl-C: once ends the calls under way and saves, twice stops at once. The one place where the CLI enters asyncio."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from promptlearn.cli.console import note
from promptlearn.errors import Interrupted

T = TypeVar("T")


def run_until_interrupted(work: Callable[[Callable[[], bool]], Coroutine[Any, Any, T]]) -> T:
    """Run `work(stopping)` to its end. Raises Interrupted after a Ctrl-C or SIGTERM."""

    async def supervised() -> T:
        loop = asyncio.get_running_loop()
        signals = 0
        task = asyncio.current_task()
        assert task is not None  # a coroutine that runs is a task

        def received() -> None:
            nonlocal signals
            signals += 1
            if signals == 1:
                note("stopping: calls under way end and are saved; Ctrl-C again stops at once", style="yellow")
            else:
                task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, received)
        try:
            return await work(lambda: signals > 0)
        except asyncio.CancelledError:
            raise Interrupted("stopped at once; the same command goes on from what was saved") from None
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    return asyncio.run(supervised())
