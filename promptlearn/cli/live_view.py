"""The live view of a run in a terminal: score so far with its interval, budget, speed, newest accepted rule.

Knows events and how to draw them; whether anybody watches is for `progress`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from promptlearn.cli.console import count, money, visible
from promptlearn.records import Json
from promptlearn.report.bands import Band, band
from promptlearn.runlog import Event
from promptlearn.store.request_rows import TotalRow

BAR = 30
SPEED_SECONDS = 30.0
"""Over which speed is measured."""
ACTIVITIES = {
    "started": "reading the first rows",
    "critique": "proposing",
    "proposed": "gating",
    "gate": "racing",
    "prune": "pruning",
    "test": "reading the test split",
}


class LiveView:
    """What is known so far; rich draws it a few times a second."""

    def __init__(self, budget_calls: int | None) -> None:
        self.cap = budget_calls
        self._started = time.monotonic()
        self._run = ""
        self._activity = "opening models and data"
        self._totals: dict[str, TotalRow] = {}
        """Of validation rows, by prompt."""
        self._first = ""
        self._best = ""
        self._calls: Mapping[str, Json] = {}
        self._rows: list[float] = []
        self._rule = ""

    def __call__(self, event: Event) -> None:
        body = event.body
        self._activity = ACTIVITIES.get(event.kind, self._activity)
        if event.kind == "started":
            self._run = str(body["run"])
        elif event.kind == "round":
            self._activity = f"round {body['number']} of at most {body['of']}"
        elif event.kind == "row":
            self._row(body)
        elif event.kind == "budget_raised" and body["task_calls"]:
            self.cap = body["task_calls"]
        elif event.kind == "decision" and (body["outcome"], body["stage"]) == ("accepted", "race"):
            self._best = body["candidate"]
            self._rule = best_so_far(event)

    def _row(self, body: Mapping[str, Json]) -> None:
        self._calls = body
        self._rows = [at for at in self._rows if at > time.monotonic() - SPEED_SECONDS] + [time.monotonic()]
        if body["split"] != "validation":
            return
        prompt, score = body["prompt"], body["score"]
        self._first = self._first or prompt
        old = self._totals.get(prompt) or TotalRow(prompt, "validation", 0, 0, 0, 0.0, 0.0)
        known, value = int(score is not None), score or 0.0
        self._totals[prompt] = TotalRow(
            prompt,
            "validation",
            old.rollouts + 1,
            0,
            old.scored + known,
            old.total + value,
            old.squares + value * value,
        )

    @property
    def score(self) -> str:
        """Of the best prompt so far, and of the first one beside it."""
        first, best = self._band(self._first), self._band(self._best or self._first)
        if best is None or best.mean is None:
            return "no validation row yet"
        said = f"{best.mean:.3f} ({best.low:.3f} to {best.high:.3f}) on {best.n} validation rows"
        if self._best and first is not None and first.mean is not None:
            return f"{said}; your prompt {first.mean:.3f}"
        return f"{said}, your own prompt"

    @property
    def speed(self) -> str:
        passed = min(SPEED_SECONDS, max(0.5, time.monotonic() - self._started))
        return f"{len(self._rows) / passed:.1f} rows/s"

    @property
    def used(self) -> str:
        """Calls by role, tokens and dollars."""
        task = f"{self._calls.get('task', 0)}" + (f" of {self.cap}" if self.cap else "")
        parts = [f"{task} task calls"]
        parts += [f"{self._calls[role]} {role} calls" for role in ("judge", "meta") if self._calls.get(role)]
        spent = self._calls.get("spent") or {}
        parts += [f"{count(int(spent['tokens']))} tokens"] if spent.get("tokens") else []
        parts += [money(spent["usd"])] if spent.get("usd") else []
        return ", ".join(parts)

    def __rich__(self) -> RenderableType:
        grid = Table.grid(padding=(0, 2))
        grid.add_column(style="dim", no_wrap=True)
        grid.add_column(overflow="ellipsis", no_wrap=True)
        grid.add_row("score", Text(self.score))
        grid.add_row("budget", Text(self.used))
        if self.cap:
            grid.add_row("", ProgressBar(total=self.cap, completed=float(self._calls.get("task", 0)), width=BAR))
        grid.add_row("speed", Text(f"{self.speed}, {time.monotonic() - self._started:.0f} s"))
        if self._rule:
            grid.add_row("newest", Text(self._rule))
        title = Text(f" {self._run[-6:]} {self._activity} ".replace("  ", " "))
        return Panel(grid, title=title, title_align="left", border_style="dim")

    def _band(self, prompt: str) -> Band | None:
        total = self._totals.get(prompt)
        return band(total) if total else None


def best_so_far(event: Event) -> str:
    """What the newest best prompt gained over the one before, and its newest rule; empty for any other event."""
    body = event.body
    if event.kind != "decision" or (body["outcome"], body["stage"]) != ("accepted", "race"):
        return ""
    gain = "" if body["difference"] is None else f" {body['difference']:+.3f}"
    gain += "" if not body.get("ci95") else " ({:+.3f} to {:+.3f})".format(*body["ci95"])
    rule = visible(" ".join(str(body.get("rule") or "").split()))
    return f"best {body['candidate'][:8]}{gain}" + (f": {rule}" if rule else "")
