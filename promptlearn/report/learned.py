"""What a prompt learned: every rule and demonstration with where it came from and what it is worth (invariant 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from promptlearn.records import Effect, Example, Json, as_text
from promptlearn.report.names import locate
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


def parts(store: Store, run: str, version: str | int = "best") -> tuple[Part, ...]:
    """The rules, then the demonstrations, of a version. Raises `UsageError` naming versions."""
    found = locate(store, run, version)
    learned, first = prompt(store, found.run, found.digest), prompt(store, found.run, "baseline")
    known = {rule.text for rule in first.rules} | {_shown(demo.inputs, demo.output) for demo in first.demonstrations}
    last = next(iter(learned.parts[::-1]), "")  # whose rules stand at the end, under no name
    rules = [
        Part(
            "rule", rule.text, tuple(map(origin, rule.sources)), rule.effect, rule.text not in known, rule.part or last
        )
        for rule in learned.rules
    ]
    demos = [
        Part(
            "demonstration",
            _shown(demo.inputs, demo.output),
            (Origin("example", demo.source, demo.source),) if demo.source else (),
            demo.effect,
            _shown(demo.inputs, demo.output) not in known,
        )
        for demo in learned.demonstrations
    ]
    return (*rules, *demos)


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


def _shown(inputs: Mapping[str, Json], output: str) -> str:
    return f"{_values(inputs)} → {output}"


def _values(inputs: Mapping[str, Json]) -> str:
    return " / ".join(as_text(value) for value in inputs.values())
