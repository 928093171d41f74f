"""Training as a process of its own, to be killed: `python tune_child.py FOLDER toy|tiny|ranked`; prints its result."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from colours import colour_job, colour_tuning, ranker
from toy_policy import toy_backend

from promptlearn.store import open_store
from promptlearn.tuning.base import Backend
from promptlearn.tuning.run import train

STEPS = 12


def backend_of(kind: str) -> Backend:
    if kind != "tiny":
        return toy_backend(lambda: 0.01)  # slow enough to be caught between two steps by who polls the store
    from tiny_torch import tiny_backend

    return tiny_backend()


async def main(folder: Path, kind: str) -> None:
    rate, ranking = 0.01 if kind == "tiny" else 3.0, kind == "ranked"
    settings = colour_tuning(steps=STEPS, max_staleness=1, checkpoint_every=2, learning_rate=rate, ranking=ranking)
    with open_store(folder / "store.db") as store:
        job = colour_job(store, judge=ranker(latency=0.02) if ranking else None)
        result = await train(job, settings, backend_of(kind))
    print(json.dumps(result.to_json()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
