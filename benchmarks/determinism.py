"""Whether concurrency and latency ever change a decision: searches at 1, 8 and 64 slots under three latency seeds.

    python benchmarks/determinism.py

Two budgets: one that ends a search in its midst, and one that does not. Everything that a search decided is compared as
the store has it: candidates in their order, every decision with its reason and figures, and the result.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import tickets
from figures import conditions, show
from latency_server import Latency, served, serving

from promptlearn import aoptimize
from promptlearn.dataset import load_dataset
from promptlearn.ledger import Budget
from promptlearn.models.openai import ChatModel
from promptlearn.records import Json, fingerprint
from promptlearn.store import open_store

WIDTHS, SEEDS = (1, 8, 64), (1, 2, 3)
ENOUGH, SHORT = 5000, 400
"""Task calls: more than six rounds take, and fewer."""


def decide(url: str, width: int, calls: int) -> Json:
    """Everything that one search decided."""
    data = load_dataset(tickets.rows(80, 60, 20), inputs=["message"], expected="tag", split={"column": "split"})
    # The identity is a model's name and address; the address is another one for each latency seed.
    task, meta = (ChatModel(name, url, identity=name) for name in (tickets.TASK_MODEL, tickets.META_MODEL))
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder) / "store.db"
        found = asyncio.run(
            aoptimize(
                tickets.SEED,
                data,
                task=task,
                meta=meta,
                budget=Budget(task_calls=calls),
                store=store,
                concurrency=width,
                rounds=6,
                patience=6,
            )
        )
        with open_store(store) as kept:
            proposed = [[one.number, one.candidate.digest] for one in kept.reader.candidates(found.run_id)]
            decisions = [asdict(decision) for decision in kept.reader.decisions(found.run_id)]
    result = found.to_json()
    told = {key: result[key] for key in ("decision", "stop_reason", "baseline", "delta", "candidates")}
    return {"proposed": proposed, "decisions": decisions, "prompt": found.prompt.digest, **told}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scale", type=float, default=0.01, help="factor of all latencies")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found, rows, first = conditions(), [], dict[int, Json]()
    for calls in (ENOUGH, SHORT):
        for seed in SEEDS:
            for width in WIDTHS:
                with serving(Latency(seed=seed, scale=options.scale)) as url:
                    started = time.perf_counter()
                    decided = decide(url, width, calls)
                    row = _row(calls, seed, width, decided, served(url).task_calls, time.perf_counter() - started)
                expected = first.setdefault(calls, decided)
                rows.append({**row, "as the first": decided == expected})
    title = "Decisions at 1, 8 and 64 slots under three latency seeds"
    show(title, rows, found, options.json)
    return int(not all(row["as the first"] for row in rows))


def _row(calls: int, seed: int, width: int, decided: Json, paid: int, seconds: float) -> dict[str, Any]:
    return {
        "budget": f"{calls} task calls",
        "latency seed": seed,
        "slots": width,
        "stopped by": decided["stop_reason"],
        "candidates": len(decided["proposed"]),
        "decisions": len(decided["decisions"]),
        "digest of all decisions": fingerprint(decided, length=12),
        "task calls paid": paid,
        "wall s": seconds,
    }


if __name__ == "__main__":
    sys.exit(main())
