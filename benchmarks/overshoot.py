"""Whether 64 calls at once ever spend more than a cap allows: 1,000 random runs.

    python benchmarks/overshoot.py

Every tenth run is a whole search (`aoptimize`, store on the disk), the others drive MeteredModel and Ledger alone, as
fast as they go. Caps are on calls or on dollars and end a run in its midst. Latencies, token counts, prices, failures
and stragglers (so that second copies are sent) are drawn from the run's number. What was spent is counted by the
endpoint, not by the ledger: it bills every call that it does not turn away when that comes in, also those that time
out, come back empty or are given up by their caller.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

import tickets
from figures import conditions, show

from promptlearn import aoptimize
from promptlearn.dataset import load_dataset
from promptlearn.errors import BudgetSpent, ModelError, PromptlearnError
from promptlearn.ledger import Budget, Ledger
from promptlearn.metered import MESSAGE_OVERHEAD, MeteredModel
from promptlearn.models.base import Price, Reply, Sampling
from promptlearn.models.retries import RetryPolicy
from promptlearn.records import Json, Message, Usage
from promptlearn.store import open_store
from promptlearn.tokens import token_bound

SLOTS = 64
SEARCH_EVERY = 10
TURNED_AWAY, BILLED = ("server", "connection"), ("timeout", "malformed", "empty")
QUICK = RetryPolicy(first=0.001, longest=0.01)

Unit = Literal["calls", "usd"]


class Bill:
    """What an endpoint asks for, over all of its models."""

    def __init__(self) -> None:
        self.calls = 0
        self.usd = 0.0


class Endpoint:
    """A model with a will of its own; see the module's text."""

    def __init__(self, name: str, bill: Bill, rng: Random, trouble: float, pace: float) -> None:
        self.name = name
        self.identity = f"{name}/{rng.random()}"
        self.sampling = Sampling(max_tokens=rng.choice((16, 64, 512)))
        self.price = Price(rng.uniform(0.1, 20), rng.uniform(0.1, 80))
        self._bill = bill
        self._rng = rng
        self._trouble = trouble
        self._pace = pace

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        rng, sampling = self._rng, sampling or self.sampling
        failure = rng.choice(TURNED_AWAY + BILLED) if rng.random() < self._trouble else None
        most = sum(token_bound(message.content) + MESSAGE_OVERHEAD for message in messages)
        usage = Usage(1, 0, rng.randint(1, most), rng.randint(1, sampling.max_tokens))
        if failure not in TURNED_AWAY:
            self._bill.calls += 1
            self._bill.usd += self.price.cost(usage.input_tokens, usage.output_tokens)
        slow = 20 if rng.random() < 0.03 else 1
        await asyncio.sleep(slow * self._pace * rng.lognormvariate(0, 1))
        if failure is not None:
            raise ModelError(failure, f"{failure} by chance")
        body = {"messages": [{"content": one.content} for one in messages]}
        role = tickets.META_MODEL if self.name == "meta" else tickets.TASK_MODEL
        return Reply(tickets.reply({"model": role, **body}), usage=usage)

    async def close(self) -> None:
        """Nothing to give back."""


@dataclass(frozen=True, slots=True)
class Run:
    kind: Literal["meter", "search"]
    unit: Unit
    cap: float
    spent: float
    ended: str

    @property
    def share(self) -> float:
        return self.spent / self.cap


async def meter(number: int, store_folder: Path) -> Run:
    """64 workers that ask until the budget is spent; every reply goes through a journal on the disk."""
    rng, bill, unit = Random(number), Bill(), _unit(number)
    endpoint = Endpoint("task", bill, rng, rng.uniform(0, 0.3), 0.0005)
    cap: float = rng.randint(1, 400)
    if unit == "usd":
        most = endpoint.price.cost(2 * token_bound(tickets.SEED) + 2 * MESSAGE_OVERHEAD, endpoint.sampling.max_tokens)
        cap *= most * rng.uniform(0.3, 1)
    ledger = Ledger(_budget(unit, cap))
    with open_store(store_folder / f"meter-{number}.db") as store:
        slots = asyncio.Semaphore(SLOTS)
        model = MeteredModel(endpoint, "task", store.journal, ledger, slots, QUICK, may_hedge=lambda: True)

        async def work(worker: int) -> str:
            for question in range(10_000):
                chat = [Message("system", tickets.SEED), Message("user", f"{worker}/{question}: my sofa is late.")]
                try:
                    await model.complete(chat)
                except BudgetSpent:
                    return "budget"
                except ModelError:
                    continue
            return "no budget met"

        ended = Counter(await asyncio.gather(*(work(worker) for worker in range(SLOTS))))
    return Run("meter", unit, cap, getattr(bill, unit), ", ".join(ended))


async def search(number: int, store_folder: Path) -> Run:
    """A search on a small task, with a cap over task and meta calls together."""
    rng, bill, unit = Random(number), Bill(), _unit(number)
    data = load_dataset(
        tickets.rows(40, 30, 8, seed=number), inputs=["message"], expected="tag", split={"column": "split"}
    )
    trouble = rng.uniform(0, 0.05)
    task, meta = (Endpoint(name, bill, rng, trouble, 0.0005) for name in ("task", "meta"))
    cap: float = rng.randint(40, 400)
    if unit == "usd":
        cap *= task.price.cost(600, task.sampling.max_tokens)
    try:
        found = await aoptimize(
            tickets.SEED,
            data,
            task=task,
            meta=meta,
            budget=_budget(unit, cap),
            store=store_folder / f"search-{number}.db",
            concurrency=SLOTS,
            rounds=50,
            patience=50,
            seed=number,
            max_error_share=0.9,
        )
        ended = found.stop_reason
    except PromptlearnError as error:
        ended = type(error).__name__
    return Run("search", unit, cap, getattr(bill, unit), ended)


def _unit(number: int) -> Unit:
    return "usd" if number // SEARCH_EVERY % 2 else "calls"


def _budget(unit: Unit, cap: float) -> Budget:
    return Budget(calls=int(cap)) if unit == "calls" else Budget(usd=cap)


def rows(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """One row for each kind of run and cap."""
    groups: dict[tuple[str, Unit], list[Run]] = {}
    for run in runs:
        groups.setdefault((run.kind, run.unit), []).append(run)
    return [
        {
            "runs": len(group),
            "of": "MeteredModel and Ledger" if kind == "meter" else "whole searches",
            "cap on": "dollars" if unit == "usd" else unit,
            "overshoots": sum(run.spent > run.cap for run in group),
            "most spent / cap": max(run.share for run in group),
            "median spent / cap": statistics.median(run.share for run in group),
            "ended by": ", ".join(f"{why} {count}" for why, count in Counter(run.ended for run in group).most_common()),
        }
        for (kind, unit), group in sorted(groups.items())
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="number of the first run, which is its seed")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found, runs = conditions(), []
    for number in range(options.first, options.first + options.runs):
        with tempfile.TemporaryDirectory() as folder:
            kind = search if number % SEARCH_EVERY == 0 else meter
            runs.append(asyncio.run(kind(number, Path(folder))))
        if runs[-1].spent > runs[-1].cap:
            print(f"run {number} overshot: {runs[-1]}", file=sys.stderr)
    show(f"Overshoot of a cap at {SLOTS} slots, {options.runs:,} random runs", rows(runs), found, options.json)
    return int(any(run.spent > run.cap for run in runs))


if __name__ == "__main__":
    sys.exit(main())
