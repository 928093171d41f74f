"""Processors, and how the threads of llama.cpp and torch wait for each other on them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

_POLICY, _SPINS = "OMP_WAIT_POLICY", "GOMP_SPINCOUNT"
BRIEFLY = 6000
"""Turns of libgomp's waiting loop, some ten microseconds: about as long as llama.cpp's threads are apart."""


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def sleeping_threads(spins: int = 0) -> Iterator[None]:
    """An OpenMP that is loaded meanwhile sleeps when it has waited for `spins` turns, unless the user says otherwise.

    By default its threads spin at barriers. Where another process wants the same core, each barrier then costs a time
    slice: measured with llama.cpp on two busy cores, 2,300 ms of CPU per call instead of 450. To sleep at once costs a
    wake-up per barrier instead: SmolLM2-135M answered in 521 to 692 ms by the clock, after 6,000 turns in 329, and
    beside two busy processes in 955 and 645. OpenMP reads the variables once, when it is loaded; LLVM's knows the
    first alone.
    """
    wanted = {_POLICY: "passive", _SPINS: str(spins)}
    if _POLICY in os.environ:
        wanted.pop(_SPINS)  # how long to spin is said by it
    ours = [name for name in wanted if name not in os.environ]
    os.environ.update({name: wanted[name] for name in ours})
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
