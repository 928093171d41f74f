"""Statistics of acceptance: intervals, paired tests, and a bound that allows for looking after every pair.

Pure functions of scores in [0, 1]; knows nothing about prompts. Scores that are None never get here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, sqrt

import numpy as np
from numpy.typing import NDArray

from promptlearn.records import Interval

RESAMPLES = 9999


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Candidate against incumbent on the same rows."""

    difference: float
    """Mean of candidate minus incumbent."""
    ci95: Interval
    p_value: float
    """Two-sided."""
    test: str
    """`mcnemar_exact` or `permutation`."""
    n: int


def mean_interval(scores: Sequence[float]) -> Interval:
    """95 % interval of a mean score: Wilson (1927) for scores of 0 and 1, else BCa bootstrap (Efron 1987).

    Without any score nothing is known: [0, 1].
    """
    if not scores:
        return Interval(0.0, 1.0)
    if is_binary(scores):
        return _wilson(round(sum(scores)), len(scores))
    return _bca(np.asarray(scores, dtype=float), 0.0)


def paired_test(candidate: Sequence[float], incumbent: Sequence[float]) -> PairedTest:
    """Test that two prompts score the same on these rows (`candidate[i]` and `incumbent[i]` are one example).

    Scores of 0 and 1: exact McNemar test, interval by Newcombe (1998, method 10). Others: sign-flip permutation test
    of the mean difference, BCa bootstrap interval.
    """
    if len(candidate) != len(incumbent):
        raise ValueError(f"{len(candidate)} and {len(incumbent)} scores are not pairs")
    n = len(candidate)
    if n == 0:
        return PairedTest(0.0, Interval(-1.0, 1.0), 1.0, "mcnemar_exact", 0)
    differences = _differences(candidate, incumbent)
    binary = is_binary(candidate) and is_binary(incumbent)
    return PairedTest(
        difference=float(differences.mean()),
        ci95=_newcombe(candidate, incumbent) if binary else _bca(differences, -1.0),
        p_value=_p_value(differences, binary),
        test="mcnemar_exact" if binary else "permutation",
        n=n,
    )


def paired_measures(candidate: Sequence[float], incumbent: Sequence[float]) -> PairedTest:
    """`paired_test` for measures, which are never below 0 and have no upper end: in their own unit, and never as
    proportions.
    """
    unit = max(*candidate, *incumbent) or 1.0
    differences = _differences([one / unit for one in candidate], [one / unit for one in incumbent])
    inside = _bca(differences, -max(incumbent) / unit, max(candidate) / unit)
    return PairedTest(
        difference=float(differences.mean()) * unit,
        ci95=Interval(inside.low * unit, inside.high * unit),
        p_value=_sign_flip(differences),
        test="permutation",
        n=len(differences),
    )


def one_sided_p(candidate: Sequence[float], incumbent: Sequence[float]) -> float:
    """p-value of "the candidate is no better", by the tests of `paired_test`."""
    differences = _differences(candidate, incumbent)
    if not len(differences) or differences.sum() <= 0:
        return 1.0
    return _p_value(differences, is_binary(candidate) and is_binary(incumbent)) / 2


def _differences(candidate: Sequence[float], incumbent: Sequence[float]) -> NDArray[np.float64]:
    """Pair by pair, without the last bits that subtraction leaves behind (equal differences have to be equal)."""
    differences: NDArray[np.float64] = np.asarray(candidate, dtype=float) - np.asarray(incumbent, dtype=float)
    return differences.round(12)


def _p_value(differences: NDArray[np.float64], binary: bool) -> float:
    if binary:
        return mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
    return _sign_flip(differences)


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided p-value of the exact McNemar test: discordant pairs against a fair coin."""
    from scipy.special import bdtr

    return min(1.0, 2 * float(bdtr(min(wins, losses), wins + losses, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values, in the order given: the chance of one false rejection among all of them stays below the level.

    Step-down: the k-th smallest of m is multiplied by m - k + 1, and none falls below a smaller one (Holm 1979,
    Scandinavian Journal of Statistics 6:65).
    """
    adjusted, largest = [0.0] * len(p_values), 0.0
    for done, at in enumerate(sorted(range(len(p_values)), key=lambda at: (p_values[at], at))):
        largest = max(largest, min(1.0, p_values[at] * (len(p_values) - done)))
        adjusted[at] = largest
    return adjusted


