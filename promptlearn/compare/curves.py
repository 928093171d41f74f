"""Curves: what a run that learned took in all, and how good it was at which price on the way.

Read from the store after the run; nothing here runs or decides anything.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from promptlearn.compare.cost import Point, Training
from promptlearn.compare.subject import on_this_machine
from promptlearn.errors import StoreError
from promptlearn.experiments.outcome import row_scores
from promptlearn.job import Job
from promptlearn.records import ROLES, Json, Prompt
from promptlearn.runlog import Event
from promptlearn.store import Store
from promptlearn.store.rows import RunRow
from promptlearn.store.tuning_rows import TuningSpending
from promptlearn.tuning.result import TuneResult

CURVE = "curve"
"""The event that keeps a run's curve."""


def learned_prompt(store: Store, row: RunRow) -> Prompt:
    """What validation chose. A run without a test split can prove nothing, so its winner is the challenger."""
    digest = row.result["challenger"]["digest"] or row.result["baseline"]["digest"]
    candidate = store.reader.candidate(row.id, digest)
    if candidate is None:
        raise StoreError(f"the store at {store.where} has no prompt {digest} of run {row.id}: restore it from a backup")
    return candidate.prompt


def prompt_training(job: Job, row: RunRow, usd_per_hour: float | None) -> Training:
    """What a run that learned a prompt took."""
    spent = {role: row.result["spent"][role] for role in ROLES}
    models = job.models()
    used = [models[role] for role in ROLES if role in models and spent[role]["calls"]]
    wall = max(row.result["wall_s"], row.active_seconds)
    device = wall if any(map(on_this_machine, used)) else 0.0
    known = all(model.price is not None for model in used)
    calls_cost = sum(part["usd"] or 0.0 for part in spent.values()) if known else None
    return Training(
        sum(part["calls"] for part in spent.values()),
        sum(part["tokens"] for part in spent.values()),
        device,
        with_device(calls_cost, device, usd_per_hour),
        wall,
    )


def with_device(cost: float | None, seconds: float, usd_per_hour: float | None) -> float | None:
    """Dollars of calls and of the device together; None where a part is unknown."""
    if cost is None or (seconds and usd_per_hour is None):
        return None
    return cost + seconds * (usd_per_hour or 0.0) / 3600


@dataclass(slots=True)
class CurveWatch:
    """An observer that notes what had been spent whenever a candidate took the incumbent's place."""

    observer: Callable[[Event], None]
    started: float = field(default_factory=time.monotonic)
    spent: dict[str, Json] = field(default_factory=lambda: {"calls": 0, "tokens": 0, "usd": 0.0})
    accepted: list[dict[str, Json]] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        if event.kind == "row":
            self.spent = event.body["spent"]
        if event.kind == "decision" and event.body["outcome"] == "accepted":
            body = {
                "prompt": event.body["candidate"],
                **self.spent,
                "wall_s": round(time.monotonic() - self.started, 3),
            }
            self.accepted.append(body)
        self.observer(event)

    def body(self) -> dict[str, Json]:
        return {"accepted": self.accepted}


def prompt_curve(store: Store, row: RunRow, job: Job, usd_per_hour: float | None) -> tuple[Point, ...]:
    """The incumbent's mean on validation: the seed prompt's, that of each one that replaced it, and the last one's."""

    def score(digest: str) -> float | None:
        judged = [one for one in row_scores(store, row.id, digest, job, "validation") if one is not None]
        return sum(judged) / len(judged) if judged else None

    whole = prompt_training(job, row, usd_per_hour)
    events = [event for event in store.reader.events(row.id) if event.kind == CURVE]
    accepted = events[-1].body["accepted"] if events else []
    points = [Point(0, 0, None if whole.cost_usd is None else 0.0, 0.0, score(row.result["baseline"]["digest"]))]
    for one in accepted:
        seconds = one["wall_s"] if whole.gpu_s else 0.0
        cost = None if whole.cost_usd is None else with_device(one["usd"], seconds, usd_per_hour)
        points.append(Point(one["calls"], one["tokens"], cost, one["wall_s"], score(one["prompt"])))
    last = score(learned_prompt(store, row).digest)
    return (*points, Point(whole.calls, whole.tokens, whole.cost_usd, whole.wall_s, last))


def weights_training(result: TuneResult, usd_per_hour: float | None) -> Training:
    """What a run that trained an adapter took."""
    return _taken(result.spending, usd_per_hour)


def weights_curve(result: TuneResult, usd_per_hour: float | None) -> tuple[Point, ...]:
    """Each reading of validation at what the run had spent by then, and the kept adapter's at what it took in all.

    A reading that does not know what had been spent (of an older version) has no point.
    """
    known = [(reading.spending, reading.score) for reading in result.validation if reading.spending is not None]
    taken = [(_taken(spent, usd_per_hour), score) for spent, score in (*known, (result.spending, result.best))]
    return tuple(Point(one.calls, one.tokens, one.cost_usd, one.wall_s, score) for one, score in taken)


def _taken(spent: TuningSpending, usd_per_hour: float | None) -> Training:
    dollars = [usd for usd in spent.usd.values() if usd is not None]
    cost = sum(dollars) if len(dollars) == len(spent.usd) else None
    return Training(
        sum(spent.calls.values()),
        sum(spent.tokens.values()),
        spent.gpu_s,
        with_device(cost, spent.gpu_s, usd_per_hour),
        spent.wall_s,
    )
