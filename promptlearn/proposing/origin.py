"""Which mistakes and reviews a rule was written for, told by the words that they share.

Knows failure modes, reviews and texts; asks no model.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from math import fsum, log

from promptlearn.proposing.wording import normalised
from promptlearn.records import FailureMode, Review
from promptlearn.words import is_spaceless, words_in

_CLEAR = 0.5
"""Share of the telling words of a rule that a mode must have, to be named without the others."""
_TELLING = 4
"""Letters of a word from which it says something about a review, which is short."""


def origin(rule: str, modes: Sequence[FailureMode], reviews: Sequence[Review] = ()) -> tuple[str, ...]:
    """Ids of the examples, and addresses of the reviews, behind a rule.

    Of the modes, those that share most of its telling words; of the reviews, those that it says again. Where neither
    can be told, all modes; all reviews where there is no mode. Telling are the words that stand in some of them only,
    so that the words of the task itself prove nothing.
    """
    of_modes = [_words(" ".join((m.title, m.expected, *m.suggestions, *m.evidence))) for m in modes]
    of_reviews = [_words(f"{review.body} {review.suggestion or ''}") for review in reviews]
    seen = Counter(word for words in (*of_modes, *of_reviews) for word in words)
    weights = {word: log((len(modes) + len(reviews)) / count) for word, count in seen.items()}
    told = [review for review, says in zip(reviews, _say(rule, of_reviews, weights), strict=True) if says]
    telling = {word for word in _words(rule) if weights.get(word)}
    shared = [len(telling & words) for words in of_modes]
    most = max(shared, default=0)
    if most and most >= _CLEAR * len(telling):
        named = [mode for mode, count in zip(modes, shared, strict=True) if count == most]
    else:
        named = [] if told else [*modes]
    if not named and not told:
        told = [*reviews]
    ids = [id_ for mode in named for id_ in mode.examples]
    return tuple(dict.fromkeys([*ids, *(name for one in told for name in (one.url or one.id, *one.sources))]))


def _say(rule: str, reviews: Sequence[set[str]], weights: Mapping[str, float]) -> list[bool]:
    """Whether each review says what the rule says: it shares half of the rule's words, or the rule half of its, and no
    other review shares more than twice as much. A word weighs more the fewer have it.
    """

    def weight(words: set[str]) -> float:
        return fsum(weights.get(word, 0.0) for word in words if len(word) >= _TELLING or is_spaceless(word))

    said = _words(rule)
    shared = [weight(said & words) for words in reviews]
    least = _CLEAR * max(shared, default=0.0)
    bounds = [max(least, _CLEAR * min(weight(said), weight(words))) for words in reviews]
    return [0 < own >= bound for own, bound in zip(shared, bounds, strict=True)]


def _words(text: str) -> set[str]:
    return set(words_in(normalised(text)))
