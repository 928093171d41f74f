"""Characters that a reader does not see and a model does: the one definition of them (invariants 6 and 9).

Knows Unicode and nothing about prompts or comments. Hidden are control characters (but for tab and line ends),
zero-width and bidirectional marks, tag characters, private use, lone surrogates, noncharacters, letters that show
nothing, and variation selectors. Three of these are part of honest writing, and are seen where they stand:

* a zero-width joiner between two emoji, and a joiner or non-joiner where Arabic and Indic scripts need one (UAX #31);
* U+FE0E and U+FE0F right behind a character that has two looks (an emoji, an arrow, a keycap's digit), once;
* an invisible character that Unicode counts as format but prints, such as the Arabic end of ayah.

The flag of a part of a country (U+1F3F4 with tag characters) is none of these: it becomes a black flag.
"""

import re
import unicodedata
from collections.abc import Iterator

_UNUSUAL = re.compile(r"[^\n\t\r\x20-\x7e]")
_FORMAT = frozenset({"Cc", "Cf", "Co", "Cs"})
_PRINTED = frozenset("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd")
"""Format characters that have a shape (Prepended_Concatenation_Mark)."""
_BLANK = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2028\u2029\u2065\u2800\u3164\uffa0\U0001d159"
)
"""Letters, marks and separators that show nothing."""
_TWO_LOOKS = frozenset("\u203c\u2049\u2139\u3030\u303d")
"""Characters with an emoji look that are neither symbols nor digits."""
_VIRAMA = 9
"""The combining class of the marks that a joiner follows in Indic scripts."""
_ZWNJ, _ZWJ, _TEXT_LOOK, _EMOJI_LOOK, _KEYCAP = "\u200c", "\u200d", "\ufe0e", "\ufe0f", "\u20e3"


def find_hidden(text: str) -> Iterator[int]:
    """Where hidden characters stand. What is around one is judged without those that were found before it."""
    before, last = "", -2
    for match in _UNUSUAL.finditer(text):
        at = match.start()
        if last != at - 1:
            before = text[at - 1 : at]
        if _is_hidden(text[at], before, text[at + 1 : at + 2]):
            last = at
            yield at


def visible(text: str) -> str:
    """`text` without its hidden characters. Idempotent."""
    kept, start = [], 0
    for at in find_hidden(text):
        kept.append(text[start:at])
        start = at + 1
    return "".join([*kept, text[start:]]) if start else text


def name_character(char: str) -> str:
    """A character for a message: `U+200B ZERO WIDTH SPACE`."""
    return f"U+{ord(char):04X} {unicodedata.name(char, 'control character')}"


def _is_hidden(char: str, before: str, after: str) -> bool:
    if char in (_ZWJ, _ZWNJ):
        return not _joins(char, before, after)
    if char in (_TEXT_LOOK, _EMOJI_LOOK):
        return not _has_two_looks(before, after)
    code = ord(char)
    if "\ufe00" <= char <= "\ufe0d" or "\U000e0000" <= char <= "\U000e0fff" or char in _BLANK:
        return True
    if code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF or 0xFFF0 <= code <= 0xFFF8:
        return True
    return unicodedata.category(char) in _FORMAT and char not in _PRINTED


def _joins(char: str, before: str, after: str) -> bool:
    if not before or not after or after in _BLANK:
        return False
    if char == _ZWJ and (_is_emoji(before) or before == _EMOJI_LOOK) and _is_emoji(after):
        return True
    letter = unicodedata.category(after) == "Lo"
    arabic = unicodedata.bidirectional(before) == unicodedata.bidirectional(after) == "AL"
    return letter and ((arabic and char == _ZWNJ) or unicodedata.combining(before) == _VIRAMA)


def _has_two_looks(before: str, after: str) -> bool:
    if not before:
        return False
    if before in "0123456789#*":
        return after == _KEYCAP
    return before in _TWO_LOOKS or unicodedata.category(before) in ("So", "Sm")


def _is_emoji(char: str) -> bool:
    return "\u2190" <= char <= "\u2bff" or "\U0001f000" <= char <= "\U0001faff"
