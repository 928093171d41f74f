"""A judge model for tests: one reply, whatever it is asked."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from promptlearn.models.base import Price, Reply, Sampling
from promptlearn.records import Json, Message, Usage


class JudgeModel:
    """Answers every call with one reply, and remembers what it was asked."""

    name = "test/judge"
    identity = "test/judge/1"
    sampling = Sampling()
    price: Price | None = None

    def __init__(self, reply: Mapping[str, Any] | str | Exception) -> None:
        self.reply = reply
        self.asked: list[tuple[Message, ...]] = []
        self.schema: Mapping[str, Json] | None = None

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        self.asked.append(tuple(messages))
        self.schema = schema
        if isinstance(self.reply, Exception):
            raise self.reply
        text = self.reply if isinstance(self.reply, str) else json.dumps(self.reply)
        return Reply(text, usage=Usage(calls=1, input_tokens=7))

    async def close(self) -> None:
        pass
