"""LabelSet: is the answer exactly one of the known labels, and the right one?

Knows labels and examples, nothing about models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from promptlearn.errors import ConfigError, DataError
from promptlearn.judging.checks import most_frequent, need_expected
from promptlearn.judging.excerpt import counted, listing, quote
from promptlearn.judging.finding import found
from promptlearn.judging.normal import normalise
from promptlearn.records import Example, Rollout, Verdict, as_text


@dataclass(frozen=True, slots=True)
class LabelSet:
    """Scores 1 for an answer that is the expected label (after `normalise`) and nothing else, 0 otherwise.

    The verdict's label is for machines: `right`, `wrong:shipping→billing` (expected → given), or `not_a_label`.
    """

    labels: Sequence[str]
    name: str = "label_set"
    _known: Mapping[str, str] = field(init=False, repr=False, compare=False)
    """Normalised label → label as it was given."""

    def __post_init__(self) -> None:
        labels = () if isinstance(self.labels, str) else tuple(dict.fromkeys(self.labels))
        if not labels:
            raise ConfigError(
                f"judge {self.name} needs labels: give `labels: [a, b]`, or examples with expected answers"
            )
        known: dict[str, str] = {}
        for label in labels:
            same = known.setdefault(normalise(label), label)
            if same != label:
                raise ConfigError(
                    f"judge {self.name}: labels {same!r} and {label!r} differ in case or punctuation only"
                )
        if "" in known:
            raise ConfigError(f"judge {self.name}: an empty text can not be a label")
        object.__setattr__(self, "labels", labels)
        object.__setattr__(self, "_known", known)

    def check(self, examples: Sequence[Example]) -> None:
        """Raises `DataError` for expected answers that are missing or that are none of the labels."""
        need_expected(self.name, examples)
        unknown = [as_text(e.expected) for e in examples if normalise(as_text(e.expected)) not in self._known]
        if unknown:
            raise DataError(
                f"judge {self.name} does not know the expected label {most_frequent(unknown)}; "
                f"it knows {listing(sorted(self.labels))}; correct the examples or add to `labels`"
            )

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        self.check([example])
        expected = self._known[normalise(as_text(example.expected))]
        given = self._known.get(normalise(rollout.output))
        if given is None:
            return self._not_a_label(expected, rollout)
        if given == expected:
            return found(self.name, rollout, 1.0, f"got `{given}`, as expected", label="right")
        explanation = f"expected `{expected}`, got `{given}`"
        return found(self.name, rollout, 0.0, explanation, label=f"wrong:{expected}→{given}")

    def _not_a_label(self, expected: str, rollout: Rollout) -> Verdict:
        text = f" {normalise(rollout.output)} "
        mentioned = [label for key, label in self._known.items() if key in text]
        hint = f" (it mentions {listing([f'`{label}`' for label in mentioned], 3)})" if mentioned else ""
        got = quote(rollout.output) if rollout.output.strip() else "an empty text"
        return found(
            self.name,
            rollout,
            0.0,
            f"expected `{expected}`, got {got}: not one of the {counted(len(self.labels), 'label')}{hint}",
            label="not_a_label",
            suggestion=f"Answer with exactly one of these labels and nothing else: {', '.join(sorted(self.labels))}.",
        )
