"""Who descends from whom: the prompts of a run as a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import Decision
from promptlearn.report.bands import Band, band
from promptlearn.report.names import baseline_of, best_of, find_run
from promptlearn.report.run import fate

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class Node:
    """One prompt."""

    number: int
    digest: str
    proposer: str
    rationale: str
    stage: str
    """Of the decision that counts; empty where none was taken. So is `outcome`."""
    outcome: str
    reason: str
    rules: int
    demonstrations: int
    generation: int
    """Steps from the baseline, by the longest way."""
    train: Band | None
    validation: Band | None
    is_baseline: bool
    is_best: bool


@dataclass(frozen=True, slots=True)
class Edge:
    """Numbers of a parent and its child."""

    parent: int
    child: int


@dataclass(frozen=True, slots=True)
class Family:
    run: str
    nodes: tuple[Node, ...]
    """By number."""
    edges: tuple[Edge, ...]


def family(store: Store, which: str = "latest") -> Family:
    """All prompts of a run with their parents. Raises `UsageError` naming runs."""
    row = find_run(store, which)
    rows = store.reader.candidates(row.id)
    decisions = store.reader.decisions(row.id)
    taken_of: dict[str, list[Decision]] = {}
    for decision in decisions:
        taken_of.setdefault(decision.candidate, []).append(decision)
    numbers = {one.candidate.digest: one.number for one in rows}
    baseline = baseline_of(row, {number: digest for digest, number in numbers.items()})
    best = best_of(row, decisions, baseline)
    bands = {(total.prompt, total.split): band(total) for total in store.views.totals(row.id)}
    generations: dict[str, int] = {}
    nodes, edges = [], []
    for one in rows:
        candidate, digest = one.candidate, one.candidate.digest
        parents = [parent for parent in candidate.parents if parent in numbers and parent != digest]
        generations[digest] = 1 + max((generations.get(parent, 0) for parent in parents), default=-1)
        edges += [Edge(numbers[parent], one.number) for parent in parents]
        taken = fate(candidate.proposer, taken_of.get(digest, ()))
        nodes.append(
            Node(
                number=one.number,
                digest=digest,
                proposer=candidate.proposer,
                rationale=candidate.rationale,
                stage=taken.stage if taken else "",
                outcome=taken.outcome if taken else "",
                reason=taken.reason if taken else "",
                rules=len(candidate.prompt.rules),
                demonstrations=len(candidate.prompt.demonstrations),
                generation=generations[digest],
                train=bands.get((digest, "train")),
                validation=bands.get((digest, "validation")),
                is_baseline=digest == baseline,
                is_best=digest == best,
            )
        )
    return Family(row.id, tuple(nodes), tuple(edges))
