"""How a prompt fails: named modes, counted and quoted, and which rule answered them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import Example, FailureMode, Split
from promptlearn.report.learned import Part, parts
from promptlearn.report.names import find_run, locate
from promptlearn.store.rows import HUMAN

if TYPE_CHECKING:
    from promptlearn.store import Store

MOST = 500
"""Failing rows that are looked at."""
TOKENS = 20_000
"""For all quotes and suggestions together."""


@dataclass(frozen=True, slots=True)
class ModeReport:
    """One way to fail, and what the learned prompt says to it."""

    mode: FailureMode
    """With `title`, the ids of its `examples`, and quotes as `evidence`."""
    answered_by: tuple[Part, ...]
    """Rules and demonstrations of the best prompt that came from these very examples."""
    fixed: int
    """Of its examples, how many the best prompt gets right."""
    rerun: int
    """Of its examples, how many the best prompt was run on and judged."""


@dataclass(frozen=True, slots=True)
class FailureReport:
    run: str
    digest: str
    failing: int
    """Rows that scored below 1 and were looked at, `MOST` at most."""
    modes: tuple[ModeReport, ...]


@dataclass(frozen=True, slots=True)
class Critique:
    """What a round found wrong with its parent, as it stood in the run's events."""

    round: int
    parent: str
    """Digest."""
    score: float | None
    titles: tuple[str, ...]
    """`title (rows)`."""
    at: str


def failure_modes(
    store: Store, run: str, version: str | int = "baseline", split: Split | None = "train"
) -> FailureReport:
    """What a version does wrong, by what its judges said. Raises `UsageError` naming versions."""
    from promptlearn import feedback

    found = locate(store, run, version)
    rollouts = store.views.rollouts(found.run, found.digest, split, failing=True, limit=MOST)
    said = store.views.verdicts(found.run, [row.rollout.id for row in rollouts])
    kept = store.views.examples(found.run, [row.rollout.example for row in rollouts])
    scores = store.views.scores(found.run, found.digest, split)
    rows = []
    for row in rollouts:
        id_ = row.rollout.example
        verdicts = tuple(verdict for verdict in said[row.rollout.id] if not verdict.name.startswith(HUMAN))
        example = kept[id_].example if id_ in kept else Example(id_, {})
        rows.append(feedback.JudgedRow(example, row.rollout, verdicts, scores.get(id_)))
    learned = parts(store, found.run, "best")
    best = locate(store, found.run, "best").digest
    modes = feedback.failure_modes(rows, TOKENS)
    return FailureReport(
        found.run, found.digest, len(rows), tuple(_report(store, found.run, mode, learned, best) for mode in modes)
    )


def critiques(store: Store, which: str = "latest") -> tuple[Critique, ...]:
    """What each round found, in order. Raises `UsageError` naming runs."""
    run = find_run(store, which).id
    return tuple(
        Critique(
            event.body.get("number", 0),
            event.body.get("parent", ""),
            event.body.get("score"),
            tuple(event.body.get("failure_modes", ())),
            event.at,
        )
        for event in store.views.events(run, kinds=("critique",))
    )


def _report(store: Store, run: str, mode: FailureMode, learned: Sequence[Part], best: str) -> ModeReport:
    of = set(mode.examples)
    answered = tuple(part for part in learned if any(one.example in of for one in part.origins))
    cells = store.views.cells(run, [best], mode.examples)
    judged = [cell.score for cell in cells if cell.score is not None]
    return ModeReport(mode, answered, sum(score >= 1 for score in judged), len(judged))
