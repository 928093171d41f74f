"""Words of a text, also in scripts that put no spaces between them. Knows letters; no language."""

from __future__ import annotations

import re
from itertools import pairwise

SPACELESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3041-\u30fa\u30fc-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Thai, Lao, Burmese, Khmer, kana and Han, as a class of a regular expression has them."""
_WORD = re.compile(r"\w+")
_PART = re.compile(rf"[{SPACELESS}]+|[^\W{SPACELESS}]+")
_LETTERS = re.compile(f"[{SPACELESS}]+")


def count_words(text: str) -> int:
    """How many words there are between spaces; two letters of a script without spaces are one."""
    if text.isascii() or not _LETTERS.search(text):
        return len(text.split())
    return sum(map(_count, text.split()))


def words_in(text: str) -> list[str]:
    """The words of a text in order; of a script without spaces each two letters in a row."""
    if text.isascii():
        return _WORD.findall(text)
    return [word for part in _PART.findall(text) for word in (_pairs(part) if _LETTERS.match(part) else [part])]


def is_spaceless(word: str) -> bool:
    """Whether a word is of a script without spaces, where short words say as much as long ones."""
    return _LETTERS.match(word) is not None


def _count(piece: str) -> int:
    parts = [(len(part) + 1) // 2 if _LETTERS.match(part) else 1 for part in _PART.findall(piece)]
    return sum(parts) if _LETTERS.search(piece) else 1


def _pairs(letters: str) -> list[str]:
    return [one + other for one, other in pairwise(letters)] or [letters]
