"""The event loop on which judges answer, in a thread of its own.

Sockets belong to the event loop that opened them, so that all judgements of a process share one. It starts with the
first of them and ends with the process, which closes the models that were asked. Knows nothing about judges.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from promptlearn.models.base import Model

T = TypeVar("T")
CLOSING = 10.0
"""Seconds that closing may take before the process ends without it."""


class Background:
    """Runs coroutines for any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended: asyncio.Event | None = None
        self._models: dict[int, Model] = {}

    def is_here(self) -> bool:
        """Whether the caller is on this very loop, which can not wait for itself."""
        return threading.current_thread() is self._thread

    def run(self, work: Coroutine[Any, Any, T], model: Model | None) -> T:
        """Run `work`, which asks `model`, to its end, in the context of the caller."""
        loop = self._started(model)
        outcome = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return outcome.result()
        except BaseException:
            outcome.cancel()  # a caller that is interrupted waits no longer, and pays no longer
            raise

    def close(self) -> None:
        """Close the models and end the thread; the next `run` starts another."""
        with self._lock:
            thread, loop, ended = self._thread, self._loop, self._ended
            if thread is not None and thread.is_alive() and loop is not None and ended is not None:
                loop.call_soon_threadsafe(ended.set)
                thread.join(CLOSING)
            self._thread = None

    def _started(self, model: Model | None) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._thread is None or not self._thread.is_alive():  # the child of a fork has no threads
                self._models = {}
                ready = threading.Event()
                self._thread = threading.Thread(
                    target=lambda: asyncio.run(self._serve(ready)), name="promptlearn-judges", daemon=True
                )
                self._thread.start()
                ready.wait()
            if model is not None:
                self._models[id(model)] = model
            assert self._loop is not None
            return self._loop

    async def _serve(self, ready: threading.Event) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        ready.set()
        await self._ended.wait()
        await asyncio.gather(*(model.close() for model in self._models.values()), return_exceptions=True)
