"""A process that makes calls over a batch API and keeps the replies in a store; made to be killed.

    python batch_child.py URL STORE CALLS [DIE_AFTER]

Prints the replies as JSON. With DIE_AFTER it kills itself when so many replies are in the journal.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from promptlearn.models.batch import BatchModel, BatchOptions
from promptlearn.models.openai import ChatModel
from promptlearn.models.retries import RetryPolicy
from promptlearn.records import Message
from promptlearn.store import Store, call_key, open_store

FAST = BatchOptions(
    size=50,
    send_delay_s=0.02,
    poll_s=0.01,
    settle_s=0.2,
    waits=RetryPolicy(first=0.01, longest=0.05),
)


async def ask(store: Store, model: BatchModel, number: int, die_after: int | None) -> str:
    """What MeteredModel does around a model, as far as it matters here."""
    key = call_key([model.identity, number])
    known = store.journal.find(key)
    if known is None:
        reply = await model.complete([Message("user", f"call {number}")])
        known = {"text": reply.text}
        await store.journal.record(key, model.name, number, known)
        print(number, file=sys.stderr, flush=True)
        recorded.append(number)
        if len(recorded) == die_after:
            os.kill(os.getpid(), signal.SIGKILL)
    return str(known["text"])


recorded: list[int] = []


async def main(url: str, place: str, calls: int, die_after: int | None) -> list[str]:
    with open_store(Path(place)) as store:
        model = BatchModel(ChatModel("openai/small", url), FAST, log=store.batches)
        try:
            return await asyncio.gather(*(ask(store, model, number, die_after) for number in range(calls)))
        finally:
            await model.close()


if __name__ == "__main__":
    arguments = sys.argv[1:]
    limit = int(arguments[3]) if len(arguments) > 3 else None
    print(json.dumps(asyncio.run(main(arguments[0], arguments[1], int(arguments[2]), limit))))
