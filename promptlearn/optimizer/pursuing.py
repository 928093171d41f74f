"""Pursuing another objective than quality: what the search asks for, reads and compares where quality does not lead.

Knows rows and prompts; the statistics stand in `selection.pursuit`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from promptlearn.config import ObjectiveConfig
from promptlearn.evaluation import Row
from promptlearn.objectives import board_of_rows
from promptlearn.optimizer.state import View
from promptlearn.records import Candidate
from promptlearn.selection.pursuit import Aim, PursuitRace, Seen, aim_of, change_of, parent_in_pursuit

_WISHES = {
    "cost": "The prompt must become shorter: each of its words is paid for with every answer. Leave out all that does "
    "not change an answer.",
    "tokens": "The prompt and the answers must become shorter. Leave out all that does not change an answer.",
    "latency": "The answers must come sooner: ask for short answers.",
    "length": "The answers must become shorter: ask for short answers.",
}


@dataclass(frozen=True, slots=True)
class Pursuit:
    """An objective in the lead that is not quality, on rows of prompts."""

    aim: Aim
    baseline: Candidate
    """The prompt that quality is held to."""

    def measure(self, row: Row) -> float | None:
        """The lead on this row; None where nobody knows it."""
        lead = self.aim.lead
        return board_of_rows([lead], [row])[lead.name].get(row.example.id)

    def wish(self) -> str:
        """What counts, in words for a model that writes prompts."""
        lead = self.aim.lead
        if lead.name in _WISHES and lead.sign < 0:
            said = _WISHES[lead.name]
        else:
            said = f"The answers' {lead.name} must become {'higher' if lead.sign > 0 else 'lower'}."
        return f"{said} The answers must stay as right as they are."

    def race(self, incumbent: str, prices: Mapping[str, float], rows: Sequence[str], alpha: float) -> PursuitRace:
        return PursuitRace(incumbent, prices, rows, alpha, self.aim)

    def see(self, race: PursuitRace, columns: Mapping[str, Sequence[Row]]) -> None:
        """Tell a race its rows, those of the baseline among them."""
        seen = {digest: [Seen(row.score, self.measure(row)) for row in rows] for digest, rows in columns.items()}
        race.see(seen, [one.quality for one in seen[self.baseline.digest]])

    def parent(self, view: View, seed: str) -> Candidate:
        """The next parent, from what is known of the lead on validation rows."""
        figures = {digest: view.figures.get(digest, {}) for digest in view.pool}
        scores = view.of("validation")
        return view.pool[
            parent_in_pursuit(self.aim, figures, scores, view.incumbent.digest, self.baseline.digest, seed)
        ]

    def gain(self, rows: Sequence[Row], parent: Sequence[Row]) -> float:
        """Mean gain in the lead over the parent on the same rows; 0 where nothing is known."""
        pairs = zip(rows, parent, strict=True)
        gains = [self.aim.gain(self.measure(row), self.measure(old)) for row, old in pairs]
        known = [gain for gain in gains if gain is not None]
        return fmean(known) if known else 0.0

    def loses(self, rows: Sequence[Row], parent: Sequence[Row]) -> float | None:
        """The change of quality on these rows, where it is more than may be lost."""
        change = change_of([row.score for row in rows], [row.score for row in parent])
        return None if self.aim.keeps(change) else change


def pursuit_of(objectives: Sequence[ObjectiveConfig], baseline: Candidate) -> Pursuit | None:
    """None where quality leads."""
    aim = aim_of(objectives)
    return None if aim is None else Pursuit(aim, baseline)
