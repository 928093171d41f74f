"""Makes text from outside fit to stand in a prompt as one rule: plain words on one line, nothing hidden (invariant 9).

Knows nothing about where the text comes from, nor whether it is good advice. The contract is checked elsewhere and
has the last word; this only keeps an honest comment from failing there because of its markup.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

from promptlearn.hidden import visible
from promptlearn.variables import substitute

MAX_RULE_LENGTH = 400
"""Characters that one rule may have."""

_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_FENCE_LINE = re.compile(r"^[ \t]*(?:```|~~~)[^\n]*$", re.MULTILINE)
_QUOTED_LINE = re.compile(r"^[ \t]*>[^\n]*$", re.MULTILINE)
# Bounded, because a text of nothing but their first characters would take time that grows with the square of it.
_LINK = re.compile(r"!?\[([^\]]{0,400})\](?:\([^)]{0,2000}\)|\[[^\]]{0,400}\])")
_AUTOLINK = re.compile(r"<(?:[a-z][a-z0-9+.-]{0,30}:[^>\s]{0,2000}|[^<>\s@]{1,300}@[^>\s]{1,300})>", re.IGNORECASE)
_URL = re.compile(r"\b(?:[a-z][a-z0-9+.-]{0,30}://|www\.)[^\s<>\"')\]]+", re.IGNORECASE)
_CODE = r"(`[^`\n]*`)|"
"""What stands in back-ticks is no markup: a rule may be about a tag."""
_INLINE_TAG = re.compile(
    _CODE + r"</?(?:a|abbr|b|big|code|del|em|font|i|ins|kbd|q|s|samp|small|span|strike|strong|style|sub|sup|tt|u|var)\b"
    r"[^<>]*>",
    re.IGNORECASE,
)
_BLOCK_TAG = re.compile(
    _CODE
    + r"</?(?:blockquote|br|center|dd|details|div|dl|dt|h[1-6]|hr|iframe|img|li|ol|p|picture|pre|script|source|summary"
    r"|svg|table|tbody|td|tfoot|th|thead|tr|ul|video)\b[^<>]*>",
    re.IGNORECASE,
)
_MARKER = re.compile(r"\A(?:[-*+•]|\d{1,3}[.)])\s+")
_SAME = re.compile(r"[\W_]+")


def as_rule(text: str, variables: Collection[str] = ()) -> str:
    """`text` as one rule of at most `MAX_RULE_LENGTH` characters; empty where nothing is left to say.

    HTML comments, quoted lines, tags (but for those in back-ticks) and invisible characters go; links and images leave
    their words; a variable of the prompt becomes its bare name, so that no rule asks for another copy of the input.
    """
    text = _COMMENT.sub(" ", visible(text))
    text = _QUOTED_LINE.sub(" ", _FENCE_LINE.sub(" ", text))
    text = _URL.sub(" ", _AUTOLINK.sub(" ", _LINK.sub(r"\1", text)))
    text = _BLOCK_TAG.sub(lambda match: match[1] or " ", _INLINE_TAG.sub(r"\1", text))
    text = substitute(text, {name: name for name in variables})
    text = _MARKER.sub("", " ".join(text.split()))
    return _cut(text) if _SAME.sub("", text) else ""


def _cut(text: str) -> str:
    if len(text) <= MAX_RULE_LENGTH:
        return text
    head = text[: MAX_RULE_LENGTH - 1]
    sentence = max(head.rfind(mark) for mark in (". ", "! ", "? ", "。", "！", "？"))
    if sentence >= MAX_RULE_LENGTH // 2:
        return head[: sentence + 1]
    return (head.rpartition(" ")[0] or head).rstrip(" ,;:") + "…"


def normalised(text: str) -> str:
    """Lower-case words with single spaces: what two wordings of the same text have in common."""
    return _SAME.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()


def says(prompt_text: str, rule: str) -> bool:
    """Whether the prompt already contains the rule, whatever its case and punctuation."""
    return f" {normalised(rule)} " in f" {normalised(prompt_text)} "
