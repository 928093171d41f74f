"""How alike short texts are: TF-IDF vectors over words and character n-grams, and which of them stand for the rest.

Knows nothing about prompts, examples or labels. Needs scipy, and no language model.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np

    Matrix: TypeAlias = np.ndarray[Any, np.dtype[np.float64]]

_WORD = re.compile(r"\w+")
_GRAM_SIZES = (3, 4, 5)


def similarities(texts: Sequence[str]) -> Matrix:
    """Cosines between all pairs of texts, shape (n, n), each 0 to 1; a text without a word is like none.

    Weights are sublinear TF-IDF, `(1 + ln tf) · (1 + ln((1 + n) / (1 + df)))`, of words and of the character
    n-grams within them, so that spelling mistakes and inflections count little.
    """
    from scipy.sparse import csr_array

    counts = [Counter(_features(text)) for text in texts]
    frequency = Counter(feature for count in counts for feature in count)
    column = {feature: i for i, feature in enumerate(frequency)}
    data: list[float] = []
    columns: list[int] = []
    starts = [0]
    for count in counts:
        weights = [(1 + math.log(tf)) * _idf(len(texts), frequency[name]) for name, tf in count.items()]
        norm = math.sqrt(sum(weight * weight for weight in weights)) or 1.0
        data += [weight / norm for weight in weights]
        columns += [column[name] for name in count]
        starts.append(len(data))
    rows = csr_array((data, columns, starts), shape=(len(texts), max(1, len(column))))
    return (rows @ rows.T).toarray()


def _idf(n: int, df: int) -> float:
    return 1 + math.log((1 + n) / (1 + df))


def _features(text: str) -> Iterator[str]:
    for word in _WORD.findall(text.casefold()):
        yield word
        padded = f" {word} "
        for size in _GRAM_SIZES:
            yield from (padded[i : i + size] for i in range(len(padded) - size + 1))


def representatives(likeness: Matrix, penalties: Sequence[float], count: int) -> list[int]:
    """The indices of `count` texts that stand for all of them, the best first.

    Greedy facility location: each pick is the text that adds most to the sum, over all texts, of the likeness to the
    nearest pick, less its own penalty (in units of mean likeness). `likeness` has shape (n, n).
    """
    import numpy as np

    n = len(penalties)
    covered = np.zeros(n)
    penalty = np.asarray(penalties, dtype=float)
    chosen: list[int] = []
    for _ in range(min(count, n)):
        gains = np.maximum(likeness - covered[:, None], 0.0).mean(axis=0) - penalty
        gains[chosen] = -np.inf
        best = int(np.argmax(gains))
        chosen.append(best)
        covered = np.maximum(covered, likeness[:, best])
    return chosen