def detectable_difference(n: int, discordance: float, level: float = 0.05, power: float = 0.8) -> float:
    """The smallest difference of two mean scores that a two-sided paired test on n rows finds with this power.

    (z(1 - level/2) + z(power)) sqrt(discordance / n), at most 1. `discordance` is the mean square of the differences:
    for scores of 0 and 1 the share of rows on which the two disagree (Connor 1987, Biometrics 43:207, without the
    small term that makes it smaller still; Miller 2024, arXiv 2411.00640, section 5).
    """
    return 1.0 if n < 1 else min(1.0, _reach(level, power) * sqrt(discordance / n))


def rows_to_detect(discordance: float, level: float = 0.05, power: float = 0.8) -> int:
    """The fewest rows on which there is anything to find: arms that disagree on this share of the rows differ by no
    more than it, and on fewer rows `detectable_difference` is larger.
    """
    return ceil(_reach(level, power) ** 2 / discordance)


def _reach(level: float, power: float) -> float:
    """By how many standard errors a difference has to stand off 0."""
    from scipy.special import ndtri

    return float(ndtri(1 - level / 2) + ndtri(power))


def is_binary(scores: Sequence[float]) -> bool:
    return all(score in (0, 1) for score in scores)


class Evidence:
    """An e-process against "the candidate is no better": evidence that may be looked at after every pair.

    With differences d in [-1, 1] and E[d] <= 0, wealth = mean over bets b of prod(1 + b d) is a non-negative
    supermartingale that starts at 1, so by Ville's inequality it ever reaches 1/alpha with probability at most alpha,
    however often one looks (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting").
    For scores of 0 and 1 this is the one-sided mixture version of McNemar's test.
    """

    BETS: NDArray[np.float64] = (np.arange(20) + 0.5) / 20

    def __init__(self) -> None:
        self._log_wealth = np.zeros(len(self.BETS))

    def add(self, difference: float) -> None:
        self._log_wealth += np.log1p(self.BETS * difference)

    @property
    def value(self) -> float:
        """Wealth now; 1 means that nothing is known."""
        return float(np.exp(self._log_wealth).mean())

    def best_case(self, pairs: int) -> float:
        """Wealth if the candidate won each of the next `pairs` pairs outright."""
        return float(np.exp(self._log_wealth + pairs * np.log1p(self.BETS)).mean())


def _wilson(successes: int, n: int) -> Interval:
    from scipy.stats import binomtest

    interval = binomtest(successes, n).proportion_ci(method="wilson")
    return Interval(float(interval.low), float(interval.high))


def _newcombe(candidate: Sequence[float], incumbent: Sequence[float]) -> Interval:
    """Hybrid score interval for a difference of paired proportions (Newcombe 1998, Stat. in Medicine 17:2635)."""
    n = len(candidate)
    both = sum(1 for c, i in zip(candidate, incumbent, strict=True) if c and i)
    wins, losses = round(sum(candidate)) - both, round(sum(incumbent)) - both
    neither = n - both - wins - losses
    p1, p2 = (both + wins) / n, (both + losses) / n
    one, two = _wilson(both + wins, n), _wilson(both + losses, n)
    margins = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    phi = (both * neither - wins * losses) / sqrt(margins) if margins else 0.0
    low1, high1, low2, high2 = p1 - one.low, one.high - p1, p2 - two.low, two.high - p2
    down = sqrt(max(0.0, low1**2 - 2 * phi * low1 * high2 + high2**2))
    up = sqrt(max(0.0, high1**2 - 2 * phi * high1 * low2 + low2**2))
    return Interval(max(-1.0, p1 - p2 - down), min(1.0, p1 - p2 + up))


def _bca(values: NDArray[np.float64], lowest: float, highest: float = 1.0) -> Interval:
    """Bootstrap interval of a mean of values between `lowest` and `highest`.

    Equal values tell the bootstrap nothing, so there the share of values that n rows may have missed (Wilson) is
    allowed to be anything.
    """
    from scipy.stats import bootstrap

    if bool(np.all(values == values[0])):
        missed = 1 - _wilson(len(values), len(values)).low
        seen = float(values[0]) * (1 - missed)
        return Interval(seen + missed * lowest, seen + missed * highest)
    result = bootstrap((values,), np.mean, n_resamples=RESAMPLES, method="BCa", rng=np.random.default_rng(0))
    return Interval(float(result.confidence_interval.low), float(result.confidence_interval.high))


def _sign_flip(differences: NDArray[np.float64]) -> float:
    from scipy.stats import permutation_test

    if not differences.any():
        return 1.0
    result = permutation_test(
        (differences,), np.mean, permutation_type="samples", n_resamples=RESAMPLES, rng=np.random.default_rng(0)
    )
    return float(result.pvalue)
