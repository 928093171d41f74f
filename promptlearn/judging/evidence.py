"""What a command left behind, as text for a judge that is a language model.

Knows a rollout's evidence and turns; nothing about judges' files or models. Whatever is too long is cut in the middle,
with a mark, and short parts are shown whole before long ones are.
"""

from collections.abc import Callable, Mapping

from promptlearn.judging.excerpt import cut_middle
from promptlearn.records import Json, Rollout, ToolCall, as_text

_RESULT_SHARE = 4
"""A tool's result may take a quarter of the room, so that one long listing hides no other turn."""


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
    return "\n\n".join(f"{title}:\n{cut_middle(text, room[title])}" for title, text in shown.items())


def conversation_text(rollout: Rollout, limit: int, clean: Callable[[str], str]) -> str:
    """The turns with what their tools did; long results are cut."""
    turns = []
    for turn in rollout.turns:
        calls = [_call(call, limit // _RESULT_SHARE, clean) for call in turn.tool_calls]
        turns.append("\n".join(filter(None, [f"{turn.role}: {turn.content}", *calls])))
    return "\n\n".join(turns)


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
