"""SIGKILL at 50 random moments of one run, each followed by the same command again.

    python benchmarks/kills.py

A real `promptlearn run` in a process of its own, against the server with latency. At a random number of calls the
process is stopped (SIGSTOP), what is lost if it dies now is counted (calls that the server has received and the journal
does not hold), and it is killed. The last command ends as the uninterrupted run did, or the benchmark fails; so it does
if a kill loses more calls than there are slots, or if more questions are asked twice than were lost. (How many rows a
run tries ahead of its decisions depends on the clock, so two runs with the same result need not make as many calls.)
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from random import Random
from typing import Any

import tickets
import yaml
from figures import conditions, show
from latency_server import Latency, Served, reset, served, serving

SLOTS = 16
FINISHED = (0, 3, 4)
"""Exit codes: improved, not proven, budget spent."""
COMPARED = ("decision", "stop_reason", "baseline", "delta", "candidates", "test_reads")


def project(folder: Path, url: str, calls: int) -> Path:
    """A folder with everything that `promptlearn run` needs."""
    folder.mkdir()
    (folder / "prompt.md").write_text(tickets.SEED + "\n", encoding="utf-8")
    rows = map(json.dumps, tickets.rows(80, 60, 20))
    (folder / "tickets.jsonl").write_text("\n".join(rows), encoding="utf-8")
    config = {
        "prompt": "prompt.md",
        "data": {
            "file": "tickets.jsonl",
            "inputs": ["message"],
            "expected": "tag",
            "split": {"column": "split"},
        },
        "models": {
            "task": {"model": f"openai/{tickets.TASK_MODEL}", "base_url": url},
            "meta": {"model": f"openai/{tickets.META_MODEL}", "base_url": url},
        },
        "search": {"concurrency": SLOTS, "rounds": 6},
        "budget": {"task_calls": calls},
    }
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if name != "PROMPTLEARN_STORE"}
    command = [sys.executable, "-m", "promptlearn", "run", "--json", "--quiet"]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=subprocess.PIPE)


def finish(folder: Path) -> dict[str, Any]:
    process = start(folder)
    output, _ = process.communicate()
    if process.returncode not in FINISHED:
        raise SystemExit(f"`promptlearn run` ended with {process.returncode}: {output}")
    document: dict[str, Any] = json.loads(output)
    return document


def outcome(document: dict[str, Any]) -> dict[str, Any]:
    """What two runs that are the same have in common."""
    prompt = Path(document["best"]["path"]).read_text(encoding="utf-8")
    return {key: document[key] for key in COMPARED} | {"test": document["best"]["test"], "prompt": prompt}


def asked(seen: Served) -> int:
    """Calls that were received, without second copies of slow ones: what becomes of these depends on the clock."""
    return seen.task_calls + seen.meta_calls - seen.twins


def asked_twice(seen: Served) -> int:
    return asked(seen) - seen.distinct


def in_journal(folder: Path) -> int:
    """Replies that are durable, as another process sees them."""
    if not (folder / ".promptlearn" / "store.db").exists():
        return 0
    with closing(sqlite3.connect(folder / ".promptlearn" / "store.db")) as connection:
        return int(connection.execute("SELECT COUNT(*) FROM calls").fetchone()[0])


def kill_at(folder: Path, url: str, calls: int, pause: float, lost_before: int) -> int | None:
    """Kill the run a moment after this many calls have been received; None where it ended before.

    Gives the calls that this loses: received by the server and in no journal, because they were in flight or their
    replies not durable yet.
    """
    process = start(folder)
    while process.poll() is None and asked(served(url)) < calls:
        time.sleep(0.01)
    time.sleep(pause)
    if process.poll() is not None:
        process.communicate()
        return None
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.05)  # what it had sent arrives
    seen = served(url)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    return asked(seen) - lost_before - in_journal(folder)


def measure(url: str, folder: Path, count: int, budget: int, seed: int) -> dict[str, Any]:
    """The uninterrupted run, then the one that is killed."""
    whole = outcome(finish(project(folder / "whole", url, budget)))
    before = served(url)
    calls = asked(before)
    reset(url)
    killed, rng, losses = project(folder / "killed", url, budget), Random(seed), list[int]()
    for moment in sorted(rng.sample(range(int(0.9 * calls)), count)):
        # Calls that were lost come again, so moments move on; each process makes some calls, or just starts.
        at = max(moment + sum(losses), asked(served(url)) + rng.randint(0, SLOTS // 2))
        lost = kill_at(killed, url, at, rng.uniform(0, 0.1), sum(losses))
        if lost is None:
            break
        losses.append(lost)
    last, after = outcome(finish(killed)), served(url)
    return {
        "kills": len(losses),
        "same result": last == whole,
        "calls uninterrupted": calls,
        "calls with kills": asked(after),
        "of these asked twice": asked_twice(after) - asked_twice(before),
        "lost at the kills": sum(losses),
        "most lost at one kill": max(losses, default=0),
        "slots": SLOTS,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--budget", type=int, default=1200, help="task calls")
    parser.add_argument("--scale", type=float, default=0.05, help="factor of all latencies")
    parser.add_argument("--seed", type=int, default=0, help="of the moments and of the latencies")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = conditions()
    with serving(Latency(seed=options.seed, scale=options.scale)) as url, tempfile.TemporaryDirectory() as folder:
        row = measure(url, Path(folder), options.kills, options.budget, options.seed)
    show(f"SIGKILL at {options.kills} random moments, then the same command again", [row], found, options.json)
    return int(not sound([row], options.kills))


def sound(rows: Sequence[dict[str, Any]], kills: int) -> bool:
    return all(
        row["same result"]
        and row["kills"] == kills
        and row["of these asked twice"] <= row["lost at the kills"]
        and row["most lost at one kill"] <= row["slots"]
        for row in rows
    )


if __name__ == "__main__":
    sys.exit(main())
