"""The set of answers of a task whose answers are labels: few, and each one seen again and again.

Knows expected values only; knows nothing about prompts or judges.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from promptlearn.records import Example

MAX_ANSWERS = 50
MIN_ROWS_PER_ANSWER = 2.0


def answer_set(examples: Iterable[Example]) -> tuple[str, ...]:
    """The distinct expected answers, the most frequent first; empty where the task's answers are not labels.

    Labels are strings: at least two and at most 50 distinct ones, with at least two rows each on average.
    """
    expected = [example.expected for example in examples if example.expected is not None]
    if not all(isinstance(answer, str) for answer in expected):
        return ()
    counts = Counter(expected)
    if not 2 <= len(counts) <= MAX_ANSWERS or len(expected) < MIN_ROWS_PER_ANSWER * len(counts):
        return ()
    return tuple(sorted(counts, key=lambda answer: (-counts[answer], answer)))
