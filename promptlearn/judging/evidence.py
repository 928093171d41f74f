"""What happened on the way and what a command left behind, as text for a judge that is a language model.

Knows a rollout's evidence and turns; nothing about judges' files or models. Whatever is too long is cut around what
went wrong in it, with a mark, and short parts are shown whole before long ones are. Headings and the numbers of turns
stand at the margin and what is under them does not, so that a tool's result can not write the next turn.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

from promptlearn.judging.excerpt import cut_around
from promptlearn.records import Json, Rollout, Turn, as_text

T = TypeVar("T")

_ASKING = ("user", "system")
"""Roles of those who ask."""
_SURE = 3
"""Turns that are shown however long all are: the first, the last and the last in which something went wrong."""
_INDENT = "    "
_AFTER_MARK = re.compile(rf"^(\[… [\d,]+ characters left out …\]\n)(?!{_INDENT})", re.MULTILINE)
_MARK_ROOM = 64
"""Characters that a mark between turns may take."""
_CUT_ROOM = 160
"""Characters that the marks in one cut text may take."""

_TROUBLE = re.compile(
    r"(?<!(?<![\w.])0 )(?<!(?<![\w.])0 tests )(?<!\bno )(?<!\bno tests )(?<!\bwithout )"
    r"\b(?:errors?|exceptions?|traceback|fail(?:ed|ures?|s)?|fatal|panic|denied|refused|timed? ?out|not found|no such|"
    r"assert(?:ion)?|exit (?:code|status):? [1-9]|(?-i:\w+(?:Error|Exception)))\b(?!\s?[:=]\s?(?:0|none)\b)",
    re.IGNORECASE,
)
"""What a reader looks for first in a long trace. `0 failed`, `no errors` and `failures=0` are none of it."""


def evidence_text(rollout: Rollout, limit: int, clean: Callable[[str], str]) -> str:
    """Exit code, test results, errors and diff, in about `limit` characters; empty where there is none.

    `clean` takes secrets out; it sees each part before it is cut.
    """
    evidence = rollout.evidence
    parts = {
        "Exit code": str(evidence.get("exit_code", "")),
        "Standard error": str(evidence.get("stderr", "")),
        **_check(evidence.get("check")),
        "Diff": str(evidence.get("diff", "")) or ("(nothing was changed)" if "diff" in evidence else ""),
    }
    shown = {title: _INDENT + _hung(clean(text).strip()) for title, text in parts.items() if text.strip()}
    room = _shares({title: len(text) for title, text in shown.items()}, limit)
    return "\n\n".join(f"{title}:\n{_cut_to(room[title], text)}" for title, text in shown.items())


class Conversation(NamedTuple):
    """A rollout's turns as a judge sees them."""

    text: str
    turns: frozenset[int]
    """Numbers of the turns that are shown."""
    acted: str = ""
    """Of the text, what is not a user's or the system's words: those ask, and show nothing that was done."""


def took_steps(rollout: Rollout) -> bool:
    """Whether more happened than a single answer."""
    return len(rollout.turns) > 1 or any(turn.tool_calls for turn in rollout.turns)


def show_conversation(rollout: Rollout, limit: int, clean: Callable[[str], str]) -> Conversation:
    """The numbered turns with what their tools did, in about `limit` characters.

    Where they do not fit, whole turns are left out, and a mark says which: the first and the last stay, then those in
    which something went wrong with the turns around them, then what is nearest to the end. What is kept shares the
    room, and so do the parts of one turn.
    """
    turns = {number: [*_parts(number, turn, clean)] for number, turn in enumerate(rollout.turns, 1)}
    sizes = {number: sum(len(part) + 1 for part in parts) + 1 for number, parts in turns.items()}
    rooms = sizes
    if sum(sizes.values()) > limit:
        kept = _kept(_by_weight(turns), sizes, limit)
        gaps = sum(number not in kept and (number == 1 or number - 1 in kept) for number in turns)
        rooms = _shares({number: sizes[number] for number in kept}, limit - _MARK_ROOM * gaps)
    shown = {number: _in_room(turns[number], room) for number, room in rooms.items()}
    acted = "\n\n".join(text for number, text in shown.items() if rollout.turns[number - 1].role not in _ASKING)
    return Conversation("\n\n".join(_with_marks(sizes, shown)), frozenset(shown), acted)


