"""What people call runs and prompts, and which they mean.

A *version* names one prompt of a run: `baseline`, `best`, a candidate's number, or the beginning of a digest. Adds up
no rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Decision, Json
from promptlearn.store.rows import RunRow

if TYPE_CHECKING:
    from promptlearn.report.run import RunReport
    from promptlearn.store import Store

SHOWN = 5
"""How many names an error message offers."""


@dataclass(frozen=True, slots=True)
class Version:
    """One prompt of a run."""

    run: str
    digest: str


def find_version(report: RunReport, version: str | int) -> str:
    """The digest that a version names. Raises `UsageError` with what exists."""
    digests = {candidate.number: candidate.digest for candidate in report.candidates}
    return _named(report.id, version, report.baseline, report.best, digests)


def locate(store: Store, which: str, version: str | int = "best") -> Version:
    """The run and the digest that two names mean, without adding up any rows. Raises `UsageError` with what exists."""
    row = find_run(store, which)
    digests = store.reader.candidate_digests(row.id)
    baseline = baseline_of(row, digests)
    best = best_of(row, store.reader.decisions(row.id), baseline)
    return Version(row.id, _named(row.id, version, baseline, best, digests))


def run_config(store: Store, run: str) -> Json:
    """The configuration that a run was started with. Raises `UsageError` naming runs."""
    return find_run(store, run).config


def _named(run: str, version: str | int, baseline: str | None, best: str | None, candidates: Mapping[int, str]) -> str:
    name = str(version)
    named = {"baseline": baseline, "best": best}
    named |= {str(number): digest for number, digest in candidates.items()}
    if digest := named.get(name):
        return digest
    known = {digest for digest in named.values() if digest}
    found = sorted(digest for digest in known if name and digest.startswith(name))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"several prompts of run {run} begin with {name!r}: {_some(found)}; give more of it")
    exist = [name for name, digest in named.items() if digest]
    raise UsageError(
        f"run {run} has no prompt {name!r}: there are {_some(exist) or 'none yet'}, or a digest's beginning"
    )


def find_run(store: Store, which: str) -> RunRow:
    if which == "latest":
        newest = store.reader.runs(1, learns=True) or store.reader.runs(1, aligns=False) or store.reader.runs(1)
        if newest:
            return newest[0]
    found = store.reader.runs(SHOWN + 1, begins=which.lower()) if which else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"several runs begin with {which!r}: {_newest(found)}; give more of it")
    names = _newest(store.reader.runs(SHOWN + 1))
    if not names:
        raise UsageError(f"the store at {store.where} has no run yet: start one with `promptlearn run`")
    raise UsageError(f"the store at {store.where} has no run {which!r}: the newest are {names}; or say `latest`")


def baseline_of(row: RunRow, candidates: Mapping[int, str]) -> str | None:
    digest: str | None = value_at(row.result, "baseline", "digest") or candidates.get(0)
    return digest


def best_of(row: RunRow, decisions: Iterable[Decision], baseline: str | None) -> str | None:
    digest: str | None = value_at(row.result, "best", "digest") or _last_accepted(decisions) or baseline
    return digest


def _last_accepted(decisions: Iterable[Decision]) -> str | None:
    """The incumbent: only a race, pruning or the objectives make one."""
    accepted = [d.candidate for d in decisions if d.outcome == "accepted" and d.stage in ("race", "prune", "objective")]
    return accepted[-1] if accepted else None


def value_at(value: Json, *path: str) -> Json:
    """The value under a path of keys; None where one is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _newest(runs: Sequence[RunRow]) -> str:
    return ", ".join(row.id for row in runs[:SHOWN]) + (" and older ones" if len(runs) > SHOWN else "")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
