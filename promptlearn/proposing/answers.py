"""The set of answers of a task whose answers are labels.

Knows expected values only; knows nothing about prompts or judges.
"""

from __future__ import annotations

from collections.abc import Iterable

from promptlearn.labels import as_labels
from promptlearn.records import Example


def answer_set(examples: Iterable[Example]) -> tuple[str, ...]:
    """The distinct expected answers, the most frequent first; empty where the task's answers are not labels."""
    return as_labels(example.expected for example in examples)