def _parts(number: int, turn: Turn, clean: Callable[[str], str]) -> Iterator[str]:
    """What was said, and each call and its result, uncut: the first line at the margin, the others not."""
    named = turn.prompt and not turn.content.startswith(f"{turn.prompt}: ")
    who = f"{turn.role} ({turn.prompt})" if named else turn.role
    yield _hung(f"{number}. {clean(who)}: {clean(turn.content)}")
    for call in turn.tool_calls:
        yield _hung(clean(f"[{call.name} {as_text(dict(call.arguments))}]"))
        if call.result is not None:
            yield _hung(f"[result] {clean(call.result)}")


def _hung(text: str) -> str:
    """All lines but the first indented."""
    return f"\n{_INDENT}".join(text.splitlines())


def _by_weight(turns: Mapping[int, Sequence[str]]) -> list[int]:
    """Turn numbers, the most telling first."""
    last = len(turns)
    trouble = [number for number, parts in turns.items() if any(map(_TROUBLE.search, parts))]
    around = [near for number in reversed(trouble) for near in (number, number - 1, number + 1) if near in turns]
    return list(dict.fromkeys([1, last, *around, *range(last, 0, -1)]))


def _kept(order: Sequence[int], sizes: Mapping[int, int], limit: int) -> set[int]:
    """Those of `order` that fit, the first ones first, with a mark for each; long ones count as cut."""
    room = limit - _MARK_ROOM
    longest = max(_MARK_ROOM, room // min(_SURE, len(order)) - _MARK_ROOM)
    kept = set()
    for number in order:
        cost = min(sizes[number], longest) + _MARK_ROOM
        if cost <= room:
            kept.add(number)
            room -= cost
    return kept


def _in_room(parts: Sequence[str], room: int) -> str:
    """A turn in `room` characters; cut as one text where its parts are too many to be cut one by one."""
    whole = "\n".join(parts)
    if len(whole) <= room or room < 2 * _CUT_ROOM * len(parts):
        return _cut(whole, room)
    shares = _shares({at: len(part) for at, part in enumerate(parts)}, room - len(parts))
    return "\n".join(_cut(part, shares[at]) for at, part in enumerate(parts))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else _cut_to(max(room - _CUT_ROOM, room // 2), text)


def _cut_to(room: int, text: str) -> str:
    """What goes on in the middle of a line is indented, too."""
    return _AFTER_MARK.sub(rf"\1{_INDENT}", cut_around(text, room, _TROUBLE))


def _with_marks(sizes: Mapping[int, int], shown: Mapping[int, str]) -> Iterator[str]:
    gap: list[int] = []
    for number in [*sizes, 0]:
        if number and number not in shown:
            gap.append(number)
            continue
        if gap:
            which = f"turn {gap[0]}" if len(gap) == 1 else f"turns {gap[0]} to {gap[-1]}"
            yield f"[… {which} left out, {sum(sizes[one] for one in gap):,} characters …]"
            gap = []
        if number:
            yield shown[number]


def _check(check: Json) -> dict[str, str]:
    if not isinstance(check, Mapping):
        return {}
    counts = [f"{check[key]} {key}" for key in ("passed", "failed", "skipped") if key in check]
    names = [str(name) for name in check.get("names") or ()]
    summary = [f"exit code {check.get('exit_code')}", *counts, *([f"failed: {', '.join(names)}"] if names else [])]
    return {"Tests": "; ".join(summary), "What the tests printed": str(check.get("output", ""))}


def _shares(sizes: Mapping[T, int], limit: int) -> dict[T, int]:
    """How long each part may be: the shortest first, each at most an equal share of what the shorter ones left."""
    shares: dict[T, int] = {}
    for number, title in enumerate(sorted(sizes, key=lambda title: sizes[title])):
        shares[title] = min(sizes[title], limit // (len(sizes) - number))
        limit -= shares[title]
    return shares
