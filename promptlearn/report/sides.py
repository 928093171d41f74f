"""Two texts side by side, line by line, for pages that lay them out themselves."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal

from promptlearn.report.prompts import as_document, prompt

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class SideLine:
    """One line of a comparison."""

    kind: Literal["same", "changed", "added", "removed"]
    old_number: int | None
    """Counted from 1; None: the line is not in the old text."""
    old: str
    new_number: int | None
    new: str


def side_by_side(store: Store, run: str, old: str | int = "baseline", new: str | int = "best") -> list[SideLine]:
    """Two versions of a run's prompt. Raises `UsageError` naming versions."""
    return sides(as_document(prompt(store, run, old)), as_document(prompt(store, run, new)))


def sides(old: str, new: str) -> list[SideLine]:
    """Every line of both texts once; lines that changed in place stand beside each other."""
    before, after = old.split("\n"), new.split("\n")
    if not before[-1] and not after[-1]:
        before, after = before[:-1], after[:-1]
    found: list[SideLine] = []
    matcher = difflib.SequenceMatcher(a=before, b=after, autojunk=False)
    for tag, i1, i2, j1, j2 in matcher.get_opcodes():
        for i, j in zip_longest(range(i1, i2), range(j1, j2)):
            kind: Literal["same", "changed", "added", "removed"] = (
                "same" if tag == "equal" else "added" if i is None else "removed" if j is None else "changed"
            )
            found.append(
                SideLine(
                    kind,
                    None if i is None else i + 1,
                    "" if i is None else before[i],
                    None if j is None else j + 1,
                    "" if j is None else after[j],
                )
            )
    return found
