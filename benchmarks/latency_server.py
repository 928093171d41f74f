"""The endpoint that every benchmark talks to: chat completions on loopback, in a process of its own.

    python benchmarks/latency_server.py --scale 0.2 --seed 1      # prints its base URL

Latency is a deterministic function of the seed, the request's body and of how often that body has come: log-normal with
2 % stragglers for the task model, log-normal for the meta model. Replies come from `tickets` and depend on the request
alone; with `--sampled` the meta model answers an equal request with another reply each time. `GET /stats` says what was
served, `POST /reset` begins a new count. `--instant` answers every request at once with the same bytes and reads no
body, so that clients are measured and not the server.

Speaks just enough HTTP/1.1 for well-behaved clients, because it shares the machine's cores with them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from math import exp
from pathlib import Path
from statistics import NormalDist
from typing import Any

import tickets

NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds, all of them multiplied by `scale`."""

    seed: int = 0
    scale: float = 1.0
    median: float = 0.5
    sigma: float = 1.192
    """Of the logarithm: with a median of 0.5 s the 99th percentile is 8 s."""
    stragglers: float = 0.02
    """Share of task calls that take `straggler` seconds instead."""
    straggler: float = 20.0
    meta_median: float = 2.0
    meta_sigma: float = 0.5

    def draw(self, key: bytes, arrival: int, meta: bool) -> float:
        """The latency of the `arrival`-th request with this key."""
        digest = sha256(f"{self.seed}/{arrival}/".encode() + key).digest()
        first, second = (int.from_bytes(part, "big") / 2**64 for part in (digest[:8], digest[8:16]))
        if not meta and first < self.stragglers:
            return self.scale * self.straggler
        median, sigma = (self.meta_median, self.meta_sigma) if meta else (self.median, self.sigma)
        return self.scale * median * exp(sigma * NORMAL.inv_cdf(min(max(second, 1e-9), 1 - 1e-9)))


@dataclass(slots=True)
class Served:
    """What came in since the last reset."""

    task_calls: int = 0
    meta_calls: int = 0
    distinct: int = 0
    """Bodies that had not come before."""
    drawn_s: float = 0.0
    """Sum of the latencies of all calls, but for twins."""
    twins: int = 0
    """Task calls whose equal was under way: second copies of a slow call."""
    twin_s: float = 0.0
    """Sum of the latencies of twins."""
    held_s: float = 0.0
    """Sum of the times that calls were under way; one whose client hung up ends there."""
    hung_up: int = 0
    in_flight: int = 0
    most_in_flight: int = 0


@dataclass(slots=True)
class Endpoint:
    """What all connections share."""

    latency: Latency
    instant: bool = False
    sampled: bool = False
    served: Served = field(default_factory=Served)
    arrivals: Counter[bytes] = field(default_factory=Counter)
    open: Counter[bytes] = field(default_factory=Counter)

    def arrive(self, raw: bytes) -> tuple[bytes, float, bytes]:
        """Key, latency and response of a request."""
        body = json.loads(raw)
        key = sha256(json.dumps([body.get("model"), body["messages"]]).encode()).digest()
        meta = body.get("model") == tickets.META_MODEL
        seconds, served = self.latency.draw(key, self.arrivals[key], meta), self.served
        reply = tickets.reply(body, self.arrivals[key] if self.sampled else 0)
        served.distinct += not self.arrivals[key]
        self.arrivals[key] += 1
        if meta:
            served.meta_calls += 1
        else:
            served.task_calls += 1
        if self.open[key] and not meta:
            served.twins += 1
            served.twin_s += seconds
        else:
            served.drawn_s += seconds
        self.open[key] += 1
        served.in_flight += 1
        served.most_in_flight = max(served.most_in_flight, served.in_flight)
        return key, seconds, completion(reply, str(body.get("model")))

    def leave(self, key: bytes, seconds: float, hung_up: bool) -> None:
        self.open[key] -= 1
        self.served.in_flight -= 1
        self.served.held_s += seconds
        self.served.hung_up += hung_up

    def look(self) -> bytes:
        return response(json.dumps(asdict(self.served)).encode())

    def reset(self) -> bytes:
        """Count from zero, with latencies as at the start; calls under way are counted where they end."""
        self.served = Served(in_flight=self.served.in_flight)
        self.arrivals.clear()
        return response(b"{}")


