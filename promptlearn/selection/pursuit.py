"""Pursuit: the race by another objective than quality, within what quality may lose.

Knows figures of rows; runs nothing. What it accepts is better by the objective in the lead and keeps the allowance of
quality; it says nothing of quality beyond that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import fmean
from typing import TypeAlias

from promptlearn.config.objectives import QUALITY, ObjectiveConfig
from promptlearn.records import Decision
from promptlearn.selection.objectives import EXACT, MEASURES
from promptlearn.selection.pareto import choose_parent
from promptlearn.selection.race import FUTILE, HOPELESS, Race, Runner
from promptlearn.selection.stats import paired_test

EVEN = 0.5
"""Level at which the power of a mean is the chance that it keeps the allowance in the end."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a race in pursuit of an objective reads of one row; None: not known."""

    quality: float | None
    figure: float | None
    """Of the objective in the lead."""


Column: TypeAlias = Sequence[Seen]
"""One prompt's rows."""


@dataclass(frozen=True, slots=True)
class Aim:
    """The objective in the lead, where that is not quality, and how much quality may be lost for it."""

    lead: ObjectiveConfig
    may_lose: float

    def gain(self, new: float | None, old: float | None) -> float | None:
        """By how much `new` is better, in [-1, 1]: of a measure in parts of the larger of the two, of a score as it is.

        So a row whose answer is dear counts as much as one whose answer is cheap, and no measure needs an upper end.
        """
        if new is None or old is None:
            return None
        change = self.lead.sign * (new - old)
        return change / (max(abs(new), abs(old)) or 1.0) if self.lead.name in MEASURES else change

    def keeps(self, change: float) -> bool:
        """Whether quality may change by so much."""
        return change >= -self.may_lose * (1 + EXACT)


def aim_of(objectives: Sequence[ObjectiveConfig]) -> Aim | None:
    """None where quality leads, and the search climbs by quality."""
    if not objectives or objectives[0].name == QUALITY:
        return None
    return Aim(objectives[0], next((one.may_lose or 0.0 for one in objectives if one.name == QUALITY), 0.0))


def change_of(new: Iterable[float | None], old: Iterable[float | None]) -> float:
    """Mean change of quality; rows that only the new prompt failed on are lost, those of the old one tell nothing."""
    changes = [(score or 0.0) - before for score, before in zip(new, old, strict=True) if before is not None]
    return fmean(changes) if changes else 0.0


def parent_in_pursuit(
    aim: Aim,
    figures: Mapping[str, Mapping[str, float]],
    quality: Mapping[str, Mapping[str, float | None]],
    incumbent: str,
    baseline: str,
    seed: str,
) -> str:
    """A parent by the lead (see `choose_parent`), among prompts whose quality keeps the allowance so far.

    `figures` and `quality` hold validation rows of the pool: digest → example → value.
    """
    theirs, first = figures.get(incumbent, {}), quality.get(baseline, {})
    gains: dict[str, dict[str, float]] = {}
    for digest, own in figures.items():
        shared = [id for id in quality.get(digest, {}) if id in first]
        change = change_of([quality[digest][id] for id in shared], [first[id] for id in shared])
        if digest == incumbent or aim.keeps(change):
            gained = {id: aim.gain(value, theirs.get(id)) for id, value in own.items()}
            gains[digest] = {id: value for id, value in gained.items() if value is not None}
    return choose_parent(gains, incumbent, seed) if gains.get(incumbent) else incumbent


@dataclass(slots=True)
class Book:
    """What is known of one candidate beside its gain in the lead."""

    kept: Runner
    """Quality, with what may be lost added, against the baseline's."""
    changes: list[float] = field(default_factory=list)
    """Of quality against the baseline."""
    quality: list[tuple[float, float]] = field(default_factory=list)
    """Of the candidate and of the incumbent, where both have a score."""
    figures: list[tuple[float, float]] = field(default_factory=list)
    """In the lead, of the candidate and of the incumbent."""

    def note(self, own: Seen, incumbent: Seen, baseline: float | None, may_lose: float) -> None:
        if baseline is not None:
            score = own.quality or 0.0  # a row that only the candidate failed on is lost
            unit = 1 + may_lose
            self.kept.observe(score / unit, (baseline - may_lose) / unit)
            self.changes.append(score - baseline)
        if own.quality is not None and incumbent.quality is not None:
            self.quality.append((own.quality, incumbent.quality))
        if own.figure is not None and incumbent.figure is not None:
            self.figures.append((own.figure, incumbent.figure))

    @property
    def change(self) -> float:
        return fmean(self.changes) if self.changes else 0.0


