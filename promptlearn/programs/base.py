"""The Program protocol: what runs a prompt on an example.

    class Shout:
        name = "shout"

        async def run(self, prompt, example):
            return Rollout(prompt=prompt.digest, example=example.id, output=example.inputs["message"].upper())

A program returns a rollout with an `error` for an example that failed. It raises only what stops the whole run:
`SystemicError` and `BudgetSpent`.
"""

from typing import Protocol, runtime_checkable

from promptlearn.models.base import Model
from promptlearn.records import Example, Prompt, Rollout


@runtime_checkable
class Program(Protocol):
    @property
    def name(self) -> str: ...

    async def run(self, prompt: Prompt, example: Example) -> Rollout: ...


class ProgramSource(Protocol):
    """Makes a run's program, once its task model has its meters on. `programs.command.Command` is one."""

    @property
    def identity(self) -> str:
        """What makes two runs' programs the same."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a careful person would want to know before the run."""

    @property
    def takes_demonstrations(self) -> bool:
        """Whether examples that stand in the prompt show it what it is asked."""

    def open(self, model: Model) -> Program:
        """The program that asks `model`."""
