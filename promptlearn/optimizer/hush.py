"""Hush: what another optimizer's thread prints is not seen; what every other thread prints goes where it went.

DSPy and GEPA print bars and remarks while they search, and DSPy logs every row that a spent budget refuses. What there
is to say is in the run's own log. Several searches may be hushed at the same time; after the last one everything is as
it was.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

_lock = threading.Lock()
_hushed: set[int] = set()
"""Threads."""
_restore: list[tuple[str, TextIO, TextIO]] = []
"""Streams of `sys` that have been replaced: name, what stood there, what stands there now."""
_levels: dict[str, int] = {}


@contextmanager
def hushed(*loggers: str) -> Iterator[None]:
    """Say nothing of what this thread prints, nor of what these loggers log, from whatever thread."""
    me = threading.get_ident()
    with _lock:
        if not _hushed:
            _replace_streams()
        for name in loggers:
            logger = logging.getLogger(name)
            _levels.setdefault(name, logger.level)
            logger.setLevel(logging.CRITICAL)
        _hushed.add(me)
    try:
        yield
    finally:
        with _lock:
            _hushed.discard(me)
            if not _hushed:
                _put_back()


class _Stream:
    """A stream of `sys` that lets a hushed thread's words fall."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    def write(self, text: str) -> int:
        return len(text) if _is_hushed(threading.current_thread()) else self._inner.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _is_hushed(thread: threading.Thread) -> bool:
    return thread.ident in _hushed or type(thread).__name__ == "TMonitor"  # tqdm's, which draws the bars of others


def _replace_streams() -> None:
    for name in ("stdout", "stderr"):
        old = getattr(sys, name)
        new: Any = _Stream(old)
        setattr(sys, name, new)
        _restore.append((name, old, new))


def _put_back() -> None:
    for name, old, new in _restore:
        if getattr(sys, name) is new:  # else somebody else has replaced it since, and will put it back
            setattr(sys, name, old)
    _restore.clear()
    for name, level in _levels.items():
        logging.getLogger(name).setLevel(level)
    _levels.clear()
