"""The race: candidates against the incumbent on validation rows, one block of rows after another.

A race only decides; it runs nothing. It says which scores it wants next, is told them, and ends with one decision per
candidate. Rows are taken in the order in which they are given, a decision reads complete blocks only, and chance has no
part in it, so the same scores give the same decisions (invariant 8).

Five rules end a candidate's race:

* *accepted*: at any look, the evidence that it is better than the incumbent reaches 2m/alpha for m candidates (see
  `stats.Evidence`), or, after the last row, a one-sided exact test falls below alpha/2m. A candidate that is no better
  does the first with probability at most alpha/2m and the second too, so a race accepts one with at most alpha in
  all, however often it looks (invariant 7);
* *rejected*: the evidence that it is worse reaches `HOPELESS`, or winning every row that is left would not be enough;
* *undecided*: it is unlikely to be proven on the rows that are left (conditional power below `FUTILE`, Lan et al.
  1982), those of extra time among them, so they are better spent on its descendants;
* *behind a proven one*: its mean is more than `BEHIND` standard errors below that of a candidate which is proven
  already;
* *halved*: at the end of a phase only the better half of the candidates goes on (sequential halving, Karnin et al.
  2013), so that rows are spent where they decide most.

Dropping a candidate can only lower the rate of false acceptance. When only proven candidates are left, the best
of them wins and the others stay in the pool.

An incumbent was chosen for its scores, lucky ones among them, and on rows that it has run no candidate gets round that
luck. So a race may have *extra time*: fresh rows for whom the regular ones leave just short of a proof. The level of
the exact test is shared out between the end of the regular rows (`REGULAR` of it) and of the extra ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, log2, sqrt

from promptlearn.records import Decision
from promptlearn.selection.stats import Evidence, one_sided_p, paired_test

HOPELESS = 10.0
FUTILE = 0.2
"""Chance of being proven in the end, below which a race is not worth its rows."""
OPTIMISM = 1.0
"""Standard errors above the mean difference so far at which the rows to come are expected to lie."""
BEHIND = 2.0
REGULAR = 0.25
"""Part of the level of the exact test that is spent before extra time, where a race has one."""
HOPEFUL = 0.5
"""Chance of being proven in extra time from which it is worth its rows."""
UNRELIABLE = 0.2
"""Share of its rows that a candidate may fail on while the incumbent does not."""
BLOCK = 8
"""Rows between two looks, at first."""


def next_look(position: int) -> int:
    """Rows after which to look next. Looks come at 8, 16, 24, 32, 48, 72, 104, …: often while little is known, and then
    after half as many rows again, so that a race of n rows has O(log n) moments at which its rows wait for the slowest.
    """
    return position + max(BLOCK, position // 2 // BLOCK * BLOCK)


@dataclass(slots=True)
class Runner:
    """One candidate in the race."""

    digest: str
    price: float
    """Tokens of its learned text, say: among equals the one with the smaller price goes on."""
    better: Evidence = field(default_factory=Evidence)
    worse: Evidence = field(default_factory=Evidence)
    own: list[float] = field(default_factory=list)
    """Every score so far, for comparing candidates with each other."""
    scores: list[float] = field(default_factory=list)
    """Scores on the rows that the incumbent has a score on too."""
    incumbent: list[float] = field(default_factory=list)
    failed: int = 0
    """Rows that only the incumbent has a score on."""
    proven: bool = False
    """Better than the incumbent; evidence that was reached once is not lost again."""
    ended: str | None = None
    open: bool = False
    """Ended without being worse: undecided."""

    def observe(self, score: float | None, incumbent: float | None) -> None:
        if score is not None:
            self.own.append(score)
        elif incumbent is not None:
            self.failed += 1
        if score is None or incumbent is None:
            return
        self.scores.append(score)
        self.incumbent.append(incumbent)
        self.better.add(score - incumbent)
        self.worse.add(incumbent - score)

    def p_value(self, extra_wins: int = 0) -> float:
        """One-sided p-value of "no better", had it also won `extra_wins` more pairs."""
        return one_sided_p([*self.scores, *[1.0] * extra_wins], [*self.incumbent, *[0.0] * extra_wins])

    def power(self, left: int, level: float) -> float:
        """Chance that the one-sided test falls below `level` once `left` more pairs are there.

        Normal approximation: the differences to come have the variance of those so far and a mean that is `OPTIMISM`
        standard errors higher.
        """
        from scipy.special import ndtr, ndtri

        differences = [own - incumbent for own, incumbent in zip(self.scores, self.incumbent, strict=True)]
        n, total = len(differences), sum(differences)
        variance = (sum(difference**2 for difference in differences) + 1) / (n + 4)
        drift = total / max(1, n) + OPTIMISM * sqrt(variance / max(1, n))
        needed = float(-ndtri(level)) * sqrt((n + left) * variance)
        return float(ndtr((total + left * drift - needed) / sqrt(max(1, left) * variance)))

    @property
    def mean(self) -> float:
        return sum(self.own) / len(self.own) if self.own else 0.0

    @property
    def variance(self) -> float:
        """Of the mean; one row of each kind is added, so that a few equal scores are no certainty."""
        n, mean = len(self.own) + 2, (sum(self.own) + 1) / (len(self.own) + 2)
        return (sum((score - mean) ** 2 for score in [*self.own, 0.0, 1.0])) / n**2


class Race:
    """Candidates (digest → price) against `incumbent` on `rows` (example ids in the fixed order)."""

    def __init__(
        self,
        incumbent: str,
        candidates: Mapping[str, float],
        rows: Sequence[str],
        alpha: float,
        extra: Sequence[str] = (),
    ) -> None:
        """`extra` are rows for those whom the others leave just short of a proof."""
        self._incumbent = incumbent
        self._runners = [Runner(digest, price) for digest, price in candidates.items()]
        self._rows = [*rows, *extra]
        self._level = alpha / (2 * max(1, len(self._runners)))
        self._bound = 1 / self._level
        self._regular = len(rows)
        self._tests = {self._regular: (REGULAR if extra else 1.0) * self._level}
        if extra:
            self._tests[len(self._rows)] = (1 - REGULAR) * self._level
        self._position = 0
        self._phase_ends = sorted({*_phases(len(self._runners), len(rows)), *self._tests})

    @property
    def alive(self) -> list[str]:
        """Digests of the candidates that are still running."""
        return [runner.digest for runner in self._runners if runner.ended is None]

    @property
    def finished(self) -> bool:
        alive = [runner for runner in self._runners if runner.ended is None]
        decided = len(alive) <= 1 and all(runner.proven for runner in alive)
        return decided or self._position >= len(self._rows)

    @property
    def in_extra_time(self) -> bool:
        return self._position >= self._regular

    @property
    def runs_incumbent(self) -> bool:
        """Whether the incumbent still has to run: not once every candidate alive is proven better than it."""
        return any(not runner.proven for runner in self._runners if runner.ended is None)

    def wanted(self) -> list[str]:
        """The next block of example ids; every candidate alive needs a score on each, and so may the incumbent."""
        end = min(next_look(self._position), next(e for e in self._phase_ends if e > self._position))
        return self._rows[self._position : end]

    def coming(self, count: int) -> list[str]:
        """The `count` ids after the wanted block, which those that are not dropped before will need."""
        start = self._position + len(self.wanted())
        end = self._regular if self._position < self._regular else len(self._rows)
        return self._rows[start : min(end, start + count)]

    def observe(self, scores: Mapping[str, Sequence[float | None]]) -> None:
        """Scores of the wanted block: digest → one score per row, None where it was not judged.

        The incumbent may be left out when `runs_incumbent` is false.
        """
        count = max(len(column) for column in scores.values())
        incumbent = scores.get(self._incumbent, [None] * count)
        for runner in self._runners:
            if runner.ended is None:
                for pair in zip(scores[runner.digest], incumbent, strict=True):
                    runner.observe(*pair)
        self._position += count
        self._prove()
        self._drop_behind()
        self._drop_hopeless()
        if self._position in self._phase_ends and self._position < len(self._rows):
            self._halve()

    def decisions(self) -> list[Decision]:
        """One decision per candidate, in the order in which they entered."""
        proven = [runner for runner in self._runners if runner.ended is None and runner.proven]
        winner = min(proven, key=_rank, default=None)
        return [self._decide(runner, winner) for runner in self._runners]

    def _prove(self) -> None:
        for runner in self._runners:
            if runner.ended is None:
                runner.proven = runner.proven or self._reached(runner)

    def _reached(self, runner: Runner) -> bool:
        """Whether it is proven better now: by its evidence, or where a test is due by that."""
        level = self._tests.get(self._position)
        return runner.better.value >= self._bound or (level is not None and runner.p_value() <= level)

    def _drop_behind(self) -> None:
        """Rows that would tell how far a proven candidate is ahead teach more in the next round."""
        alive = [runner for runner in self._runners if runner.ended is None]
        best = min((runner for runner in alive if runner.proven), key=_rank, default=None)
        for runner in alive:
            if best is not None and best.mean - runner.mean > BEHIND * sqrt(best.variance + runner.variance):
                runner.open, runner.proven = runner.worse.value < HOPELESS, False
                runner.ended = f"behind {best.digest[:8]}, which is better than the incumbent"

    def _drop_hopeless(self) -> None:
        left = len(self._rows) - self._position
        last = self._tests[len(self._rows)]
        for runner in self._runners:
            if runner.ended is None and runner.failed > UNRELIABLE * max(BLOCK, self._position):
                runner.ended, runner.proven = f"failed on {runner.failed} rows that the incumbent did not", False
            if runner.ended is not None or runner.proven:
                continue
            if runner.worse.value >= HOPELESS:
                runner.ended = "worse than the incumbent"
            elif runner.better.best_case(left) < self._bound and runner.p_value(extra_wins=left) > last:
                runner.ended = "can not be proven better on the rows that are left"
            elif left and (why := self._futile(runner)):
                runner.open, runner.ended = True, why

    def _futile(self, runner: Runner) -> str:
        """Why the rows that are left are better spent elsewhere; empty where they are not."""
        last = self._tests[len(self._rows)]
        if self._position == self._regular:
            extra = len(self._rows) - self._position
            power = runner.power(extra, last)
            return "" if power >= HOPEFUL else f"not proven better, and hardly with {extra} rows more ({power:.0%})"
        left = len(self._rows) - self._position
        chances = [runner.power(left, last)]
        if not self.in_extra_time:
            chances.append(runner.power(self._regular - self._position, self._level))
        power = max(chances)
        return "" if power >= FUTILE else f"unlikely to be proven better on the {left} rows that are left ({power:.0%})"

    def _halve(self) -> None:
        alive = sorted((runner for runner in self._runners if runner.ended is None), key=_rank)
        for runner in alive[max(1, ceil(len(alive) / 2)) :]:
            runner.ended = f"behind {alive[0].digest[:8]} after {self._position} rows"

    def _decide(self, runner: Runner, winner: Runner | None) -> Decision:
        test = paired_test(runner.scores, runner.incumbent)
        if runner is winner:
            outcome, reason = "accepted", f"better than the incumbent (p = {test.p_value:.2g})"
        elif runner.ended is not None:
            outcome, reason = "undecided" if runner.open else "rejected", runner.ended
        elif winner is not None and runner.proven:
            outcome, reason = "rejected", f"better than the incumbent, but not than {winner.digest[:8]}"
        else:
            outcome, reason = "undecided", f"not proven better (p = {test.p_value:.2g})"
        return Decision(
            candidate=runner.digest,
            incumbent=self._incumbent,
            stage="race",
            outcome=outcome,  # type: ignore[arg-type]  # one of the three words above
            reason=f"{reason} ({len(runner.scores)} pairs)",
            pairs=test.n,
            difference=test.difference if test.n else None,
            ci95=test.ci95 if test.n else None,
            p_value=test.p_value if test.n else None,
        )


def _rank(runner: Runner) -> tuple[float, float, str]:
    """Higher mean first; among equals the one with the smaller price."""
    return (-runner.mean, runner.price, runner.digest)


def longest(candidates: int, rows: int) -> int:
    """Rows that a race reads when nobody is dropped before a phase ends, those of the incumbent included."""
    total, start, alive = rows, 0, candidates
    for end in _phases(candidates, rows):
        total += alive * (end - start)
        start, alive = end, max(1, ceil(alive / 2))
    return total


def _phases(candidates: int, rows: int) -> list[int]:
    """Row counts at which a phase ends: the rows in equal parts, one part per halving and one for the finalist."""
    parts = ceil(log2(candidates)) + 1 if candidates > 1 else 1
    return sorted({max(1, round(rows * part / parts)) for part in range(1, parts + 1)})
