"""Notes on single turns of a conversation: which of them helped, which hurt, and why.

Pure functions of texts. A note on a turn that was not shown, two notes on one turn, or a note without a reason make the
reply unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal, cast

from promptlearn.errors import ModelError
from promptlearn.judging.checklist import as_lines
from promptlearn.judging.excerpt import quote
from promptlearn.models.structured import Field
from promptlearn.records import Json, TurnNote

FIELD = Field(
    "turn_notes",
    "string",
    "one line for each turn that helped or hurt, in the form `NUMBER: helped: WHY`, `NUMBER: neutral: WHY` or `NUMBER: "
    "hurt: WHY`",
    required=False,
)
_LINE = re.compile(
    r"\W*(?:turn\s*)?(?P<turn>\d+)(?=[^\w:|.)-]*[:|.)-])\W++(?P<effect>helped|neutral|hurt)\b"
    r"\W*?(?:[:|-]\s*(?P<why>.*))?\Z",
    re.I,
)
_NOTHING = frozenset({"none", "nothing", "n/a"})


def read_turn_notes(raw: Json, turns: Collection[int]) -> tuple[TurnNote, ...]:
    """Notes in the order of the turns. Raises `ModelError("unparseable")` that says what is wrong."""
    found: dict[int, TurnNote] = {}
    for line in as_lines(raw):
        if line.casefold().strip(".") in _NOTHING:
            continue
        match = _LINE.match(line)
        if match is None or not (match["why"] or "").strip():
            raise ModelError("unparseable", f"the note {quote(line)} is not `NUMBER: helped, neutral or hurt: WHY`")
        turn = int(match["turn"])
        if turn not in turns:
            raise ModelError("unparseable", f"there is no turn {turn} in what you were shown")
        if turn in found:
            raise ModelError("unparseable", f"turn {turn} has two notes; give it one")
        effect = cast(Literal["helped", "neutral", "hurt"], match["effect"].casefold())
        found[turn] = TurnNote(turn, effect, match["why"].strip())
    return tuple(found[turn] for turn in sorted(found))
