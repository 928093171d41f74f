"""Calls per second at an endpoint without latency, 32 at once: promptlearn with everything durable, and other clients.

    python benchmarks/throughput.py

promptlearn is what runs use: MeteredModel (journal, ledger, slots, retries) around ChatModel, every reply committed to
a store on the disk before its caller sees it. The others keep nothing. Each client is a process of its own that makes
the same calls, no two alike, after a warm-up; processes take turns, and the median of their repetitions counts.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, TypeAlias

import tickets
from figures import conditions, show
from latency_server import reset, served, serving

WIDTH, WARM_UP = 32, 200
MODEL = tickets.TASK_MODEL

Ask: TypeAlias = Callable[[str], Awaitable[str]]
"""Sends one ticket below the system prompt, and gives the reply's text."""


def chat(ticket: str) -> Any:
    return tickets.chat(tickets.SEED, ticket)


@asynccontextmanager
async def promptlearn(url: str) -> AsyncIterator[Ask]:
    from promptlearn.ledger import Budget, Ledger
    from promptlearn.metered import MeteredModel
    from promptlearn.models.openai import ChatModel
    from promptlearn.models.retries import RetryPolicy
    from promptlearn.records import Message
    from promptlearn.store import open_store

    with tempfile.TemporaryDirectory() as folder, open_store(Path(folder) / "store.db") as store:
        ledger = Ledger(Budget(task_calls=10**9))
        slots = asyncio.Semaphore(WIDTH)
        model = MeteredModel(ChatModel(MODEL, url), "task", store.journal, ledger, slots, RetryPolicy())

        async def ask(ticket: str) -> str:
            return (await model.complete([Message("system", tickets.SEED), Message("user", ticket)])).text

        yield ask
        await model.close()


@asynccontextmanager
async def openai(url: str) -> AsyncIterator[Ask]:
    from openai import AsyncOpenAI

    async with AsyncOpenAI(base_url=url, api_key="none") as client:

        async def ask(ticket: str) -> str:
            reply = await client.chat.completions.create(model=MODEL, messages=chat(ticket))
            return reply.choices[0].message.content or ""

        yield ask


@asynccontextmanager
async def openai_raw(url: str) -> AsyncIterator[Ask]:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with AsyncOpenAI(base_url=url, api_key="none", http_client=DefaultAioHttpClient()) as client:

        async def ask(ticket: str) -> str:
            reply = await client.chat.completions.with_raw_response.create(model=MODEL, messages=chat(ticket))
            return str(json.loads(reply.text)["choices"][0]["message"]["content"])

        yield ask


@asynccontextmanager
async def litellm(url: str) -> AsyncIterator[Ask]:
    import litellm as library

    async def ask(ticket: str) -> str:
        reply = await library.acompletion(f"openai/{MODEL}", chat(ticket), api_base=url, api_key="none")
        return str(reply.choices[0].message.content)

    yield ask


@asynccontextmanager
async def dspy(url: str) -> AsyncIterator[Ask]:
    lm = _dspy_lm(url)

    async def ask(ticket: str) -> str:
        return str((await lm.acall(f"{tickets.SEED}\n\n{ticket}"))[0])

    yield ask


@asynccontextmanager
async def dspy_threads(url: str) -> AsyncIterator[Ask]:
    lm, loop = _dspy_lm(url), asyncio.get_running_loop()
    with ThreadPoolExecutor(WIDTH) as pool:

        async def ask(ticket: str) -> str:
            return str((await loop.run_in_executor(pool, lm, f"{tickets.SEED}\n\n{ticket}"))[0])

        yield ask


def _dspy_lm(url: str) -> Any:
    import dspy as library

    library.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    return library.LM(f"openai/{MODEL}", api_base=url, api_key="none", cache=False)


@asynccontextmanager
async def aiohttp(url: str) -> AsyncIterator[Ask]:
    import aiohttp as library

    async with library.ClientSession() as session:

        async def ask(ticket: str) -> str:
            async with session.post(f"{url}/chat/completions", json={"model": MODEL, "messages": chat(ticket)}) as got:
                return str((await got.json())["choices"][0]["message"]["content"])

        yield ask


CLIENTS: dict[str, tuple[str, Callable[[str], AbstractAsyncContextManager[Ask]]]] = {
    "promptlearn": ("promptlearn, every reply durable", promptlearn),
    "openai": ("openai.AsyncOpenAI", openai),
    "openai-raw": ("openai.AsyncOpenAI over aiohttp, raw responses", openai_raw),
    "litellm": ("litellm.acompletion", litellm),
    "dspy": ("dspy.LM, async", dspy),
    "dspy-threads": ("dspy.LM, 32 threads", dspy_threads),
    "aiohttp": ("bare aiohttp", aiohttp),
}


async def drive(client: str, url: str, calls: int) -> dict[str, float]:
    """Calls and CPU milliseconds of one client in this process."""
    async with CLIENTS[client][1](url) as ask:
        await _ask_all(ask, range(-WARM_UP, 0))
        usage, started = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        await _ask_all(ask, range(calls))
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - usage.ru_utime - usage.ru_stime
    return {"rate": calls / seconds, "cpu": 1000 * cpu / calls}


async def _ask_all(ask: Ask, numbers: range) -> None:
    """32 workers, each with its next ticket as soon as it has a reply."""
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            text = await ask(f"{number}: my parcel is late.")
            assert text == "shipping", text

    await asyncio.gather(*(work() for _ in range(WIDTH)))


def measure(client: str, url: str, calls: int) -> dict[str, float]:
    command = [sys.executable, __file__, client, "--drive", "--url", url, "--calls", str(calls)]
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    process = subprocess.run(command, capture_output=True, text=True, env=environment)
    if process.returncode:
        raise SystemExit(f"{client} failed:\n{process.stderr[-4000:]}")
    found: dict[str, float] = json.loads(process.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clients", nargs="*", choices=[[], *CLIENTS], help="by default all of them")
    parser.add_argument("--calls", type=int, default=2000)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--drive", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.drive:
        print(json.dumps(asyncio.run(drive(options.clients[0], options.url, options.calls))))
        return
    found, clients = conditions(), options.clients or list(CLIENTS)
    runs: dict[str, list[dict[str, float]]] = {client: [] for client in clients}
    with serving(instant=True) as url:
        for _ in range(options.repetitions):
            for client in clients:
                reset(url)
                runs[client].append(measure(client, url, options.calls))
                assert served(url).task_calls == WARM_UP + options.calls, "not every call went to the server"
    every = {client: [run["rate"] for run in runs[client]] for client in clients}
    rates = {client: statistics.median(every[client]) for client in clients}
    rows = [
        {
            "client": CLIENTS[client][0],
            "calls per second": rates[client],
            "slowest to fastest": f"{min(every[client]):,.0f} – {max(every[client]):,.0f}",
            "CPU ms per call": statistics.median(run["cpu"] for run in runs[client]),
            "promptlearn is faster by": rates["promptlearn"] / rates[client] if "promptlearn" in rates else "",
        }
        for client in clients
    ]
    title = f"Calls per second, {WIDTH} at once, no latency ({options.calls:,} calls, median of {options.repetitions})"
    show(title, rows, found, options.json)


if __name__ == "__main__":
    main()
