"""What stands in two splits (invariant 5): groups, equal inputs, near-duplicates. Knows examples; no files.

Near-duplicates are texts whose sets of three-word runs have a Jaccard similarity of at least 0.8. Two such sets must
share one of their few smallest hashes (prefix filter: Bayardo, Ma and Srikant, "Scaling up all pairs similarity
search", WWW 2007), so an inverted index over those finds the pairs without comparing all with all. Time is bounded by
three caps, each of which can hide a pair but never invents one: the first `_MOST_WORDS` words of a text count, a run
that more than `_MOST_POSTINGS` texts share is passed over, and a text is compared with at most `_MOST_CANDIDATES`.
"""

import math
import re
import unicodedata
import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from promptlearn.dataset.loading import Dataset
from promptlearn.dataset.values import as_key
from promptlearn.records import SPLITS, Example, Split

SIMILAR = 0.8
_RUN = 3
_MOST_WORDS = 200
_MOST_POSTINGS = 50
_MOST_CANDIDATES = 20
_WORD = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Leak:
    """Two examples of different splits that tell the same."""

    kind: Literal["group", "inputs", "near"]
    ids: tuple[str, str]
    splits: tuple[Split, Split]
    similarity: float = 1.0
    """Jaccard similarity of three-word runs; 1 for groups and equal inputs."""
    group: str | None = None

    def __str__(self) -> str:
        what = {"group": f"group '{self.group}'", "inputs": "the same inputs", "near": f"{self.similarity:.0%} alike"}
        return f"{what[self.kind]}: {self.ids[0]} in {self.splits[0]}, {self.ids[1]} in {self.splits[1]}"


@dataclass(frozen=True, slots=True)
class _Text:
    example: Example
    split: Split
    words: str
    """Lower-case words of all inputs with single blanks between."""


def find_leaks(dataset: Dataset) -> list[Leak]:
    """Leaks between splits: each group and each normalised input once per pair of splits, then near-duplicates.

    A text is reported as a near-duplicate at most once, with the most similar one of an earlier split. Leaks of the
    kinds `group` and `inputs` break the separation of splits; `near` is for people to look at.
    """
    texts = [_Text(example, name, _normalised(example)) for name in SPLITS for example in dataset.split(name)]
    return [*_shared_groups(texts), *_equal_inputs(texts), *_near_duplicates(texts)]


def _normalised(example: Example) -> str:
    text = "\n".join(as_key(value) for value in example.inputs.values())
    words = _WORD.findall(unicodedata.normalize("NFKC", text).casefold())
    return " ".join(words) if words else text


def _shared_groups(texts: list[_Text]) -> Iterator[Leak]:
    grouped = ((text.example.group, text) for text in texts if text.example.group is not None)
    for group, one, other in _across(grouped):
        yield Leak("group", (one.example.id, other.example.id), (one.split, other.split), group=group)


def _equal_inputs(texts: list[_Text]) -> Iterator[Leak]:
    for _, one, other in _across((text.words, text) for text in texts):
        yield Leak("inputs", (one.example.id, other.example.id), (one.split, other.split))


def _across(keyed: Iterator[tuple[str, _Text]]) -> Iterator[tuple[str, _Text, _Text]]:
    """For each key that stands in several splits: the key, and its first text in the first and in each later one."""
    places: dict[str, dict[Split, _Text]] = defaultdict(dict)
    for key, text in keyed:
        places[key].setdefault(text.split, text)
    for key, by_split in places.items():
        first, *others = by_split.values()
        for other in others:
            yield key, first, other


def _near_duplicates(texts: list[_Text]) -> Iterator[Leak]:
    found = _candidates(texts)
    for text, others in zip(texts, found, strict=True):
        leaks = [_compared(texts[other], text) for other in others]
        best = max(leaks, default=None, key=lambda leak: leak.similarity)
        if best is not None and best.similarity >= SIMILAR:
            yield best


def _compared(one: _Text, other: _Text) -> Leak:
    mine, theirs = _word_runs(one.words), _word_runs(other.words)
    similarity = len(mine & theirs) / len(mine | theirs)
    return Leak("near", (one.example.id, other.example.id), (one.split, other.split), similarity)


def _candidates(texts: list[_Text]) -> Iterator[list[int]]:
    """For each text, those of earlier splits that share a rare run with it, the most shared runs first.

    The index is three flat arrays (four bytes a run each), because a dict of lists would take a gigabyte for long rows.
    """
    import numpy as np

    starts, runs = array("Q", [0]), array("I")
    for text in texts:
        runs.extend(_prefix(_word_runs(text.words)))
        starts.append(len(runs))
    keys = np.array(runs, dtype=np.uint32)
    order = np.argsort(keys, kind="stable")
    bounds = np.array(starts, dtype=np.int64)
    owners = np.repeat(np.arange(len(texts), dtype=np.uint32), bounds[1:] - bounds[:-1])[order]
    lows = np.searchsorted(keys[order], keys, side="left")
    highs = np.searchsorted(keys[order], keys, side="right")
    for at, text in enumerate(texts):
        own = range(starts[at], starts[at + 1])
        shared = [owners[lows[i] : highs[i]].tolist() for i in own if 1 < highs[i] - lows[i] <= _MOST_POSTINGS]
        votes = Counter(other for others in shared for other in others if other < at)
        earlier = [i for i, _ in votes.most_common() if texts[i].split != text.split and texts[i].words != text.words]
        yield earlier[:_MOST_CANDIDATES]


def _prefix(runs: frozenset[int]) -> list[int]:
    return sorted(runs)[: len(runs) - math.ceil(SIMILAR * len(runs)) + 1]


def _word_runs(words: str) -> frozenset[int]:
    """Hashes of all runs of three words; of the whole text where it has fewer."""
    parts = words.split(" ", _MOST_WORDS)[:_MOST_WORDS]
    if len(parts) < _RUN:
        return frozenset({zlib.crc32(words.encode())})
    return frozenset(zlib.crc32(" ".join(run).encode()) for run in zip(parts, parts[1:], parts[2:], strict=False))
