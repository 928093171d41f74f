"""What the store costs: per rollout while it grows, per second at several widths, and per command that looks into it.

    python benchmarks/store.py [--rollouts 100000] [--folder FOLDER] [--json]

A rollout here is what a search does for each: look its call up in the journal, record the reply, keep the rollout with
one verdict. Each is on the disk before the next step. Questions are 1.4 kB. Stores of all sizes take turns, so that a
busy machine disturbs them alike; figures are medians. The folder must be on a real disk: on tmpfs a sync costs nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from figures import conditions, show

from promptlearn.records import Candidate, Example, Json, Prompt, Rollout, Usage, Verdict, fingerprint
from promptlearn.store import Store, call_key, open_store

WIDTH = 32
BATCH = 500
"""Rollouts in one measurement."""
REPEATS = 9
ROWS_OF_A_PROMPT, PROMPTS_AT_ONCE = 200, 4
COMMANDS = ("runs --json", "runs", "show --json", "diff --from 0 --to 1 --json", "cache ls --json")
SYSTEM = "You help our shop with customer mail. Answer with one word: billing, shipping, returns or other. " * 10
MESSAGE = "My parcel was to come on Monday and the tracking page says nothing since Friday; where is it? " * 4
REPLY: Json = {
    "text": "shipping",
    "finish_reason": "stop",
    "usage": {"calls": 1, "cached_calls": 0, "input_tokens": 310, "output_tokens": 3, "cached_tokens": 0},
    "logprobs": None,
    "seconds": 0.61,
}
USAGE = Usage(1, 0, 310, 3, 0, 0.00012)


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one rollout, in microseconds."""

    wall: float
    cpu: float


@cache
def prompt(number: int) -> Prompt:
    return Prompt.of(f"Prompt {number}. {SYSTEM}")


@cache
def digest(number: int) -> str:
    return prompt(number).digest


def made(number: int) -> tuple[Rollout, Verdict]:
    """The rollout with this number: several prompts run on all rows side by side, then the next ones."""
    group, place = divmod(number, ROWS_OF_A_PROMPT * PROMPTS_AT_ONCE)
    row, turn = divmod(place, PROMPTS_AT_ONCE)
    example = fingerprint(["example", row])
    rollout = Rollout(digest(group * PROMPTS_AT_ONCE + turn), example, "shipping", usage=USAGE, seconds=0.61)
    said = "the label is the one that was expected"
    return rollout, Verdict("label_set", rollout.id, 1.0, label="shipping", explanation=said, source="label_set@1")


async def work(store: Store, run: str, numbers: range, width: int) -> Cost:
    """These rollouts, so many at a time."""
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            messages = [["system", SYSTEM], ["user", f"{number}: {MESSAGE}"]]
            request = {"model": "openai/m", "messages": messages, "schema": None, "repeat": 0}
            key = call_key(request)
            assert store.journal.find(key) is None
            await store.journal.record(key, "openai/m", request, REPLY)
            rollout, verdict = made(number)
            await store.add_row(run, rollout, [verdict], "validation")

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(width)))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return Cost(wall / len(numbers) * 1e6, cpu / len(numbers) * 1e6)


