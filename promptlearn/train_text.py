"""What the train split says, and where a prompt copies it instead of learning from it (a part of invariant 6).

    TrainText(dataset.train).copied("My card is lost -> lost_card. Be kind.")   # ["My card is lost -> lost_card"]

Knows words and examples; no files, no models. A copy is, whatever its case and punctuation,

* more than `SPAN` words in a row of an input or a right answer;
* a shorter one as a whole, if it has `LEAST_WORDS` words and `WHOLE` characters at least;
* such an input of `BESIDE` characters at least, where it stands beside its own right answer.

Names are no copies: the answers of a task whose answers are labels, however long they are; short answers in general,
where more than one in ten repeats another; and a short input from a column of labels (a channel, a product).

A letter of a script without spaces between words is a word of its own, and `SPAN` counts two of them as one.
"""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from promptlearn.labels import as_labels
from promptlearn.records import Example, Json, Prompt, as_text
from promptlearn.words import SPACELESS

if TYPE_CHECKING:
    import numpy as np

    Hashes: TypeAlias = np.ndarray[tuple[int], np.dtype[np.int64]]

Words: TypeAlias = tuple[str, ...]

SPAN = 12
WHOLE = 20
BESIDE = 10
LEAST_WORDS = 3
"""One word or two are a term."""
GAP = 3
"""Words that may stand between an input and its answer: `“…” has the label …`."""
DISTINCT = 0.9
"""Part of a column's short answers that has to be distinct: else they are names."""

_STARTS_SPACELESS = re.compile(f"[{SPACELESS}]")
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+(?:_+[A-Za-z0-9]+)*")


class _Copy(NamedTuple):
    first: int
    """Number of its first word."""
    end: int
    """Number of the word behind its last."""
    words: tuple[Words, ...]
    """What is copied: a span, or an input and its answer."""


class TrainText:
    """An index of the train split: made once, asked about every draft."""

    def __init__(self, examples: Sequence[Example]) -> None:
        import numpy as np

        self._sizes: set[int] = set()
        """Numbers of words of what counts as a copy wherever it stands,"""
        self._short_sizes: set[int] = set()
        """and of what counts beside its answer."""
        self._answers: dict[Words, set[Words]] = {}
        """Short input → answers."""
        self._spans: Hashes = np.fromiter(self._read(examples), dtype=np.int64)
        """Sorted hashes of what counts as a copy wherever it stands: a tenth of the memory that a set would take."""
        self._spans.sort()

    def copied(self, text: str, *allowed: str) -> list[str]:
        """Spans of `text`, as they stand there, that are copies; what an `allowed` text copies too does not count."""
        matches = list(_word(text).finditer(text))
        found = sorted(self._copies([_same(match[0]) for match in matches]))
        known = {copy.words for other in allowed for copy in self._copies(_words(other))} if found else set()
        stretches: list[tuple[int, int]] = []
        for copy in found:
            if copy.words in known:
                continue
            if stretches and copy.first < stretches[-1][1]:
                first, end = stretches.pop()
                stretches.append((first, max(end, copy.end)))
            else:
                stretches.append((copy.first, copy.end))
        return [text[matches[first].start() : matches[end - 1].end()] for first, end in stretches]

    def copied_by(self, draft: Prompt, *known: Prompt) -> list[str]:
        """Spans of the draft's text and rules that are copies, and that no `known` prompt has. Demonstrations are
        copies on purpose, and are not looked at.
        """
        own = "\n".join([draft.text, *(rule.text for rule in draft.rules)])
        return self.copied(own, *map(_everything, known))

    def _read(self, examples: Sequence[Example]) -> Iterator[int]:
        """Hashes of what counts as a copy wherever it stands; fills the rest of the index on the way."""
        columns: dict[tuple[str, ...], list[tuple[Example, str]]] = defaultdict(list)
        for example in examples:
            for name, value in example.inputs.items():
                for column, text in _texts(("inputs", name), value):
                    columns[column].append((example, text))
            for column, text in _texts(("expected",), example.expected):
                columns[column].append((example, text))
        for column, values in columns.items():
            texts = [text for _, text in values]
            labels, asked = bool(as_labels(texts)), column[0] == "inputs"
            if labels and not asked:
                continue
            whole = not labels if asked else len(set(texts)) >= DISTINCT * len(texts)
            for example, text in values:
                words = _words(text)
                size = _span(words) + 1
                if len(words) >= size:
                    self._sizes.add(size)
                    yield from map(hash, _runs(words, size))
                elif whole and len(words) >= LEAST_WORDS and (length := len(" ".join(words))) >= BESIDE:
                    if length >= WHOLE:
                        self._sizes.add(len(words))
                        yield hash(tuple(words))
                    elif asked:
                        self._short_sizes.add(len(words))
                        self._answers.setdefault(tuple(words), set()).update(_answers(words, example.expected))

    def _copies(self, words: list[str]) -> Iterator[_Copy]:
        import numpy as np

        for size in self._sizes:
            runs = list(_runs(words, size))
            hashes = np.fromiter(map(hash, runs), dtype=np.int64, count=len(runs))
            places = np.searchsorted(self._spans, hashes).clip(max=len(self._spans) - 1)
            for first in np.flatnonzero(self._spans[places] == hashes).tolist():
                yield _Copy(first, first + size, (runs[first],))
        for size in self._short_sizes:
            for first, run in enumerate(_runs(words, size)):
                for answer in self._answers.get(run, ()):
                    yield from _pairs(words, first, first + size, answer)


