"""Which mistakes a rule was written for, told by the words that they share.

Knows failure modes and texts; asks no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from promptlearn.proposing.wording import normalised
from promptlearn.records import FailureMode

_CLEAR = 0.5
"""Share of the telling words of a rule that a mode must have, to be named without the others."""


def origin(rule: str, modes: Sequence[FailureMode]) -> tuple[str, ...]:
    """Ids of the examples behind a rule: those of the modes that share most of its telling words, or else of all.

    Telling are the words that stand in some of the modes only, so that the words of the task itself prove nothing.
    """
    said = [set(normalised(" ".join((m.title, m.expected, *m.suggestions, *m.evidence))).split()) for m in modes]
    seen = Counter(word for words in said for word in words)
    telling = {word for word in normalised(rule).split() if 0 < seen[word] < len(modes)}
    shared = [len(telling & words) for words in said]
    most = max(shared, default=0)
    clear = most and most >= _CLEAR * len(telling)
    named = [mode for mode, count in zip(modes, shared, strict=True) if count == most] if clear else modes
    return tuple(dict.fromkeys(id_ for mode in named for id_ in mode.examples))