async def fill(path: Path, size: int) -> str:
    """A store with so many rollouts in one run, as a search of that size leaves it; returns the run."""
    with open_store(path) as store:
        run = await store.start_run({"prompt": {"file": "prompt.md"}}, "digest", {}, 0)
        examples = [
            Example(fingerprint(["example", row]), {"message": MESSAGE}, "shipping") for row in range(ROWS_OF_A_PROMPT)
        ]
        await store.add_examples(run, examples, "validation")
        for number in range(max(2, size // ROWS_OF_A_PROMPT)):
            parents = (digest(0),) if number else ()
            await store.add_candidate(run, Candidate(prompt(number), parents, "rewrite", "because"), number)
        await work(store, run, range(size), 500)
    return run


async def growth(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Cost per rollout in stores of several sizes, measured in turn."""
    costs: dict[int, list[Cost]] = {size: [] for size in sizes}
    grown = {size: [await filled(folder / f"{size}.db", size)] for size in sizes if size > 10 * BATCH}
    for repeat in range(REPEATS):
        for size in sizes:
            # A small store is made anew each time, so that it is still small at the end.
            path, run = grown[size][0] if size in grown else await filled(folder / f"{size}-{repeat}.db", size)
            with open_store(path) as store:
                start = size + repeat * BATCH
                costs[size].append(await work(store, run, range(start, start + BATCH), WIDTH))
    first = costs[sizes[0]]
    return [
        {
            "rollouts in the store": size,
            "µs per rollout": statistics.median(cost.wall for cost in costs[size]),
            "against the first": ratio(costs[size], first, lambda cost: cost.wall),
            "µs of processor": statistics.median(cost.cpu for cost in costs[size]),
            "against the first ": ratio(costs[size], first, lambda cost: cost.cpu),
        }
        for size in sizes
    ]


async def filled(path: Path, size: int) -> tuple[Path, str]:
    return path, await fill(path, size)


def ratio(costs: list[Cost], first: list[Cost], of: Callable[[Cost], float]) -> float:
    """Median over the turns of one measurement against that of the smallest store in the same turn."""
    return statistics.median(of(mine) / of(base) for mine, base in zip(costs, first, strict=True))


async def speed(folder: Path) -> list[dict[str, Any]]:
    """Rollouts and bare journal entries per second at several widths."""
    rows = []
    with open_store(folder / "speed.db") as store:
        run = await store.start_run({}, "digest", {}, 0)
        numbers = blocks(BATCH)
        for width in (1, WIDTH, 500):
            costs = [await work(store, run, next(numbers), width) for _ in range(REPEATS)]
            replies = [await record(store, next(numbers), width) for _ in range(REPEATS)]
            rows.append(
                {
                    "at once": width,
                    "rollouts per second": 1e6 / statistics.median(cost.wall for cost in costs),
                    "µs of processor each": statistics.median(cost.cpu for cost in costs),
                    "replies per second": 1e6 / statistics.median(replies),
                }
            )
    return rows


def blocks(size: int) -> Iterator[range]:
    start = 0
    while True:
        yield range(start, start + size)
        start += size


async def record(store: Store, numbers: range, width: int) -> float:
    """Microseconds for each durable reply."""
    waiting = iter(numbers)

    async def worker() -> None:
        for number in waiting:
            request = {"model": "openai/m", "messages": [["user", f"{number}: {MESSAGE}"]]}
            await store.journal.record(call_key(request), "openai/m", request, REPLY)

    began = time.perf_counter()
    await asyncio.gather(*(worker() for _ in range(width)))
    return (time.perf_counter() - began) / len(numbers) * 1e6


def commands(folder: Path, size: int) -> list[dict[str, Any]]:
    """Commands that look, each as a process of its own, on a store of this size."""
    path = folder / "looked-at.db"
    asyncio.run(fill(path, size))
    rows = []
    for command in COMMANDS:
        took = [look(path, command) for _ in range(REPEATS)]
        wall, cpu = (statistics.median(one[i] for one in took) for i in (0, 1))
        rows.append({"command": f"promptlearn {command}", "rollouts": size, "seconds": wall, "of processor": cpu})
    return rows


def look(path: Path, command: str) -> tuple[float, float]:
    """Seconds, and seconds of processor, of one command."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    line = [sys.executable, "-m", "promptlearn", *command.split(), "--store", str(path)]
    subprocess.run(line, check=True, capture_output=True)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def memory(folder: Path, size: int) -> list[dict[str, Any]]:
    """What a process takes that writes so many rollouts, and what one costs that is kept in memory."""
    line = [sys.executable, __file__, "--fill", str(folder / "memory.db"), "--rollouts", str(size)]
    peak = json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    kept = [made(number) for number in range(10_000)]
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return [
        {"what": f"peak of a process that writes {size:,} rollouts", "MB": peak / 1e6},
        {"what": "its store on the disk", "MB": (folder / "memory.db").stat().st_size / 1e6},
        {"what": "1,000 rollouts with one verdict each, kept in memory", "MB": (after - before) / len(kept) / 1e3},
    ]


def peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def filesystem(folder: Path) -> str:
    """The kind of file system below a folder, where the system tells."""
    mounts = Path("/proc/mounts")
    if not mounts.exists():
        return "unknown file system"
    points = [line.split()[1:3] for line in mounts.read_text(encoding="utf-8").splitlines()]
    above = [(point, kind) for point, kind in points if folder.is_relative_to(point)]
    return max(above, key=lambda one: len(one[0]))[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=100_000, help="size of the largest store")
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"), help="on a real disk")
    parser.add_argument("--fill", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    if given.fill is not None:
        asyncio.run(fill(given.fill, given.rollouts))
        print(peak_bytes())
        return
    found = conditions()
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        folder = Path(name)
        disk = filesystem(folder.resolve())
        if disk == "tmpfs":
            print(f"{given.folder} is in memory, where a sync costs nothing; give --folder", file=sys.stderr)
        sizes = [given.rollouts // 100, given.rollouts // 10, given.rollouts]
        title = f"Cost per rollout while the store grows, {WIDTH} at once, on {disk}"
        show(title, asyncio.run(growth(folder, sizes)), found, given.json)
        show(f"Durable writes on {disk}", asyncio.run(speed(folder)), found, given.json)
        show("Commands that look", commands(folder, given.rollouts), found, given.json)
        show("Memory", memory(folder, given.rollouts), found, given.json)


if __name__ == "__main__":
    main()
