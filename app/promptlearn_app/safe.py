"""The one place where pages make HTML: every value is escaped, and text from outside is never Markdown.

Models, tables and reviewers write what they like; here it stays text (invariant 9). `say` and `problem` are for
sentences of ours with such text in them, `quote` and `diff_view` for the text itself.
"""

from __future__ import annotations

import difflib
import html
import re
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import ParamSpec

import streamlit as st

from promptlearn.errors import PromptlearnError

P = ParamSpec("P")

_PUNCTUATION = re.compile(r"([!-/:-@\[-`{-~])")
_TONES = {"good": "#0072B2", "bad": "#D55E00", "warn": "#E69F00", "calm": "#8A8F98"}
_STYLE = """<style>
.pl-diff {display: grid; grid-template-columns: 1fr 1fr; font-family: var(--font-mono, monospace); font-size: 0.82rem;
  border: 1px solid color-mix(in srgb, currentColor 18%, transparent); border-radius: 0.5rem; overflow: hidden}
.pl-diff.one {grid-template-columns: 1fr}
.pl-diff > div {padding: 0.1rem 0.6rem; white-space: pre-wrap; overflow-wrap: anywhere; min-height: 1.35rem}
.pl-diff > div:nth-child(2n) {border-left: 1px solid color-mix(in srgb, currentColor 18%, transparent)}
.pl-diff.one > div {border-left: none}
.pl-head {font-family: inherit; font-weight: 600; background: color-mix(in srgb, currentColor 7%, transparent)}
.pl-old {background: color-mix(in srgb, #D55E00 16%, transparent)}
.pl-new {background: color-mix(in srgb, #0072B2 18%, transparent)}
.pl-gone {background: color-mix(in srgb, currentColor 4%, transparent)}
.pl-skip {opacity: 0.6; grid-column: 1 / -1}
.pl-chip {display: inline-block; padding: 0.05rem 0.55rem; margin: 0 0.35rem 0.25rem 0; border-radius: 1rem;
  font-size: 0.82rem; border: 1px solid var(--tone); background: color-mix(in srgb, var(--tone) 14%, transparent)}
.pl-quote {white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.5rem 0.8rem; margin-bottom: 0.4rem;
  border-left: 3px solid color-mix(in srgb, currentColor 25%, transparent);
  background: color-mix(in srgb, currentColor 4%, transparent); border-radius: 0 0.4rem 0.4rem 0}
.pl-quote .pl-who {font-size: 0.8rem; opacity: 0.75; margin-bottom: 0.15rem; white-space: normal}
.pl-facts {display: grid; grid-template-columns: max-content 1fr; gap: 0.25rem 1.2rem; font-size: 0.95rem}
.pl-facts > :nth-child(odd) {opacity: 0.7}
.pl-facts > div {overflow-wrap: anywhere; white-space: pre-wrap}
</style>"""


def escaped(text: object) -> str:
    """For HTML; quotes too."""
    return html.escape(str(text), quote=True)


def plain(text: object) -> str:
    """For a Streamlit label or message: nothing in it is Markdown, a directive or a formula."""
    return _PUNCTUATION.sub(r"\\\1", " ".join(str(text).split()))


def style() -> None:
    """The classes that this module uses; once per page."""
    st.html(_STYLE)


def note(text: object) -> None:
    """A quiet line."""
    st.caption(plain(text))


def problem(text: object) -> None:
    st.error(plain(text), icon=":material/error:")


