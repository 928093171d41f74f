"""A run at a glance: how the score grew decision by decision, what was spent, what it does now.

Cheap enough to be asked for every second while a run works: it reads indices, decisions and the newest events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from promptlearn.records import Candidate, Decision, Interval, Json, Role, Split, Usage
from promptlearn.report.bands import Band, band
from promptlearn.report.names import baseline_of, best_of, find_run, value_at
from promptlearn.report.run import usage_of
from promptlearn.report.runs import RunSummary, State, pulse, summarise
from promptlearn.store.request_rows import RequestRow
from promptlearn.store.rows import EventRow, RunRow

if TYPE_CHECKING:
    from promptlearn.store import Store

Standing: TypeAlias = State | Literal["paused", "stopping"]
CAPS = ("usd", "tokens", "calls", "task_calls", "judge_calls", "meta_calls", "minutes")
"""Caps of a budget over one number each, as the configuration calls them."""
_ACTIVITIES = {
    "started": "reading the first rows",
    "round": "criticising a parent",
    "critique": "proposing candidates",
    "proposer_failed": "proposing candidates",
    "proposed": "trying candidates on a few rows",
    "gate": "racing candidates on validation",
    "prune": "leaving out what is not worth its tokens",
    "guards": "measuring what reviewers asked for",
    "budget": "finishing what is under way",
    "test": "reading the test split",
}


@dataclass(frozen=True, slots=True)
class ScorePoint:
    """One decision: a candidate's scores, and what became of it. The first point is the baseline."""

    step: int
    """0 for the baseline, then 1, 2, … in the order of decisions."""
    number: int
    """Of the candidate."""
    digest: str
    proposer: str
    stage: str
    """`contract`, `gate`, `race`, `guard`, `prune` or `objective`; `baseline` for the first point."""
    outcome: str
    """`accepted`, `rejected` or `undecided`; `baseline` for the first point."""
    reason: str
    difference: float | None
    """Mean of candidate minus incumbent over the pairs."""
    ci95: Interval | None
    pairs: int
    train: Band | None
    """None: the candidate was not run there."""
    validation: Band | None
    incumbent: Band | None
    """The best prompt's validation score after this decision."""


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """One cap, and how much of it is used."""

    name: str
    """As the configuration calls it: `task_calls`, `usd`, …"""
    spent: float | None
    """None: unknown, as a price is."""
    cap: float

    @property
    def share(self) -> float | None:
        return None if self.spent is None else min(1.0, self.spent / self.cap) if self.cap else 1.0


@dataclass(frozen=True, slots=True)
class Outlay:
    """What a run took in all its stretches, as caps count it: replies from the journal like paid ones (invariant 1)."""

    calls: int
    tokens: int
    cost_usd: float | None
    """None: a price is unknown."""
    by_role: Mapping[Role, int]
    """Calls."""


@dataclass(frozen=True, slots=True)
class Overview:
    summary: RunSummary
    standing: Standing
    process: str | None
    """Of the run, where it works on this machine."""
    activity: str
    """What the run does now, in words; empty for one that does nothing."""
    points: tuple[ScorePoint, ...]
    budget: tuple[BudgetLine, ...]
    usage: Mapping[Role, Usage]
    """So far, by role; of a run that is finished, in its last stretch."""
    whole: Outlay
    resumed: bool
    """Whether it worked in several stretches."""
    rows: Mapping[str, int]
    """Split → rows so far."""
    rows_per_second: float | None
    """Lately; None for a run that does not work."""
    in_flight: int
    """Calls under way."""
    latest_rule: str
    """The newest rule of the best prompt; empty without one."""
    warnings: tuple[str, ...]
    last_event: int
    """Id of the newest event: ask `events` for those after it."""
    waiting: tuple[RequestRow, ...]
    """What people asked for and the run has not answered yet."""

    @property
    def live(self) -> bool:
        """Whether there is more to come: a page that follows the run stops asking when there is not."""
        return self.standing in ("running", "paused", "stopping")

    @property
    def cost_usd(self) -> float | None:
        """What all roles paid for; of a run that was resumed, in all its stretches. None: a price is unknown."""
        return self.whole.cost_usd if self.resumed else sum(self.usage.values(), Usage()).cost_usd


def overview(store: Store, which: str = "latest") -> Overview:
    """A run at a glance. Raises `UsageError` naming runs."""
    row = find_run(store, which)
    candidates = store.reader.candidates(row.id)
    decisions = store.reader.decisions(row.id)
    summary = summarise(store, row)
    process = store.running().get(row.id) if row.state == "running" else None
    waiting = tuple(store.requests.waiting(row.id))
    said = pulse(store, row.id) if summary.state == "running" else {}
    events = store.views.events(row.id, limit=20, newest=True)
    numbers = {one.number: one.candidate.digest for one in candidates}
    best = best_of(row, decisions, baseline_of(row, numbers))
    chosen = next((one.candidate for one in candidates if one.candidate.digest == best), None)
    usage = usage_of(store, row, candidates)
    whole = _whole(row, usage)
    standing = _standing(summary.state, said, waiting)
    working = standing in ("running", "paused", "stopping")
    return Overview(
        summary=summary,
        standing=standing,
        process=process,
        activity=_activity(standing, events) if working else "",
        points=_points([one.candidate for one in candidates], numbers, decisions, _bands(store, row.id)),
        budget=_budget(row, whole, said),
        usage=usage,
        whole=whole,
        resumed=any(value_at(event.body, "resumed") for event in store.views.events(row.id, kinds=("started",))),
        rows=store.views.rows(row.id),
        rows_per_second=said.get("rows_per_second") if working else None,
        in_flight=int(said.get("in_flight") or 0),
        latest_rule=chosen.prompt.rules[-1].text if chosen and chosen.prompt.rules else "",
        warnings=_warnings(store, row),
        last_event=events[-1].id if events else 0,
        waiting=waiting,
    )


