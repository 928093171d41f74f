"""Training as a process of its own, to be killed: `python tune_child.py FOLDER toy|tiny`; prints the result as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from colours import colour_job, colour_tuning
from toy_policy import toy_backend

from promptlearn.store import open_store
from promptlearn.tuning.base import Backend
from promptlearn.tuning.run import train

STEPS = 12


def backend_of(kind: str) -> Backend:
    if kind == "toy":
        return toy_backend(lambda: 0.002)
    from tiny_torch import tiny_backend

    return tiny_backend()


async def main(folder: Path, kind: str) -> None:
    rate = 3.0 if kind == "toy" else 0.01
    settings = colour_tuning(steps=STEPS, max_staleness=1, checkpoint_every=2, learning_rate=rate)
    with open_store(folder / "store.db") as store:
        result = await train(colour_job(store), settings, backend_of(kind))
    print(json.dumps(result.to_json()))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
