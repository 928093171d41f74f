"""The models of `quality.py`: one llama.cpp server per GGUF file, and a client that counts calls.

Knows nothing about tasks or optimizers. Every contender asks the same two servers.
"""

from __future__ import annotations

import json
import os
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

CONTEXT = 6144
"""Tokens of prompt and reply together."""


class Spent(RuntimeError):
    """The budget of task calls is spent."""


class Served:
    """A llama.cpp server on a loopback port, and the calls that were made to it."""

    def __init__(self, path: Path, *, threads: int, max_tokens: int, temperature: float, slots: int = 4) -> None:
        import xllamacpp

        params = xllamacpp.CommonParams()
        params.verbosity = -1
        params.model.path = str(path.resolve())
        params.hostnames, params.port, params.ui = ["127.0.0.1"], 0, False
        params.n_parallel, params.n_ctx = slots, slots * CONTEXT
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.slot_prompt_similarity, params.cache_ram_mib = 0.5, 256
        self._server = xllamacpp.Server(params)
        self.name = path.stem
        self.address = f"{self._server.listening_address}/v1"
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.calls = 0
        self.seconds = 0.0
        self.cap: int | None = None
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
