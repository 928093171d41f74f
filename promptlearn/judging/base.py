"""The Judge protocol: one rollout in, one verdict in words out.

    class Polite:
        name = "polite"

        async def judge(self, example, rollout):
            rude = "whatever" in rollout.output
            return Verdict(
                name=self.name, rollout=rollout.id, score=0.0 if rude else 1.0, passed=not rude,
                explanation="says 'whatever' to a customer" if rude else "no rude word found",
                suggestion="Stay courteous, also with angry customers." if rude else None,
            )

Pass such an object in `judges=[…]`, or name a Python callable in the configuration (`use: my_module:function`). A
judge that can not come to a verdict returns one with `score=None` and an `error`; it never returns a zero instead.
"""

from typing import Protocol, runtime_checkable

from promptlearn.records import Example, Rollout, Verdict


@runtime_checkable
class Judge(Protocol):
    @property
    def name(self) -> str:
        """What reports call it; unique among the judges of a run."""

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        """The verdict on a rollout that has an output (failed rollouts are not judged)."""


@runtime_checkable
class Stochastic(Protocol):
    """A judge that may say something else when it is asked again. Optional; goes with `Judge`."""

    async def judge_again(self, example: Example, rollout: Rollout, repeat: int) -> Verdict:
        """The verdict of the `repeat`-th time; 0 is the first, which `judge` gives."""


@runtime_checkable
class Questioner(Protocol):
    """A judge that may be asked the same about two rollouts, and then gives them one verdict. Optional."""

    def question(self, example: Example, rollout: Rollout) -> str:
        """Names what it is asked about this rollout."""
