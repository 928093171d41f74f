"""What a command left behind, as text for a judge that is a language model.

Knows a rollout's evidence and turns; nothing about judges' files or models. Whatever is too long is cut in the middle,
with a mark, and short parts are shown whole before long ones are.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

from promptlearn.judging.excerpt import cut_around, cut_middle
from promptlearn.records import Json, Rollout, ToolCall, Turn, as_text

_RESULT_SHARE = 4
"""A tool's result may take a quarter of the room, so that one long listing hides no other turn."""
_MARK_ROOM = 64
"""Characters that a mark may take."""


_TROUBLE = re.compile(
    r"(?i)\b(?:error|exception|traceback|fail(?:ed|ure|s)?|fatal|panic|denied|refused|timed? ?out|not found|no such|"
    r"assert(?:ion)?|exit (?:code|status):? [1-9])\b"
)
"""What a reader looks for first in a long trace."""


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
    shown = {title: clean(text).strip() for title, text in parts.items() if text.strip()}
    room = _shares({title: len(text) for title, text in shown.items()}, limit)
    return "\n\n".join(f"{title}:\n{cut_around(text, room[title], _TROUBLE)}" for title, text in shown.items())


class Conversation(NamedTuple):
    """A rollout's turns as a judge sees them."""

    text: str
    turns: frozenset[int]
    """Numbers of the turns that are shown."""


def show_conversation(rollout: Rollout, limit: int, clean: Callable[[str], str]) -> Conversation:
    """The numbered turns with what their tools did, in at most `limit` characters.

    Where they do not fit, whole turns are left out, and a mark says which: the first and the last stay, then those in
    which something went wrong with the turns around them, then what is nearest to the end. One turn may take half of
    the room, and a part of it a quarter.
    """
    turns = {number: _turn(number, turn, limit, clean) for number, turn in enumerate(rollout.turns, 1)}
    kept = set(turns)
    if sum(len(text) + 2 for text in turns.values()) > limit:
        kept, room = set(), limit - _MARK_ROOM
        for number in _by_weight(turns):
            cost = len(turns[number]) + _MARK_ROOM
            if cost <= room:
                kept.add(number)
                room -= cost
    return Conversation("\n\n".join(_with_marks(turns, kept)), frozenset(kept))


def _turn(number: int, turn: Turn, limit: int, clean: Callable[[str], str]) -> str:
    share = limit // _RESULT_SHARE
    calls = [_call(call, share, clean) for call in turn.tool_calls]
    named = turn.prompt and not turn.content.startswith(f"{turn.prompt}: ")
    who = f"{turn.role} ({clean(turn.prompt)})" if named else turn.role
    said = f"{number}. {who}: {cut_middle(clean(turn.content), share)}"
    return cut_middle("\n".join([said, *calls]), limit // 2)


def _by_weight(turns: Mapping[int, str]) -> list[int]:
    """Turn numbers, the most telling first."""
    last = len(turns)
    trouble = [number for number, text in turns.items() if _TROUBLE.search(text)]
    around = [near for number in reversed(trouble) for near in (number, number - 1, number + 1) if near in turns]
    return list(dict.fromkeys([1, last, last - 1 or 1, *around, *range(last, 0, -1)]))


def _with_marks(turns: Mapping[int, str], kept: Collection[int]) -> Iterator[str]:
    gap: list[int] = []
    for number in [*turns, 0]:
        if number in turns and number not in kept:
            gap.append(number)
            continue
        if gap:
            which = f"turn {gap[0]}" if len(gap) == 1 else f"turns {gap[0]} to {gap[-1]}"
            size = sum(len(turns[one]) for one in gap)
            yield f"[… {which} left out, {size:,} characters …]"
            gap = []
        if number:
            yield turns[number]


def _check(check: Json) -> dict[str, str]:
    if not isinstance(check, Mapping):
        return {}
    counts = [f"{check[key]} {key}" for key in ("passed", "failed", "skipped") if key in check]
    names = [str(name) for name in check.get("names") or ()]
    summary = [f"exit code {check.get('exit_code')}", *counts, *([f"failed: {', '.join(names)}"] if names else [])]
    return {"Tests": "; ".join(summary), "What the tests printed": str(check.get("output", ""))}


def _call(call: ToolCall, limit: int, clean: Callable[[str], str]) -> str:
    said = f"[{call.name} {as_text(dict(call.arguments))}]"
    result = "" if call.result is None else f"\n[result] {cut_middle(clean(call.result), limit)}"
    return f"{cut_middle(clean(said), limit)}{result}"


def _shares(sizes: Mapping[str, int], limit: int) -> dict[str, int]:
    """How long each part may be: the shortest first, each at most an equal share of what the shorter ones left."""
    shares: dict[str, int] = {}
    for number, title in enumerate(sorted(sizes, key=lambda title: sizes[title])):
        shares[title] = min(sizes[title], limit // (len(sizes) - number))
        limit -= shares[title]
    return shares
