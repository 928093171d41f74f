"""Shortens text for judges and for their explanations, and always says so.

Knows strings, nothing else. What is cut is marked, so that nobody takes a part for the whole.
"""

import json
import re


def cut_middle(text: str, limit: int) -> str:
    """`text` with at most `limit` of its characters: the first and the last, with a mark that counts the others."""
    if len(text) <= limit:
        return text
    head = (limit + 1) // 2
    tail = limit - head
    return f"{text[:head]}\n[… {len(text) - limit:,} characters left out …]\n{text[len(text) - tail :]}"


def cut_around(text: str, limit: int, matters: re.Pattern[str]) -> str:
    """As `cut_middle`, with half of the room for what stands around the first thing in the middle that matters."""
    if len(text) <= limit:
        return text
    side = limit // 4
    found = matters.search(text, side, len(text) - side)
    if found is None:
        return cut_middle(text, limit)
    half = limit - 2 * side
    start = max(side, min(found.start() - half // 4, len(text) - side - half))
    end = start + half
    gaps = start - side, len(text) - side - end
    parts = text[:side], text[start:end], text[len(text) - side :]
    marks = [f"\n[… {gap:,} characters left out …]\n" if gap else "" for gap in gaps]
    return f"{parts[0]}{marks[0]}{parts[1]}{marks[1]}{parts[2]}"


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
