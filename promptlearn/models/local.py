"""LocalModel: a GGUF file run by llama.cpp inside this process.

`xllamacpp` starts llama.cpp's own OpenAI-compatible server on a loopback port; calls go to it through `ChatModel`. One
server per file and process, shared by all roles that name the file. Knows nothing about where files come from.

Every slot reads a new prefix for itself, and a batch saves little on a CPU. SmolLM2-135M, four prompts of 390 tokens,
20 rows each, answers of 7 tokens: 594 ms of CPU per call one at a time, 809 two at a time, 1,239 four, 2,042 eight.
Long answers are another matter: Qwen2.5-1.5B writes a token in 125, 89 and 79 ms one, two and four at a time. So calls
wait in line here, whatever the concurrency of the run is; the other slots keep the prefixes of other prompts and roles.
"""

from __future__ import annotations

import asyncio
import atexit
import importlib.util
import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from promptlearn.errors import ConfigError, SystemicError
from promptlearn.models.base import FREE, ModelBase, Price, Reply, Sampling
from promptlearn.models.hub import file_digest
from promptlearn.models.openai import ChatModel
from promptlearn.models.threads import BRIEFLY, cores, sleeping_threads
from promptlearn.records import Json, Message

TIMEOUT = 600.0
"""Seconds that a call may take at least, whatever the caller set: a laptop writes a long reply in minutes."""
SHORT_ANSWER = 64
"""Tokens up to which reading the prompt costs more than writing the answer."""
_SPARE_SLOTS = 3
"""Slots beyond the calls that run at once: each remembers the prefix of one prompt."""
_SIMILARITY = 0.5
"""A slot whose text shares less than this with a new prompt is left to the prompt that it remembers."""
_PROMPT_CACHE_MB = 256