def completion(text: str, model: str) -> bytes:
    counted = {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110}
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": model}
    return response(json.dumps({**body, "choices": [choice], "usage": counted}).encode())


def response(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


CANNED = completion("shipping", tickets.TASK_MODEL)
NOT_FOUND = response(b'{"error": {"message": "only chat completions are served here"}}', "404 Not Found")


class Connection(asyncio.Protocol):
    """One client's socket: one request after another."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._buffer = b""
        self._pending: tuple[asyncio.TimerHandle, bytes, float] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            length = _content_length(head)
            if len(self._buffer) < end + 4 + length:
                return
            body = self._buffer[end + 4 : end + 4 + length]
            self._buffer = self._buffer[end + 4 + length :]
            self._serve(head, body)

    def _serve(self, head: bytes, body: bytes) -> None:
        path = head.split(b" ", 2)[1]
        if path.endswith(b"/chat/completions"):
            if self._endpoint.instant:
                self._endpoint.served.task_calls += 1
                self._transport.write(CANNED)
                return
            key, seconds, reply = self._endpoint.arrive(body)
            handle = asyncio.get_running_loop().call_later(seconds, self._answer, reply)
            self._pending = handle, key, time.monotonic()
        elif path == b"/stats":
            self._transport.write(self._endpoint.look())
        elif path == b"/reset":
            self._transport.write(self._endpoint.reset())
        else:
            self._transport.write(NOT_FOUND)

    def _answer(self, reply: bytes) -> None:
        self._leave(hung_up=False)
        self._transport.write(reply)

    def connection_lost(self, error: Exception | None) -> None:
        if self._pending is not None:
            self._pending[0].cancel()
            self._leave(hung_up=True)

    def _leave(self, hung_up: bool) -> None:
        assert self._pending is not None
        _, key, since = self._pending
        self._pending = None
        self._endpoint.leave(key, time.monotonic() - since, hung_up)


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


async def serve(latency: Latency, instant: bool, sampled: bool) -> None:
    endpoint = Endpoint(latency, instant, sampled)
    server = await asyncio.get_running_loop().create_server(lambda: Connection(endpoint), "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()[:2]
    print(f"http://{host}:{port}/v1", flush=True)
    await server.serve_forever()


@contextmanager
def serving(latency: Latency | None = None, *, instant: bool = False, sampled: bool = False) -> Iterator[str]:
    """A server in a process of its own; gives its base URL."""
    options = [f"--{name.replace('_', '-')}={value}" for name, value in asdict(latency or Latency()).items()]
    switches = [name for name, on in (("--instant", instant), ("--sampled", sampled)) if on]
    command = [sys.executable, str(Path(__file__)), *options, *switches]
    # It ends when its standard input does, so that it does not outlive a benchmark that was killed.
    process = subprocess.Popen([*command, "--until-eof"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait()


def served(url: str) -> Served:
    """What the server at this base URL has served since its last reset."""
    return Served(**_ask(url, "/stats"))


def reset(url: str) -> None:
    _ask(url, "/reset")


def _ask(url: str, path: str) -> Mapping[str, Any]:
    with urllib.request.urlopen(url.removesuffix("/v1") + path, timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in asdict(Latency()).items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(value), default=value)
    parser.add_argument("--instant", action="store_true", help="answer at once with the same bytes")
    parser.add_argument("--sampled", action="store_true", help="let the meta model answer the same request differently")
    parser.add_argument("--until-eof", action="store_true", help="end when the standard input does")
    options = vars(parser.parse_args())
    instant, sampled = options.pop("instant"), options.pop("sampled")
    if options.pop("until_eof"):
        threading.Thread(target=_end_with_input, daemon=True).start()
    try:
        asyncio.run(serve(Latency(**options), instant, sampled))
    except KeyboardInterrupt:
        return


if __name__ == "__main__":
    main()
