"""Examples by versions: what each prompt scored on each example, a page at a time, and one example with all its words.

Paged and filtered by the database, so that 100,000 rollouts stay fluid.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Example, Rollout, Split, Verdict, as_text
from promptlearn.report.names import find_run, locate
from promptlearn.store.request_rows import Change
from promptlearn.store.rows import HUMAN

if TYPE_CHECKING:
    from promptlearn.store import Store

PAGE = 50
"""Examples to a page."""
PREVIEW = 160
"""Characters of an example's inputs in a line."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One version on one example."""

    score: float | None
    """None: not judged."""
    failed: bool
    """The run gave no output."""


@dataclass(frozen=True, slots=True)
class MatrixRow:
    example: str
    """Id."""
    split: Split
    preview: str
    """The inputs in one line, cut."""
    expected: str
    change: Change
    """From the first version of the matrix to the last."""
    cells: tuple[Cell | None, ...]
    """One per version; None: not run."""


@dataclass(frozen=True, slots=True)
class Matrix:
    """A page of examples. `counts` are those of all examples, whatever the page and the filters."""

    run: str
    digests: tuple[str, ...]
    """Of the versions, in the order in which they were asked for."""
    rows: tuple[MatrixRow, ...]
    counts: Mapping[Change, int]
    offset: int
    has_more: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """What another version did on the example."""

    number: int
    digest: str
    cell: Cell


@dataclass(frozen=True, slots=True)
class ExampleDetail:
    """One example under one version, with everything that was said about it."""

    run: str
    digest: str
    example: Example
    """Without inputs where the run did not keep its examples."""
    split: Split | None
    rollout: Rollout | None
    """None: this version was not run on it. Its turns and tool calls stand in it."""
    score: float | None
    """What the judges together gave it; None: not judged."""
    verdicts: tuple[Verdict, ...]
    """Each judge's words, by name."""
    labels: tuple[Verdict, ...]
    """What people said; beside the verdicts, never in their place. `source` says who and when."""
    history: tuple[Attempt, ...]
    """Every version that was run on it, by number."""


def matrix(
    store: Store,
    run: str,
    versions: Sequence[str | int] = ("baseline", "best"),
    split: Split | None = "validation",
    change: Change | None = None,
    contains: str = "",
    offset: int = 0,
    limit: int = PAGE,
) -> Matrix:
    """A page of examples in the order of their ids.

    `change` keeps those that changed so between the first and the last version; `contains` those whose text says so
    (any case of ASCII letters). Raises `UsageError` naming versions.
    """
    if not versions:
        raise UsageError("name at least one version, such as baseline")
    row = find_run(store, run)
    digests = tuple(locate(store, row.id, version).digest for version in versions)
    first, last = digests[0], digests[-1]
    page = store.views.changed(row.id, first, last, split, change, contains, offset, limit + 1)
    ids = [example for example, _ in page[:limit]]
    kept = store.views.examples(row.id, ids)
    cells = {
        (cell.prompt, cell.example): Cell(cell.score, cell.failed)
        for cell in store.views.cells(row.id, list(dict.fromkeys(digests)), ids)
    }
    rows = tuple(
        MatrixRow(
            example=example,
            split=kept[example].split,
            preview=preview(kept[example].example),
            expected="" if kept[example].example.expected is None else as_text(kept[example].example.expected),
            change=what,
            cells=tuple(cells.get((digest, example)) for digest in digests),
        )
        for example, what in page[:limit]
    )
    return Matrix(row.id, digests, rows, store.views.changes(row.id, first, last, split), offset, len(page) > limit)


def example_detail(store: Store, run: str, example: str, version: str | int = "best") -> ExampleDetail:
    """One example with turns, tool calls, verdicts, labels and history. Raises `UsageError` for an unknown one."""
    found = locate(store, run, version)
    kept = store.views.examples(found.run, [example]).get(example)
    at = store.views.rollout(found.run, found.digest, example)
    numbers = {digest: number for number, digest in store.reader.candidate_digests(found.run).items()}
    cells = store.views.cells(found.run, list(numbers), [example])
    if kept is None and at is None and not cells:
        raise UsageError(f"run {found.run} has no example {example!r}; `promptlearn show --examples` lists them")
    said = store.views.verdicts(found.run, [at.rollout.id])[at.rollout.id] if at else []
    history = [Attempt(numbers[one.prompt], one.prompt, Cell(one.score, one.failed)) for one in cells]
    return ExampleDetail(
        run=found.run,
        digest=found.digest,
        example=kept.example if kept else Example(example, {}),
        split=kept.split if kept else at.split if at else None,
        rollout=at.rollout if at else None,
        score=next((one.score for one in cells if one.prompt == found.digest), None),
        verdicts=tuple(verdict for verdict in said if not verdict.name.startswith(HUMAN)),
        labels=tuple(verdict for verdict in said if verdict.name.startswith(HUMAN)),
        history=tuple(sorted(history, key=lambda attempt: attempt.number)),
    )


def preview(example: Example, length: int = PREVIEW) -> str:
    """The inputs of an example in one line."""
    line = " ".join(" / ".join(as_text(value) for value in example.inputs.values()).split())
    return line if len(line) <= length else line[: length - 1] + "…"
