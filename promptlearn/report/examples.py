"""Examples: what went in, what came out, and what was said about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from promptlearn.records import Failure, Json, Split, Usage, Verdict
from promptlearn.report.names import locate
from promptlearn.store.rows import HUMAN

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class ExampleReport:
    """One row of one prompt: what went in, what came out, and what was said about it."""

    id: str
    split: Split
    inputs: Mapping[str, Json]
    """Empty where the run did not keep its examples. `expected` is None then."""
    expected: Json
    output: str
    error: Failure | None
    verdicts: tuple[Verdict, ...]
    """By judge's name; each with its explanation (invariant 11). People's labels are not among them."""
    usage: Usage
    seconds: float
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """What a command left behind."""


def examples(
    store: Store, run: str, version: str | int = "best", split: Split | None = "validation"
) -> list[ExampleReport]:
    """The rows that a prompt was run on (`split=None`: of every split), with the words of their verdicts."""
    found = locate(store, run, version)
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in store.reader.verdicts(found.run, found.digest, split):
        if not verdict.name.startswith(HUMAN):
            verdicts[verdict.rollout].append(verdict)
    kept = {row.example.id: row.example for row in store.reader.examples(found.run, split)}
    rows = []
    for row in store.reader.rollouts(found.run, found.digest, split):
        rollout, example = row.rollout, kept.get(row.rollout.example)
        rows.append(
            ExampleReport(
                id=rollout.example,
                split=row.split,
                inputs=example.inputs if example else {},
                expected=example.expected if example else None,
                output=rollout.output,
                error=rollout.error,
                verdicts=tuple(verdicts[rollout.id]),
                usage=rollout.usage,
                seconds=rollout.seconds,
                evidence=rollout.evidence,
            )
        )
    return rows
