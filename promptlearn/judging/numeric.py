"""Numeric: the one number in the answer against the expected one, within a tolerance.

Knows decimal notation, nothing about units: `12 kg` is 12, and so is `12 %`.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from promptlearn.errors import ConfigError, DataError
from promptlearn.judging.checks import most_frequent, need_expected
from promptlearn.judging.excerpt import counted, listing, quote
from promptlearn.judging.finding import found
from promptlearn.records import Example, Json, Rollout, Verdict, as_text

_NUMBER = re.compile(
    r"""(?<![\w.]) [-+−]?
    (?: (?: [0-9]{1,3} (?:,[0-9]{3})+ (?![0-9]) | [0-9]+ ) (?:\.[0-9]+)? | \.[0-9]+ )
    (?: [eE][-+]?[0-9]+ )?""",
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True)
class Numeric:
    """Scores 1 where the number lies within the larger of `tolerance` and `relative` times the expected number.

    `take` says which number counts where there are several: `only` (several are a fault), `first` or `last`.
    Thousands may have commas. Labels: `right`, `off`, `not_a_number`, `several_numbers`.
    """

    tolerance: float = 0.0
    relative: float = 0.0
    take: Literal["only", "first", "last"] = "only"
    name: str = "numeric"

    def __post_init__(self) -> None:
        for key, value in (("tolerance", self.tolerance), ("relative", self.relative)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"judge {self.name}: {key} is {value}; it has to be a finite number of at least 0")

    def check(self, examples: Sequence[Example]) -> None:
        """Raises `DataError` for expected answers that are missing or are no number."""
        need_expected(self.name, examples)
        unknown = [as_text(e.expected) for e in examples if _expected(e.expected) is None]
        if unknown:
            raise DataError(
                f"judge {self.name}: expected has to be a number, not {most_frequent(unknown)}; "
                "correct the examples, or choose exact_match"
            )

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        self.check([example])
        expected = _expected(example.expected)
        numbers = _numbers(rollout.output)
        if expected is None or not numbers or (self.take == "only" and len(numbers) > 1):
            return self._unclear(example, rollout, numbers)
        given = numbers[0] if self.take == "first" else numbers[-1]
        distance = abs(given - expected)
        allowed = max(Decimal(str(self.tolerance)), Decimal(str(self.relative)) * abs(expected))
        within = f" (allowed: {allowed.normalize():f})" if allowed else ""
        if distance <= allowed:
            return found(self.name, rollout, 1.0, f"got {given}, expected {expected}{within}", label="right")
        explanation = f"expected {expected}, got {given}: off by {distance}{within}"
        return found(self.name, rollout, 0.0, explanation, label="off")

    def _unclear(self, example: Example, rollout: Rollout, numbers: list[Decimal]) -> Verdict:
        got = quote(rollout.output) if rollout.output.strip() else "an empty text"
        what = f"{counted(len(numbers), 'number')} ({listing(list(map(str, numbers)), 4)})" if numbers else "no number"
        return found(
            self.name,
            rollout,
            0.0,
            f"expected {as_text(example.expected)}, got {got}: {what} in it",
            label="several_numbers" if numbers else "not_a_number",
            suggestion="Answer with one number in digits and nothing else.",
        )


def _numbers(text: str) -> list[Decimal]:
    return [number for match in _NUMBER.finditer(text) if (number := _decimal(match[0])) is not None]


def _expected(value: Json) -> Decimal | None:
    if isinstance(value, bool):
        return None
    numbers = _numbers(as_text(value))
    return numbers[0] if len(numbers) == 1 else None


def _decimal(text: str) -> Decimal | None:
    plain = text.replace(",", "").replace("−", "-")
    # A float bounds the exponent: Decimal would take 1e999999999 and then choke on it.
    return Decimal(plain) if math.isfinite(float(plain)) else None