class PursuitRace(Race):
    """A race by gains in the lead, with the levels of `Race`; who loses more quality than it may is out.

    Quality is held to the baseline's. It counts as kept where the evidence against a larger loss reaches the bound of
    the race (a test of non-inferiority), or where the mean over all rows keeps the allowance: hardly any validation
    split proves a small allowance, and the proof on test measures the same way.
    """

    def __init__(
        self, incumbent: str, candidates: Mapping[str, float], rows: Sequence[str], alpha: float, aim: Aim
    ) -> None:
        super().__init__(incumbent, candidates, rows, alpha)
        self._aim = aim
        self._books = {digest: Book(Runner(digest, 0.0)) for digest in candidates}
        self._leading: set[str] = set()
        """Proven better in the lead, whatever became of their quality."""

    @property
    def runs_incumbent(self) -> bool:
        return True

    def see(self, columns: Mapping[str, Column], baseline: Sequence[float | None]) -> None:
        """Rows of the wanted block: of the incumbent and of every candidate alive, and the baseline's quality."""
        theirs = columns[self._incumbent]
        gains: dict[str, list[float | None]] = {
            self._incumbent: [None if seen.figure is None else 0.0 for seen in theirs]
        }
        for digest in self.alive:
            own = columns[digest]
            for mine, other, before in zip(own, theirs, baseline, strict=True):
                self._books[digest].note(mine, other, before, self._aim.may_lose)
            gains[digest] = [self._aim.gain(mine.figure, other.figure) for mine, other in zip(own, theirs, strict=True)]
        self.observe(gains)

    def _prove(self) -> None:
        for runner in self._runners:
            if runner.ended is None:
                if self._reached(runner) and self._better_in_the_mean(runner.digest):
                    self._leading.add(runner.digest)
                runner.proven = runner.digest in self._leading and self._keeps(runner.digest)

    def _better_in_the_mean(self, digest: str) -> bool:
        """By the measure itself too, as the proof on test will have it."""
        return self._aim.lead.sign * sum(new - old for new, old in self._books[digest].figures) > 0

    def _keeps(self, digest: str) -> bool:
        book = self._books[digest]
        return self._not_inferior(book) or (self._position >= len(self._rows) and self._aim.keeps(book.change))

    def _not_inferior(self, book: Book) -> bool:
        return book.kept.better.value >= self._bound

    def _drop_hopeless(self) -> None:
        left = len(self._rows) - self._position
        for runner in self._runners:
            book = self._books[runner.digest]
            if runner.ended is None and not runner.proven and (why := self._loses(book, left)):
                runner.ended, runner.open = why, left > 0 and book.kept.worse.value < HOPELESS
        super()._drop_hopeless()

    def _loses(self, book: Book, left: int) -> str:
        """Why quality can hardly be kept; empty where it can."""
        gone = book.kept.worse.value >= HOPELESS or (left == 0 and not self._aim.keeps(book.change))
        if gone or (left and not self._not_inferior(book) and book.kept.power(left, EVEN) < FUTILE):
            return f"quality changes by {book.change:+.3f}, and {self._aim.may_lose:g} may be lost"
        return ""

    def _decide(self, runner: Runner, winner: Runner | None) -> Decision:
        """As in any race, about the lead in words, and about quality in figures."""
        book, lead = self._books[runner.digest], self._aim.lead.name
        gained = paired_test(runner.scores, runner.incumbent)
        quality = paired_test([new for new, _ in book.quality], [old for _, old in book.quality])
        decided = super()._decide(runner, winner)
        reason = decided.reason if decided.reason.startswith("quality") else f"{lead}: {decided.reason}"
        if runner is winner:
            how = "proven to lose" if self._not_inferior(book) else "as measured on all rows it loses"
            reason = (
                f"{self._figures(book)} (p = {gained.p_value:.2g}); quality changes by {book.change:+.3f}, "
                f"{how} no more than {self._aim.may_lose:g} ({len(book.changes)} pairs)"
            )
        known = quality.n > 0
        return replace(
            decided,
            reason=reason,
            pairs=quality.n,
            difference=quality.difference if known else None,
            ci95=quality.ci95 if known else None,
            p_value=quality.p_value if known else None,
        )

    def _figures(self, book: Book) -> str:
        new, old = fmean(new for new, _ in book.figures), fmean(old for _, old in book.figures)
        return f"better by {self._aim.lead.name}, {old:.4g} → {new:.4g}"

    def gains(self) -> dict[str, float]:
        """Digest → mean gain in the lead of those who keep what quality may lose, for the credit of their proposers."""
        return {
            runner.digest: fmean(runner.scores)
            for runner in self._runners
            if runner.scores and self._aim.keeps(self._books[runner.digest].change)
        }
