"""Looks at the examples before the first call: can these judges judge them at all?

Knows examples, nothing about rollouts or models. A judge that needs something of an example says so by having `check`.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

from promptlearn.errors import DataError
from promptlearn.records import Example


@runtime_checkable
class ChecksExamples(Protocol):
    """A judge that can tell beforehand which examples it can not judge. Optional; goes with `Judge`."""

    def check(self, examples: Sequence[Example]) -> None:
        """Raises `UsageError`, naming the examples, where there is one that this judge can not judge."""


def check_examples(judges: Iterable[object], examples: Sequence[Example]) -> None:
    """Let every judge that can look at the examples do so. Raises the first `UsageError`."""
    for judge in judges:
        if isinstance(judge, ChecksExamples):
            judge.check(examples)


def need_expected(name: str, examples: Sequence[Example]) -> None:
    """Raises `DataError` where an example has no expected answer that the judge `name` could compare with."""
    missing = [example.id for example in examples if example.expected is None]
    if missing:
        raise DataError(
            f"judge {name}: {len(missing)} of {len(examples)} examples have no expected answer (first: {missing[0]}); "
            "name its column under data.expected, or fill the empty cells"
        )


def most_frequent(values: Iterable[str], limit: int = 5) -> str:
    """`'a' (3 examples), 'b' (1 example)`: what a message shows of many values."""
    counts = Counter(values).most_common()
    shown = [f"{value!r} ({count} example{'s' if count > 1 else ''})" for value, count in counts[:limit]]
    return ", ".join(shown) + (f" and {len(counts) - limit} more" if len(counts) > limit else "")
