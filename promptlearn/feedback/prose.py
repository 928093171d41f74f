"""What a comment says in sentences: its words without code blocks, quotes and marks.

Knows Markdown as sanitised comments have it, and where sentences end; nothing about what they mean.
"""

from __future__ import annotations

import re

from promptlearn.meaning import QUOTES

_BLOCK = re.compile(r"^[ \t>]*(```+|~~~+)[^\n]*\n(?:.*?^[ \t>]*\1[`~]*[ \t]*$|.*)", re.DOTALL | re.MULTILINE)
_QUOTED = re.compile(r"^[ \t]*>[^\n]*$", re.MULTILINE)
_LEFT = re.compile(r"\((?:link|image(?::[^()\n]*)?)\)")
"""What sanitising puts in the place of addresses and images."""
_CUT = "\x1a"
"""Stands in no sanitised text."""
_BULLET = re.compile(r"^[ \t]*(?:[-*+•]|\d{1,3}[.)]|#{1,6})[ \t]+", re.MULTILINE)
_EMPHASIS = re.compile(r"(?<!\w)(\*{1,3}|_{1,3}|~~)(?=\S)([^\n]*?\S)\1(?!\w)")
_ABBREVIATED = re.compile(r"\b(?:e\.g|i\.e|etc|vs|cf|ca|approx|incl|excl|resp|no|nr|mr|mrs|ms|dr|st|fig|sec)\.\Z", re.I)
_END = re.compile(r"[.!?…]+[\"'”’)\]]*(?=\s|\Z)")


def without_code(text: str) -> str:
    """The words of a comment: no code blocks, no quoted lines, no marks where links and images were."""
    return _LEFT.sub("", _QUOTED.sub("", _BLOCK.sub("", text)))


def sentences(text: str) -> list[str]:
    """The sentences of a comment, in order, each on one line. A line break in a paragraph ends none."""
    found: list[str] = []
    for paragraph in re.split(r"\n[ \t]*\n|\n(?=[ \t]*(?:[-*+•]|\d{1,3}[.)])[ \t])", without_code(text)):
        line = " ".join(_EMPHASIS.sub(r"\2", _BULLET.sub("", paragraph)).split())
        found += _split(line)
    return found


def cut_sentences(text: str) -> list[str]:
    """Those of `sentences` out of which sanitising took an address, as they are without it."""
    marked = _LEFT.sub(_CUT, _QUOTED.sub("", _BLOCK.sub("", text)))
    return [" ".join(said.replace(_CUT, "").split()) for said in sentences(marked) if _CUT in said]


def _split(line: str) -> list[str]:
    parts: list[str] = []
    hidden = QUOTES.sub(lambda match: "x" * len(match[0]), line)  # a full stop within quotes ends nothing
    start = 0
    for match in _END.finditer(hidden):
        rest = hidden[match.end() :].lstrip()
        if _ABBREVIATED.search(hidden[: match.end()]) and match[0] == ".":
            continue
        if rest[:1].islower() and match[0] in (".", "…", "..."):
            continue
        parts.append(line[start : match.end()].strip())
        start = match.end()
    return [part for part in [*parts, line[start:].strip()] if part]
