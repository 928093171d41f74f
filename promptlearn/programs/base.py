"""The Program protocol: what runs a prompt on an example.

    class Shout:
        name = "shout"

        async def run(self, prompt, example):
            return Rollout(prompt=prompt.digest, example=example.id, output=example.inputs["message"].upper())

A program returns a rollout with an `error` for an example that failed. It raises only what stops the whole run:
`SystemicError` and `BudgetSpent`.
"""

from typing import Protocol, runtime_checkable

from promptlearn.records import Example, Prompt, Rollout


@runtime_checkable
class Program(Protocol):
    @property
    def name(self) -> str: ...

    async def run(self, prompt: Prompt, example: Example) -> Rollout: ...