def _answers(words: list[str], expected: Json) -> Iterator[Words]:
    """What makes a pair with an input of these words; an answer that it only spells out (`lost_card`) does not."""
    for _, text in _texts((), expected):
        answer = tuple(_words(text))
        if answer and "_".join(answer).split("_") != words:
            yield answer


def _pairs(words: list[str], first: int, end: int, answer: Words) -> Iterator[_Copy]:
    """The input at `first` with its answer, where that stands close behind it or in front of it."""
    length = len(answer)
    for gap in range(GAP + 1):
        if tuple(words[end + gap : end + gap + length]) == answer:
            yield _Copy(first, end + gap + length, (tuple(words[first:end]), answer))
        start = first - gap - length
        if start >= 0 and tuple(words[start : start + length]) == answer:
            yield _Copy(start, end, (answer, tuple(words[first:end])))


def _texts(column: tuple[str, ...], value: Json) -> Iterator[tuple[tuple[str, ...], str]]:
    """A value as it stands in a prompt, and each text within it, with the column that it belongs to."""
    if value is None:
        return
    yield column, as_text(value)
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _texts((*column, key), inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts((*column, "[]"), inner)


def _everything(prompt: Prompt) -> str:
    """All that a prompt says, demonstrations left out."""
    around = [prompt.layout.before, prompt.layout.after]
    return "\n".join([*around, *(m.content for m in prompt.messages), *(rule.text for rule in prompt.rules)])


def _span(words: list[str]) -> int:
    """How many words in a row may be the same; letters count by twos where they are most of the words."""
    spaceless = 0 if all(map(str.isascii, words)) else sum(1 for word in words if _STARTS_SPACELESS.match(word))
    return 2 * SPAN if 2 * spaceless > len(words) else SPAN


def _words(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    return list(map(_same, _word(text).findall(text)))


def _same(word: str) -> str:
    """What two ways to write a word have in common."""
    return word.lower() if word.isascii() else unicodedata.normalize("NFKC", word).casefold()


def _word(text: str) -> re.Pattern[str]:
    return _ASCII_WORD if text.isascii() else _any_word()


@cache
def _any_word() -> re.Pattern[str]:
    """A letter of a script without spaces, or letters and digits in a row; marks belong to the letter before them."""
    marks = "".join(char for char in map(chr, range(0x300, 0x10000)) if unicodedata.category(char)[0] == "M")
    letter = rf"[^\W_{SPACELESS}]"
    return re.compile(rf"(?=\w)[{SPACELESS}][{marks}]*|{letter}(?:{letter}+|[{marks}]+|_+(?={letter}))*")


def _runs(words: list[str], size: int) -> Iterator[Words]:
    return zip(*(words[offset:] for offset in range(size)), strict=False)
