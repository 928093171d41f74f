"""The models of `quality.py`: one llama.cpp server per GGUF file, and clients that count their calls.

Knows nothing about tasks or optimizers. Every contender asks the same two servers.
"""

from __future__ import annotations

import atexit
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

CONTEXT = 6144
"""Tokens of prompt and reply together."""
SIMILARITY, CACHE_MIB = 0.5, 256
"""When a slot takes over what it read before, and how much is kept of prompts that no slot holds."""


class Spent(RuntimeError):
    """The budget of task calls is spent."""


class Server:
    """A llama.cpp server on a loopback port; each slot answers one call at a time.

    The one that `local/` models use stands in this process. `program` is a `llama-server` of one's own, such as one
    that was built for this very processor; it ends with this process.
    """

    def __init__(self, path: Path, *, threads: int, slots: int, program: Path | None = None) -> None:
        self.name = path.stem
        start = _embedded if program is None else partial(_started, program)
        self._server, address = start(path.resolve(), threads, slots)
        self.address = f"{address}/v1"


def _embedded(path: Path, threads: int, slots: int) -> tuple[Any, str]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.verbosity = -1
    params.model.path = str(path)
    params.hostnames, params.port, params.ui = ["127.0.0.1"], 0, False
    params.n_parallel, params.n_ctx = slots, slots * CONTEXT
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.slot_prompt_similarity, params.cache_ram_mib = SIMILARITY, CACHE_MIB
    server = xllamacpp.Server(params)
    return server, server.listening_address


def _started(program: Path, path: Path, threads: int, slots: int) -> tuple[Any, str]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    sizes = {"--threads": threads, "--threads-batch": threads, "--parallel": slots, "--ctx-size": slots * CONTEXT}
    cache = {"--slot-prompt-similarity": SIMILARITY, "--cache-ram": CACHE_MIB}
    options = {"--model": path, "--host": "127.0.0.1", "--port": port} | sizes | cache
    words = [str(word) for option in options.items() for word in option]
    server = subprocess.Popen([program, *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.kill)
    address = f"http://127.0.0.1:{port}"
    while True:
        if server.poll() is not None:
            raise RuntimeError(f"{program} ended with exit code {server.returncode} while it loaded {path}")
        try:
            with urllib.request.urlopen(f"{address}/health", timeout=5):
                return server, address
        except OSError:  # it does not listen yet, or is loading
            time.sleep(0.2)


@dataclass(slots=True)
class Served:
    """A server as one contender asks it, from any process, and the calls that it made."""

    name: str
    address: str
    max_tokens: int
    temperature: float
    calls: int = 0
    seconds: float = 0.0
    cap: int | None = None
    """Calls that may be made; one more raises Spent."""

    def begin(self, cap: int | None = None) -> None:
        """Count anew."""
        self.calls, self.seconds, self.cap = 0, 0.0, cap

    def ask(self, messages: Sequence[Any], **sampling: Any) -> str:
        """One completion of OpenAI messages; `sampling` replaces what the role says."""
        if self.cap is not None and self.calls >= self.cap:
            raise Spent(f"{self.cap} calls of {self.name} are spent")
        self.calls += 1
        body = {"max_tokens": self.max_tokens, "temperature": self.temperature, "messages": list(messages)}
        body |= {key: value for key, value in sampling.items() if value is not None}
        started = time.perf_counter()
        request = urllib.request.Request(
            f"{self.address}/chat/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=3600) as response:
            reply = json.load(response)
        self.seconds += time.perf_counter() - started
        return reply["choices"][0]["message"]["content"] or ""