def score_points(store: Store, run: str) -> tuple[ScorePoint, ...]:
    """How the score grew, decision by decision."""
    candidates = store.reader.candidates(run)
    numbers = {one.number: one.candidate.digest for one in candidates}
    decisions = store.reader.decisions(run)
    return _points([one.candidate for one in candidates], numbers, decisions, _bands(store, run))


def _standing(state: State, pulse: Mapping[str, Json], waiting: Sequence[RequestRow]) -> Standing:
    if state != "running":
        return state
    if pulse.get("stopping") or any(one.kind == "stop" for one in waiting):
        return "stopping"
    return "paused" if pulse.get("paused") else "running"


def _activity(standing: Standing, events: Sequence[EventRow]) -> str:
    if standing == "paused":
        return "paused: no new call is begun until it is resumed"
    if standing == "stopping":
        return "ending the calls under way"
    known = [event for event in events if event.kind in _ACTIVITIES]
    if not known:
        return "starting"
    last = known[-1]
    number = last.body.get("number") if isinstance(last.body, dict) else None
    return (f"round {number}: " if number else "") + _ACTIVITIES[last.kind]


def _bands(store: Store, run: str) -> dict[tuple[str, str], Band]:
    return {(row.prompt, row.split): band(row) for row in store.views.totals(run)}


def _points(
    candidates: Sequence[Candidate],
    numbers: Mapping[int, str],
    decisions: Sequence[Decision],
    bands: Mapping[tuple[str, str], Band],
) -> tuple[ScorePoint, ...]:
    proposers = {candidate.digest: candidate.proposer for candidate in candidates}
    of_digest = {digest: number for number, digest in numbers.items()}

    def on(digest: str, split: Split) -> Band | None:
        return bands.get((digest, split))

    if 0 not in numbers:
        return ()
    first = best = numbers[0]
    train, validation = on(first, "train"), on(first, "validation")
    points = [
        ScorePoint(0, 0, first, "baseline", "baseline", "baseline", "", None, None, 0, train, validation, validation)
    ]
    for step, taken in enumerate(decisions, start=1):
        if taken.outcome == "accepted" and taken.stage in ("race", "prune", "objective"):
            best = taken.candidate
        points.append(
            ScorePoint(
                step=step,
                number=of_digest.get(taken.candidate, -1),
                digest=taken.candidate,
                proposer=proposers.get(taken.candidate, ""),
                stage=taken.stage,
                outcome=taken.outcome,
                reason=taken.reason,
                difference=taken.difference,
                ci95=taken.ci95,
                pairs=taken.pairs,
                train=on(taken.candidate, "train"),
                validation=on(taken.candidate, "validation"),
                incumbent=on(best, "validation"),
            )
        )
    return tuple(points)


def _budget(row: RunRow, whole: Outlay, pulse: Mapping[str, Json]) -> tuple[BudgetLine, ...]:
    """By what the run last said, else by its configuration and what is stored."""
    config = row.config.get("budget") if isinstance(row.config, dict) else None
    caps = pulse.get("caps") or {name: (config or {}).get(name) for name in CAPS}
    spent = pulse.get("spent") or _spent(row, whole)
    return tuple(BudgetLine(name, spent.get(name), caps[name]) for name in CAPS if caps.get(name) is not None)


def _whole(row: RunRow, usage: Mapping[Role, Usage]) -> Outlay:
    """By the result, which knows of every stretch; before there is one, what the stored rows cost."""
    if (spent := value_at(row.result, "spent")) is not None:
        unknown = any(one["usd"] is None for one in spent.values()) or any(
            one.cost_usd is None for one in usage.values()
        )
        return Outlay(
            calls=sum(one["calls"] for one in spent.values()),
            tokens=sum(one["tokens"] for one in spent.values()),
            cost_usd=None if unknown else sum(one["usd"] for one in spent.values()),
            by_role={role: one["calls"] for role, one in spent.items()},
        )
    calls = {role: used.calls + used.cached_calls for role, used in usage.items()}
    everything = sum(usage.values(), Usage())
    tokens = everything.input_tokens + everything.output_tokens
    return Outlay(sum(calls.values()), tokens, everything.cost_usd, calls)


def _spent(row: RunRow, whole: Outlay) -> dict[str, float | None]:
    return {
        "usd": whole.cost_usd,
        "tokens": whole.tokens,
        "calls": whole.calls,
        **{f"{role}_calls": count for role, count in whole.by_role.items()},
        "minutes": row.active_seconds / 60,
    }


def _warnings(store: Store, row: RunRow) -> tuple[str, ...]:
    """Those of the result; before there is one, what the run has said so far."""
    if (found := value_at(row.result, "warnings")) is not None:
        return tuple(found)
    started = store.views.events(row.id, kinds=("started", "warning"), limit=20)
    said = [text for event in started if isinstance(event.body, dict) for text in event.body.get("warnings", ())]
    return tuple(dict.fromkeys(said))
