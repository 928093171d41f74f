"""What a prompt learned: every rule and demonstration with where it came from and what it is worth (invariant 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from promptlearn.records import Demonstration, Effect, Example, Interval, Json, Prompt, Rule, as_text, fingerprint
from promptlearn.report.names import Version, locate
from promptlearn.report.prompts import prompt

if TYPE_CHECKING:
    from promptlearn.store import Store

_BEGINS = 48
"""Characters of a row that tell which one it is."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a part came from."""

    kind: Literal["example", "verdict", "review"]
    name: str
    """As it stands in the record: an example's id, `judge@example`, or a URL or id of a comment."""
    example: str = ""
    """Id of the example that it is about; empty for a review."""
    judge: str = ""


@dataclass(frozen=True, slots=True)
class Part:
    """One rule or demonstration of a prompt."""

    kind: Literal["rule", "demonstration"]
    text: str
    origins: tuple[Origin, ...]
    """Empty: the user wrote it."""
    effect: Effect | None
    """None: not measured."""
    is_new: bool
    """Whether the baseline lacks it."""
    of: str = ""
    """Which of a program's several prompts a rule belongs to."""
    measured_in: int | None = None
    """Number of the prompt that pruning left it out of, where that is another version than this one."""


def parts(store: Store, run: str, version: str | int = "best") -> tuple[Part, ...]:
    """The rules, then the demonstrations, of a version. Raises `UsageError` naming versions."""
    found = locate(store, run, version)
    learned, first = prompt(store, found.run, found.digest), prompt(store, found.run, "baseline")
    known = {_key(part) for part in _in_order(first)}
    measured = {} if all(part.effect for part in _in_order(learned)) else _measured(store, found)
    last = next(iter(learned.parts[::-1]), "")  # whose rules stand at the end, under no name

    def part(one: Rule | Demonstration) -> Part:
        key = _key(one)
        effect, number = (one.effect, None) if one.effect else measured.get(key, (None, None))
        if isinstance(one, Rule):
            origins = tuple(map(origin, one.sources))
            return Part("rule", one.text, origins, effect, key not in known, one.part or last, number)
        origins = (Origin("example", one.source, one.source),) if one.source else ()
        return Part("demonstration", _shown(one), origins, effect, key not in known, measured_in=number)

    return tuple(map(part, _in_order(learned)))


def _measured(store: Store, version: Version) -> dict[str, tuple[Effect, int | None]]:
    """Part → what pruning found that it is worth, and the number of the prompt that it was left out of; None: of this
    version itself, which counts before others.
    """
    candidates = {row.candidate.digest: row for row in store.reader.candidates(version.run)}
    found: dict[str, tuple[Effect, int | None]] = {}
    for taken in sorted(store.reader.decisions(version.run), key=lambda one: one.incumbent == version.digest):
        whole, shorter = candidates.get(taken.incumbent), candidates.get(taken.candidate)
        if taken.stage != "prune" or taken.difference is None or taken.ci95 is None or not (whole and shorter):
            continue
        left = {_key(part) for part in _in_order(shorter.candidate.prompt)}
        effect = Effect(-taken.difference, Interval(-taken.ci95.high, -taken.ci95.low), taken.pairs)
        for part in _in_order(whole.candidate.prompt):
            if _key(part) not in left:
                found[_key(part)] = (effect, None if taken.incumbent == version.digest else whole.number)
    return found


def _in_order(prompt: Prompt) -> tuple[Rule | Demonstration, ...]:
    return (*prompt.rules, *prompt.demonstrations)


def _key(part: Rule | Demonstration) -> str:
    """What the part says; where it came from does not count."""
    if isinstance(part, Rule):
        return fingerprint(["rule", part.part, part.text])
    return fingerprint(["demonstration", dict(part.inputs), part.output])


def origin(name: str) -> Origin:
    """What a source's name means."""
    if "://" in name:
        return Origin("review", name)
    judge, at, example = name.partition("@")
    return Origin("verdict", name, example, judge) if at else Origin("example", name, name)


def sources_in_words(names: Sequence[str], rows: Mapping[str, Example], most: int = 2) -> str:
    """Where a part came from, for people: rows by how they begin, with the judge who spoke of them; comments by their
    address. Others than the first `most` are counted. `rows` are the run's examples by id.
    """

    def words(name: str) -> str:
        found = origin(name)
        if found.example not in rows:
            return name
        begins = " ".join(_values(rows[found.example].inputs).split())
        quoted = f"“{begins if len(begins) <= _BEGINS else begins[: _BEGINS - 1] + '…'}”"
        return f"{found.judge} on {quoted}" if found.judge else quoted

    more = f" and {len(names) - most} more" if len(names) > most else ""
    return "; ".join(map(words, names[:most])) + more


def _shown(demo: Demonstration) -> str:
    return f"{_values(demo.inputs)} → {demo.output}"


def _values(inputs: Mapping[str, Json]) -> str:
    return " / ".join(as_text(value) for value in inputs.values())
