"""What rows say about each objective.

Knows rows and the names of objectives; how prompts are compared by them stands in `selection.objectives`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from promptlearn.config import QUALITY, ObjectiveConfig
from promptlearn.contract import learned_tokens
from promptlearn.evaluation import Row
from promptlearn.records import Candidate
from promptlearn.selection.objectives import Board, answer_of, board_of, mean


def boards_of(objectives: Sequence[ObjectiveConfig], rows: Mapping[str, Sequence[Row]]) -> dict[str, Board]:
    """Digest of a prompt → its figures by objective."""
    return {digest: board_of_rows(objectives, own) for digest, own in rows.items()}


def tie_breakers(
    objectives: Sequence[ObjectiveConfig], candidates: Sequence[Candidate], columns: Sequence[Sequence[Row]]
) -> dict[str, float]:
    """Digest → what is smaller of the candidate to prefer among equals: by the first objective beside quality that is
    known of all of them on these rows, else the length of its learned text.
    """
    for one in objectives:
        means = [mean(one.name, board_of_rows([one], rows)[one.name].values()) for rows in columns]
        if one.name != QUALITY and all(value is not None for value in means):
            return {each.digest: -one.sign * (value or 0.0) for each, value in zip(candidates, means, strict=True)}
    return {each.digest: learned_tokens(each.prompt) for each in candidates}


def board_of_rows(objectives: Sequence[ObjectiveConfig], rows: Sequence[Row]) -> Board:
    """The figures of one prompt's rows."""
    return board_of(objectives, [(row.example.id, row.score, answer_of(row.rollout), row.verdicts) for row in rows])
