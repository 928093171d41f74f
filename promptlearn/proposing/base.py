"""The Proposer protocol: what went wrong in, drafts of a better prompt out.

Knows nothing about scores of whole splits, races or budgets. A proposer sees a `Brief` and returns drafts; the
optimizer checks their contract and asks once for a repair.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from promptlearn.records import Draft, Example, FailureMode, Prompt, Review
from promptlearn.train_text import TrainText


@dataclass(frozen=True, slots=True)
class Partner:
    """Another prompt of the pool, which is right where the parent is wrong."""

    prompt: Prompt
    base: Prompt
    """The nearest prompt that both were made from."""
    better: int
    """Train and validation rows on which it scores higher than the parent; on `worse` of them lower."""
    worse: int
    rows: int
    """That both have run."""


@dataclass(frozen=True, slots=True)
class Brief:
    """All that a proposer may know. Everything in it comes from the train split or from approved reviews."""

    parent: Prompt
    modes: tuple[FailureMode, ...]
    """The parent's failure modes on a train batch, the most frequent first."""
    groups: tuple[tuple[FailureMode, ...], ...] = ()
    """The same modes in groups of which each fits one request; empty where all of them fit one."""
    kept: tuple[Example, ...] = ()
    """Examples of the minibatch that the parent gets right, and that must not break."""
    train: Sequence[Example] = field(default_factory=tuple)
    """The train split, from which demonstrations may be taken."""
    train_text: TrainText | None = None
    """Knows what a text copies of it; None where nobody has made the index yet."""
    failed: frozenset[str] = frozenset()
    """Ids of train examples that the parent is known to fail."""
    reviews: tuple[Review, ...] = ()
    """Approved reviews only, those with most support first."""
    feedback_tokens: int = 2000
    """Upper bound of the critique, and of the reviews, that one request shows."""
    partners: tuple[Partner, ...] = ()
    """Prompts to join with the parent, the one that adds most first."""
    wish: str = ""
    """What counts more than fewer mistakes, in words of ours; empty where quality leads."""
    seed: int = 0
    """Differs for every proposal of a run; the only source of chance."""


@runtime_checkable
class Proposer(Protocol):
    @property
    def name(self) -> str: ...

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        """At most `count` distinct drafts that differ from the parent; none where it has nothing to say. Of the same
        brief the first drafts are the same, however many are asked for.

        Raises `ModelError` where its model failed.
        """

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        """A draft that mends these contract violations, and what mending cost, or None where the proposer can not."""
