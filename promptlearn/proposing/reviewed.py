"""The train rows that reviewers' statements are about, for models that follow demonstrations better than rules.

Knows approved reviews and train examples. A comment on a row of the table names its row; of one that was made elsewhere
and names an answer, the rows of that answer are taken whose words are most like the reviewer's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from promptlearn.proposing.likeness import similarities
from promptlearn.proposing.wording import says
from promptlearn.records import Example, Review, as_text

_PER_REVIEW = 2
_QUOTED = re.compile(r"`([^`\n]+)`|\"([^\"\n]+)\"|“([^”\n]+)”")


def reviewed_rows(reviews: Sequence[Review], rows: Sequence[Example], labels: Sequence[str] = ()) -> list[Example]:
    """At most `_PER_REVIEW` rows for each approved review, the surest first, each row once."""
    found: dict[str, Example] = {}
    for review in reviews:
        if review.state == "approved":
            named = [row for row in rows if row.id in review.examples]
            for row in (named or _most_like(review, rows, labels))[:_PER_REVIEW]:
                found.setdefault(row.id, row)
    return list(found.values())


def _most_like(review: Review, rows: Sequence[Example], labels: Sequence[str]) -> list[Example]:
    """Rows of the answers that the review names, the most like its words first; none where it names no answer."""
    answers = _answers(review.body, labels)
    own = [row for row in rows if as_text(row.expected) in answers]
    if not own:
        return []
    texts = ["\n".join(as_text(value) for value in row.inputs.values()) for row in own]
    likeness = similarities([*texts, review.body])[-1, :-1]
    return [own[i] for i in sorted(range(len(own)), key=lambda i: (-float(likeness[i]), i))]


def _answers(body: str, labels: Sequence[str]) -> Collection[str]:
    """The label that is quoted first ("`Delivery`, not `Account`"); where none is, all that are named."""
    quoted = (next(filter(None, match.groups())).strip() for match in _QUOTED.finditer(body))
    first = next((text for text in quoted if text in labels), None)
    return {label for label in labels if says(body, label)} if first is None else {first}
