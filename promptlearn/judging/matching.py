"""ExactMatch, NormalizedMatch, Contains and Regex: the answer's text against what is expected.

Knows strings and examples, nothing about models, labels or numbers.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from promptlearn.errors import ConfigError, DataError
from promptlearn.judging.checks import need_expected
from promptlearn.judging.excerpt import code, listing, quote
from promptlearn.judging.finding import found
from promptlearn.judging.normal import normalise
from promptlearn.records import Example, Rollout, Verdict, as_text

_BARE = "Give only the answer itself: no other words, quotes or punctuation around it."


@dataclass(frozen=True, slots=True)
class ExactMatch:
    """Scores 1 where the output is the expected text, character for character. Labels: `right`, `dressed`, `wrong`."""

    name: str = "exact_match"

    def check(self, examples: Sequence[Example]) -> None:
        need_expected(self.name, examples)

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        self.check([example])
        expected = as_text(example.expected)
        if rollout.output == expected:
            return found(self.name, rollout, 1.0, f"got {code(expected)}, as expected", label="right")
        return _mismatch(
            self.name, rollout, expected, same_but_dressed=normalise(expected) == normalise(rollout.output)
        )


@dataclass(frozen=True, slots=True)
class NormalizedMatch:
    """Scores 1 where output and expected text are equal after `normalise`. Labels: `right`, `dressed`, `wrong`."""

    name: str = "normalized_match"

    def check(self, examples: Sequence[Example]) -> None:
        need_expected(self.name, examples)

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        self.check([example])
        expected = as_text(example.expected)
        if normalise(rollout.output) == normalise(expected):
            return found(self.name, rollout, 1.0, f"got {code(expected)}, as expected", label="right")
        return _mismatch(self.name, rollout, expected, same_but_dressed=False)


def _mismatch(name: str, rollout: Rollout, expected: str, *, same_but_dressed: bool) -> Verdict:
    explanation = f"expected {code(expected)}, got {_got(rollout)}"
    wanted = normalise(expected)
    if same_but_dressed:
        explanation += ": the same but for case, quotes, punctuation or white space"
    elif wanted and _stands_in(wanted, normalise(rollout.output)):
        explanation += ": the expected text stands in it among other words"
    else:
        return found(name, rollout, 0.0, explanation, label="wrong")
    return found(name, rollout, 0.0, explanation, label="dressed", suggestion=_BARE)


@dataclass(frozen=True, slots=True)
class Contains:
    """Scores the share of needles that stand in the output; passes where all do. Labels: `right`, `missing`.

    Without `needles` each example's expected value is looked for (each item, where it is a list).
    """

    needles: Sequence[str] = ()
    ignore_case: bool = True
    name: str = "contains"

    def __post_init__(self) -> None:
        needles = (self.needles,) if isinstance(self.needles, str) else tuple(self.needles)
        object.__setattr__(self, "needles", needles)
        if "" in needles:
            raise ConfigError(f"judge {self.name}: an empty needle stands in every text; remove it from `needles`")

    def check(self, examples: Sequence[Example]) -> None:
        """Raises `DataError` where neither `needles` nor the example says what to look for."""
        if self.needles:
            return
        need_expected(self.name, examples)
        empty = [example.id for example in examples if not _wanted(example)]
        if empty:
            raise DataError(
                f"judge {self.name}: {len(empty)} of {len(examples)} examples have an empty expected value "
                f"(first: {empty[0]}); fill it in, or give `needles`"
            )

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        self.check([example])
        wanted = tuple(self.needles) or _wanted(example)
        text = self._fold(rollout.output)
        missing = [needle for needle in wanted if self._fold(needle) not in text]
        if not missing:
            return found(self.name, rollout, 1.0, f"contains {listing([code(n) for n in wanted])}", label="right")
        return found(
            self.name,
            rollout,
            (len(wanted) - len(missing)) / len(wanted),
            f"{listing([code(n) for n in missing])} missing from {_got(rollout)}",
            label="missing",
            suggestion=f"Every answer has to contain: {', '.join(self.needles)}." if self.needles else None,
        )

    def _fold(self, text: str) -> str:
        return text.casefold() if self.ignore_case else text


def _wanted(example: Example) -> tuple[str, ...]:
    if example.expected is None:
        return ()
    items = example.expected if isinstance(example.expected, list | tuple) else [example.expected]
    return tuple(filter(None, map(as_text, items)))


@dataclass(frozen=True, slots=True)
class Regex:
    """Scores 1 where `pattern` (Python's `re`) is found in the output. Labels: `right`, `no_match`.

    `full` asks for the whole output (without surrounding white space) to match. `meaning` says in words what the
    pattern stands for (`an order number such as A-1234`): it makes the critique, and the suggestion, readable.
    """

    pattern: str
    full: bool = False
    meaning: str = ""
    name: str = "regex"
    _compiled: re.Pattern[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "_compiled", re.compile(self.pattern))
        except re.error as error:
            raise ConfigError(f"judge {self.name}: {self.pattern!r} is no regular expression: {error}") from error

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        match = self._compiled.fullmatch(rollout.output.strip()) if self.full else self._compiled.search(rollout.output)
        wanted = f"{self.meaning} (`{self.pattern}`)" if self.meaning else f"`{self.pattern}`"
        if match:
            return found(self.name, rollout, 1.0, f"{quote(match[0])} matches {wanted}", label="right")
        where = "is not as a whole" if self.full else "has nothing that matches"
        rule = "The whole answer has to be" if self.full else "Every answer has to contain"
        return found(
            self.name,
            rollout,
            0.0,
            f"{_got(rollout)} {where} {wanted}",
            label="no_match",
            suggestion=f"{rule} {self.meaning.rstrip('.')}." if self.meaning else None,
        )


def _stands_in(needle: str, text: str) -> bool:
    return re.search(rf"(?<!\w){re.escape(needle)}(?!\w)", text) is not None


def _got(rollout: Rollout) -> str:
    return quote(rollout.output) if rollout.output.strip() else "an empty text"