def calls_at_once(sampling: Sampling, slots: int) -> int:
    """How many calls of one role llama.cpp works on at a time, on this machine's processors."""
    return max(1, min(slots, cores() // 2 if sampling.max_tokens <= SHORT_ANSWER else cores()))


class LocalModel(ModelBase):
    """A model file on this machine; the server starts with the first call.

        model = LocalModel("local/smollm2-135m-instruct", pull("smollm2-135m-instruct"))

    Its identity is the digest of the file, so a journal knows its replies wherever the file lies. At temperature 0
    equal calls get equal replies as far as llama.cpp's arithmetic allows: what else is in a batch, and how much of the
    prompt a slot remembered, may change the last bits of a sum and with them, rarely, a word.
    """

    in_process = True

    def __init__(
        self,
        name: str,
        path: Path,
        *,
        adapter: Path | None = None,
        sampling: Sampling = Sampling(),
        timeout: float = TIMEOUT,
        slots: int = 16,
        context: int = 4096,
        price: Price = FREE,
    ) -> None:
        """`adapter` is a LoRA adapter for the file, in GGUF; with it the model has an identity of its own.
        `slots` is the most calls at once, `context` the tokens of prompt and reply together, `timeout` (seconds) is at
        least TIMEOUT. Raises ConfigError where the file or the package is missing.
        """
        if importlib.util.find_spec("xllamacpp") is None:
            raise ConfigError(f"{name} needs llama.cpp: pip install 'promptlearn-optimizer[local]'")
        if not path.is_file():
            raise ConfigError(
                f"{name}: there is no file {path}; get one with `promptlearn models pull smollm2-135m-instruct` or"
                " `promptlearn models pull hf:OWNER/REPO/FILE.gguf`"
            )
        if adapter is not None and not adapter.is_file():
            raise ConfigError(f"{name}: there is no adapter {adapter}; `promptlearn tune export` writes one")
        self._weights = Weights(path.resolve(), None if adapter is None else adapter.resolve())
        super().__init__(name, f"local/{self._weights.digest()}", sampling, price)
        self._timeout = max(timeout, TIMEOUT)
        self._at_once = calls_at_once(sampling, slots)
        self._need = Need(min(slots, self._at_once + _SPARE_SLOTS), context)
        self._chat: ChatModel | None = None
        self._lines: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()
        _announce(self._weights, self._need)

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """One completion; see `Model.complete`. Time spent waiting in line does not count against the timeout."""
        async with self._line():
            chat = self._chat or await self._start()
            return await chat.complete(messages, sampling or self._sampling, schema, repeat)

    async def close(self) -> None:
        """Close the sockets; the server stops when nobody uses it any more."""
        chat, self._chat = self._chat, None
        if chat is not None:
            await chat.close()
            await asyncio.to_thread(_release, self._weights, self)

    def _line(self) -> asyncio.Semaphore:
        return self._lines.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(self._at_once))

    async def _start(self) -> ChatModel:
        running = await asyncio.to_thread(_acquire, self._weights, self)
        if self._chat is None:
            self._chat = ChatModel(
                self._name,
                f"{running.address}/v1",
                api_key=running.key,
                sampling=self._sampling,
                timeout=self._timeout,
                price=self.price,
                identity=self._identity,
                connections=self._at_once,
            )
        return self._chat


@dataclass(frozen=True, slots=True)
class Weights:
    """What a server is started with."""

    path: Path
    adapter: Path | None = None

    def digest(self) -> str:
        """16 hex digits of the file's digest; behind a `+`, where there is an adapter, 16 of that."""
        return "+".join(_digest(file)[:16] for file in (self.path, self.adapter) if file is not None)


@dataclass(frozen=True, slots=True)
class Need:
    """What a role wants of a server."""

    slots: int
    context: int
    """Tokens per slot."""


@dataclass(slots=True)
class Running:
    """A server that has been started."""

    server: Any
    address: str
    key: str
    users: set[LocalModel] = field(default_factory=set)


_lock = threading.Lock()
_needs: dict[Weights, Need] = {}
"""The most that any model opened so far wants; a server that runs already keeps what it was started with."""
_running: dict[Weights, Running] = {}
_digests: dict[tuple[Path, int, int], str] = {}
"""(path, size, modification time) → digest, as reading a large file takes seconds."""


def _digest(path: Path) -> str:
    stat = path.stat()
    key = (path, stat.st_size, stat.st_mtime_ns)
    if key not in _digests:
        _digests[key] = file_digest(path)
    return _digests[key]


def _announce(weights: Weights, need: Need) -> None:
    with _lock:
        known = _needs.get(weights, need)
        _needs[weights] = Need(max(known.slots, need.slots), max(known.context, need.context))


def _acquire(weights: Weights, user: LocalModel) -> Running:
    """The server of a file, started where it does not run yet. Blocks while the file is loaded."""
    with _lock:
        if weights not in _running:
            _running[weights] = _launch(weights, _needs[weights])
        _running[weights].users.add(user)
        return _running[weights]


def _release(weights: Weights, user: LocalModel) -> None:
    with _lock:
        running = _running.get(weights)
        if running is not None:
            running.users.discard(user)
            if not running.users:
                del _running[weights]


@atexit.register
def _stop_all() -> None:
    """llama.cpp's threads must end before the interpreter does."""
    with _lock:
        _running.clear()


def _launch(weights: Weights, need: Need) -> Running:
    """Start a server on a free loopback port, silent, and closed to everybody without the key of this process."""
    with sleeping_threads(BRIEFLY):
        import xllamacpp
    key = secrets.token_urlsafe(24)
    params = xllamacpp.CommonParams()
    params.verbosity = -1
    params.model.path = str(weights.path)
    if weights.adapter is not None:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(weights.adapter), 1.0)]
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [key]
    params.ui = False
    params.endpoint_slots = False
    params.n_parallel = need.slots
    params.n_ctx = need.slots * need.context
    params.n_threads_http = 2 * need.slots + 4
    params.slot_prompt_similarity = _SIMILARITY
    params.cache_ram_mib = _PROMPT_CACHE_MB
    try:
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError, MemoryError) as error:
        said = " ".join(str(error).split()) or type(error).__name__
        files = " with ".join(str(file) for file in (weights.path, weights.adapter) if file is not None)
        message = f"llama.cpp can not run {files}: {said}; check that it is a whole GGUF file, or lower `context`"
        raise SystemicError("not_found", message) from None
    return Running(server, server.listening_address, key)
