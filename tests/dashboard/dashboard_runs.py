"""Runs of every kind in one store: made once, with the scripted model, by the library itself."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

import synthetic

import promptlearn
from promptlearn.records import Candidate, Prompt
from promptlearn.store import open_store


@dataclass(frozen=True, slots=True)
class Runs:
    store: Path
    improved: str
    not_proven: str
    failed: str
    running: str


async def make_runs(store: Path) -> Runs:
    """Two runs that learn, one that failed and one that works (or was killed: nobody holds its lock)."""
    improved = await _learn(store, reviews=synthetic.house_rules(), seed=0)
    not_proven = await _learn(store, reviews=(), seed=1)
    with open_store(store) as opened:
        failed = await opened.start_run({}, "failed", {}, seed=2)
        await opened.finish_run(failed, "failed", "the endpoint refuses everybody: wrong key")
        running = await opened.start_run({"budget": {"task_calls": 100}}, "running", {}, seed=3)
        await opened.add_event(running, "started", {"rows": {"train": 5}, "resumed": False, "warnings": []})
        await opened.add_candidate(running, Candidate(Prompt.of(synthetic.SEED), (), "baseline"), 0)
    return Runs(store, improved, not_proven, failed, running)


async def _learn(store: Path, reviews: tuple[promptlearn.Review, ...], seed: int) -> str:
    result = await promptlearn.aoptimize(
        synthetic.SEED,
        synthetic.rows(80),
        inputs=["message"],
        expected="tag",
        task=synthetic.task_model(),
        judges=["label_set"],
        reviews=reviews,
        proposers=["rules"],
        budget=promptlearn.Budget(task_calls=400),
        store=str(store),
        seed=seed,
        rounds=1,
    )
    return result.run_id


def made(folder: Path) -> Runs:
    return asyncio.run(make_runs(folder / ".promptlearn/store.db"))