def shielded(show: Callable[P, None]) -> Callable[P, None]:
    """A page, or a part of it that is drawn on its own, in which what is wrong is one line."""

    @wraps(show)
    def shown(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            show(*args, **kwargs)
        except PromptlearnError as error:
            problem(error)

    return shown


def warn(text: object) -> None:
    st.warning(plain(text), icon=":material/warning:")


def good(text: object) -> None:
    st.success(plain(text), icon=":material/check:")


def busy(text: object) -> None:
    st.info(plain(text), icon=":material/autorenew:")


def heading(text: object) -> None:
    st.markdown(f"**{plain(text)}**")


def empty(title: str, what_to_do: str, command: str = "") -> None:
    """What a newcomer sees where nothing is yet."""
    with st.container(border=True, key=f"empty-{abs(hash(title)) % 10**8}"):
        st.markdown(f"**{plain(title)}**")
        st.markdown(plain(what_to_do))
        if command:
            st.code(command, language="bash")


def chips(labels: Iterable[tuple[str, str]]) -> None:
    """Small labels in a row: text and tone (`good`, `bad`, `warn`, `calm`)."""
    parts = (f'<span class="pl-chip" style="--tone: {_TONES[tone]}">{escaped(text)}</span>' for text, tone in labels)
    st.html(f"<div>{''.join(parts)}</div>")


def quote(text: object, who: object = "") -> None:
    """What somebody or something said."""
    by = f'<div class="pl-who">{escaped(who)}</div>' if who else ""
    st.html(f'<div class="pl-quote">{by}{escaped(text) or "<i>nothing</i>"}</div>')


def facts(pairs: Iterable[tuple[str, object]]) -> None:
    """Names and values under each other."""
    cells = (f"<div>{escaped(name)}</div><div>{escaped(value)}</div>" for name, value in pairs)
    st.html(f'<div class="pl-facts">{"".join(cells)}</div>')


def diff_view(old: str, new: str, names: tuple[str, str], side_by_side: bool = True, context: int = 4) -> None:
    """Two texts and what is different; signs say it as well as colours do."""
    rows = list(_diff_rows(old.splitlines(), new.splitlines(), context))
    if side_by_side:
        head = "".join(f'<div class="pl-head">{escaped(name)}</div>' for name in names)
        body = "".join(_pair(*row) for row in rows)
        st.html(f'<div class="pl-diff">{head}{body}</div>')
        return
    head = f'<div class="pl-head">{escaped(names[0])} → {escaped(names[1])}</div>'
    st.html(f'<div class="pl-diff one">{head}{"".join(_stacked(rows))}</div>')


_Line = tuple[str, str | None, str | None]
"""What a line is (`same`, `changed`, `skip`), as it was and as it is."""


def _diff_rows(old: Sequence[str], new: Sequence[str], context: int) -> Iterable[_Line]:
    matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
    for tag, a, b, c, d in matcher.get_opcodes():
        if tag == "equal":
            yield from _same(old[a:b], context, first=a == 0, last=b == len(old))
            continue
        left, right = list(old[a:b]), list(new[c:d])
        for index in range(max(len(left), len(right))):
            yield (
                "changed",
                left[index] if index < len(left) else None,
                right[index] if index < len(right) else None,
            )


def _same(lines: Sequence[str], context: int, first: bool, last: bool) -> Iterable[_Line]:
    """Unchanged lines near a change; the others are counted."""
    head, tail = (0 if first else context), (0 if last else context)
    if len(lines) <= head + tail + 2:
        yield from (("same", line, line) for line in lines)
        return
    yield from (("same", line, line) for line in lines[:head])
    yield ("skip", f"… {len(lines) - head - tail} unchanged lines", None)
    yield from (("same", line, line) for line in lines[len(lines) - tail :])


def _pair(kind: str, old: str | None, new: str | None) -> str:
    if kind == "skip":
        return f'<div class="pl-skip">{escaped(old)}</div>'
    if kind == "same":
        return f"<div>  {escaped(old)}</div><div>  {escaped(new)}</div>"
    left = f'<div class="pl-old">− {escaped(old)}</div>' if old is not None else '<div class="pl-gone"></div>'
    right = f'<div class="pl-new">+ {escaped(new)}</div>' if new is not None else '<div class="pl-gone"></div>'
    return left + right


def _stacked(rows: Sequence[_Line]) -> Iterable[str]:
    """Removed lines in front of those that came instead."""
    added: list[str] = []
    for kind, old, new in rows:
        if kind == "changed":
            if old is not None:
                yield f'<div class="pl-old">− {escaped(old)}</div>'
            if new is not None:
                added.append(f'<div class="pl-new">+ {escaped(new)}</div>')
            continue
        yield from added
        added = []
        yield f'<div class="pl-skip">{escaped(old)}</div>' if kind == "skip" else f"<div>  {escaped(old)}</div>"
    yield from added
