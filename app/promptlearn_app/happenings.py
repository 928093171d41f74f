"""Events of a run in words: what the optimizer is doing, and what it did."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from promptlearn.records import Json
from promptlearn_app import words


def told(kind: str, body: Json) -> str:
    """One event as a sentence; empty for one that people need not read."""
    tell = _TELLERS.get(kind)
    return tell(body) if tell and isinstance(body, dict) else ""


def _started(body: dict[str, Json]) -> str:
    rows = ", ".join(f"{count:,} {split}" for split, count in (body.get("rows") or {}).items())
    return f"{'Went on' if body.get('resumed') else 'Began'}: {rows} rows"


def _critique(body: dict[str, Json]) -> str:
    modes = "; ".join(words.cut(str(mode), 80) for mode in _some(body.get("failure_modes") or ()))
    return f"Round {body.get('number')}: scored {words.score(body.get('score'))} on a few train rows. {modes}"


def _decision(body: dict[str, Json]) -> str:
    gain = "" if body.get("difference") is None else f" ({words.signed(body['difference'])})"
    return f"Round {body.get('number')}: {body.get('proposer')} {body.get('outcome')} at {body.get('stage')}{gain}"


def _prune(body: dict[str, Json]) -> str:
    verb = "Dropped" if body.get("dropped") else "Kept"
    return f"{verb} a {body.get('what')} worth {words.signed(body.get('effect'))}"


def _some(modes: Iterable[Json]) -> list[Json]:
    return list(modes)[:3]


_TELLERS: dict[str, Callable[[dict[str, Json]], str]] = {
    "started": _started,
    "round": lambda body: f"Round {body.get('number')} of at most {body.get('of')} begins",
    "critique": _critique,
    "proposed": lambda body: f"Round {body.get('number')}: {len(body.get('candidates') or ())} candidates",
    "proposer_failed": lambda body: f"Round {body.get('number')}: {body.get('proposer')} failed: {body.get('message')}",
    "decision": _decision,
    "prune": _prune,
    "budget": lambda body: f"Budget: {body.get('message')}",
    "test": lambda body: f"Read the test split: {body.get('rows')} rows with {body.get('prompts')} prompts",
    "steered": lambda body: f"{body.get('who')} asked to {body.get('what')}: {body.get('message')}",
}
