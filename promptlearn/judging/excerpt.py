"""Shortens text for judges and for their explanations, and always says so.

Knows strings, nothing else. What is cut or taken out is marked, so that nobody takes a part for the whole.
"""

import json
import re
from collections.abc import Sequence

from promptlearn.hidden import visible
from promptlearn.redaction import redact

_MOST_WINDOWS = 3
_LEAST_WINDOW = 80
"""Characters in which an error can be read."""


def as_seen(text: str, secrets: Sequence[str] = ()) -> str:
    """`text` without secrets, and as a reader sees it: what only a model would read may be meant for the judge.

    Secrets go last: a hidden character in the middle of a key would hide it from whoever looks for keys.
    """
    seen = visible(text)
    hidden = len(text) - len(seen)
    shown = redact(seen, secrets)
    return f"{shown}\n[… {hidden:,} hidden characters taken out …]" if hidden else shown


def cut_middle(text: str, limit: int) -> str:
    """`text` with at most `limit` of its characters: the first and the last, with a mark that counts the others."""
    if len(text) <= limit:
        return text
    head = (limit + 1) // 2
    tail = limit - head
    return _spans(text, [(0, head), (len(text) - tail, len(text))])


def cut_around(text: str, limit: int, matters: re.Pattern[str]) -> str:
    """As `cut_middle`, with half of the room for windows around things in the middle that matter.

    One window where it shows them all, up to three where they stand apart: around the first, the last and one between.
    """
    if len(text) <= limit:
        return text
    side = limit // 4
    behind = len(text) - side
    found = [match.start() for match in matters.finditer(text) if match.end() > side and match.start() < behind]
    if not found:
        return cut_middle(text, limit)
    starts, size = _windows(found, limit - 2 * side)
    clipped = [max(side, min(start, behind - size)) for start in starts]
    return _spans(text, [(0, side), *((start, start + size) for start in clipped), (behind, len(text))])


def _windows(found: Sequence[int], room: int) -> tuple[list[int], int]:
    """Where to open windows, and how long each is: as few as have every place in their middle half."""
    starts: list[int] = []
    count = size = 0
    while count < max(1, min(_MOST_WINDOWS, room // _LEAST_WINDOW)) and (not count or len(starts) > count):
        count += 1
        size = room // count
        starts = []
        for at in found:
            if not starts or at >= starts[-1] + size - size // 4:
                starts.append(at - size // 4)
    last = len(starts) - 1
    return [starts[last * number // max(count - 1, 1)] for number in range(count)], size


def _spans(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """These parts of `text`, in their order, with a mark for each gap."""
    shown, seen = "", 0
    for start, end in spans:
        if start > seen:
            shown += f"\n[… {start - seen:,} characters left out …]\n"
        shown += text[max(start, seen) : end]
        seen = end
    return shown


def cut_end(text: str, limit: int) -> str:
    """The first `limit` characters of `text`, with a mark that counts the others."""
    return text if len(text) <= limit else f"{text[:limit].rstrip()} [… {len(text) - limit:,} characters left out]"


def quote(text: str, limit: int = 80) -> str:
    """One line in single quotes for an explanation; `…` before the closing quote where it was cut."""
    line = " ".join(text[: 4 * limit].split())
    cut = len(line) > limit or len(text) > 4 * limit
    return f"'{line[:limit].rstrip()}…'" if cut else f"'{line}'"


def code(value: object, limit: int = 80) -> str:
    """A wanted value in backticks, cut like `quote`."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    line = " ".join(text.split()) if text.strip() else text
    return f"`{line[:limit].rstrip()}…`" if len(line) > limit else f"`{line}`"


def listing(items: tuple[str, ...] | list[str], limit: int = 12) -> str:
    """`a, b, c`, or the first `limit` of them and how many more there are."""
    more = f" and {len(items) - limit} more" if len(items) > limit else ""
    return ", ".join(items[:limit]) + more


def counted(number: int, noun: str) -> str:
    """`six labels`, `one label`, `23 labels`."""
    words = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
    word = words[number] if number < len(words) else f"{number:,}"
    return f"{word} {noun}{'' if number == 1 else 's'}"
