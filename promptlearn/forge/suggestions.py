"""Reads suggested changes: what stands in a ```` ```suggestion ```` block, and which lines of the diff it replaces.

Knows fences as CommonMark has them (https://spec.commonmark.org/0.31.2/#fenced-code-blocks) and unified diffs. GitHub
writes the block without a range: it replaces the lines that are commented on. GitLab's `suggestion:-2+1` counts from
there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from promptlearn.comments import Suggestion

_OPENING = re.compile(r" {0,3}(`{3,}|~{3,})[ \t]*(.*?)[ \t]*$")
_INFO = re.compile(r"suggestion(?::-(\d+)\+(\d+))?", re.IGNORECASE)
_HEADER = re.compile(r"@@ -\d+(?:,\d+)? \+(\d+)(?:,\d+)? @@")


def read_suggestions(
    body: str, hunk: str = "", first: int | None = None, last: int | None = None
) -> tuple[Suggestion, ...]:
    """The suggestions in a comment on lines `first` to `last` (line numbers of the new file) of a diff's hunk."""
    lines = new_lines(hunk)
    found = []
    for info, content in _fences(body):
        match = _INFO.fullmatch(info)
        if match is None:
            continue
        before = None
        if last is not None:
            above, below = int(match[1] or 0), int(match[2] or 0)
            numbers = range((last if first is None else first) - above, last + below + 1)
            shown = [lines.get(number) for number in numbers]
            before = None if None in shown else "".join(f"{line}\n" for line in shown)
        found.append(Suggestion(after="".join(f"{line}\n" for line in content), before=before))
    return tuple(found)


def new_lines(hunk: str) -> dict[int, str]:
    """Line number in the new file → the line, for every line that a hunk shows of it."""
    header, *rest = hunk.split("\n")
    match = _HEADER.match(header)
    if match is None:
        return {}
    number = int(match[1])
    shown = {}
    for line in rest:
        if line.startswith((" ", "+")) or line == "":
            shown[number] = line[1:].removesuffix("\r")
            number += 1
    return shown


def _fences(body: str) -> Iterator[tuple[str, list[str]]]:
    """Info string and lines of each fenced block; one that is never closed reaches to the end."""
    lines = iter(re.split(r"\r\n|\r|\n", body))
    for line in lines:
        opening = _OPENING.fullmatch(line)
        if opening is None or (opening[1][0] == "`" and "`" in opening[2]):
            continue
        closing = re.compile(rf" {{0,3}}{re.escape(opening[1])}{re.escape(opening[1][0])}*[ \t]*")
        content = []
        for inner in lines:
            if closing.fullmatch(inner):
                break
            content.append(inner)
        yield opening[2], content
