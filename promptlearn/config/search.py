"""`search`: how to look for a better prompt."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from promptlearn.config.section import Section

ProposerName = Literal["rewrite", "edit", "rules", "demos", "prune", "merge"]
OptimizerName = Literal["promptlearn", "dspy:gepa", "dspy:miprov2"]


def usual_proposers(has_meta: bool, shorter: bool = False) -> tuple[ProposerName, ...]:
    """Those that propose where nobody names any; `shorter` where a shorter prompt is what leads: demonstrations make it
    longer, so that leaving parts out takes their place.
    """
    usual: tuple[ProposerName, ...] = ("rewrite", "edit") if has_meta else ()
    return (*usual, "rules", "prune" if shorter else "demos", "merge")


class SearchConfig(Section):
    optimizer: OptimizerName = "promptlearn"
    """`dspy:gepa` and `dspy:miprov2` search instead, on the same rows, judges and budget, and are proven the same way;
    of the keys below, `seed`, `concurrency` and `max_error_share` mean something to them."""
    proposers: tuple[ProposerName, ...] | None = Field(None, min_length=1)
    """By default all that can work: `rules`, `demos` and `merge`, with `models.meta` also `rewrite` and `edit`. `prune`
    proposes only where it is named, or in the place of `demos` where `cost` or `tokens` leads the `objectives`."""
    concurrency: int = Field(16, ge=1, le=1024)
    """Calls at the same time, over all roles; slots of a local model."""
    seed: int = 0
    """The only source of chance."""
    rounds: int = Field(8, ge=0)
    """Rounds of proposing at most."""
    patience: int = Field(3, ge=1)
    """Stop after so many rounds in a row without an accepted candidate."""
    drafts: int = Field(4, ge=1, le=64)
    """Candidates proposed per round."""
    pipeline_depth: int = Field(2, ge=1, le=64)
    """Rounds in flight at the same time; a round sees the search as it was so many commits before it. 1 is one after
    the other."""
    spare: float = Field(0.1, ge=0, lt=1)
    """Part of every cap that the search leaves for speed: for rows that run ahead of a decision which makes them
    superfluous, second copies of slow calls, and failed attempts. More of it keeps more slots busy."""
    minibatch: int = Field(8, ge=1)
    """Train rows that a round learns from at first, and gates its candidates on."""
    critique: int = Field(64, ge=1)
    """Train rows that a round learns from at most. It looks at more than a minibatch while they go on to show new kinds
    of mistakes, and takes no more than a twelfth of the calls that the budget allows."""
    alpha: float = Field(0.05, gt=0, lt=1)
    """Level at which a candidate that is no better is accepted, however often the race looks."""
    guard: bool = True
    """Keep the prompt in charge where a winner loses what approved reviews have taught it."""
    prune: bool = True
    """At the end, leave out each rule and demonstration in turn and keep what is worth its tokens. Where the budget
    ends the search, pruning takes what is left above the reserve for the test split, and the run says how much
    was not measured.
    """
    max_error_share: float = Field(0.2, ge=0, le=1)
    """The run stops when more than this share of its examples fail."""
    feedback_tokens: int = Field(2000, gt=0)
    """Upper bound of the critique that one request of a proposer shows; of the approved reviews as much again."""
