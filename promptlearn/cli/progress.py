"""What a person sees while a run works: a live line in a terminal, plain lines elsewhere. Writes to stderr alone."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.progress import TextColumn, TimeElapsedColumn

from promptlearn.cli.console import as_score, note, visible
from promptlearn.cli.live import Live
from promptlearn.records import Json
from promptlearn.runlog import Event

QUIET_LINES = 15.0
"""Seconds between two plain lines about rows, where there is no terminal."""


class RunProgress(Live):
    """An observer for `run_job`; use it as a context manager."""

    def __init__(self, budget_calls: int | None, quiet: bool = False) -> None:
        super().__init__(
            quiet,
            TextColumn(
                "{task.completed:.0f}/{task.total:.0f} task calls" if budget_calls else "{task.completed:.0f} calls"
            ),
            TextColumn("{task.fields[speed]}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[best]}", markup=False),
        )
        self._rows = 0
        self._last_line = time.monotonic()
        if self._bars:
            self._task = self._bars.add_task("starting", total=budget_calls or None, speed="", best="")
        self._started = time.monotonic()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if event.kind == "row":
            self._row(event)
            return
        line = _line(event)
        if line:
            note(line)
        if self._bars and event.kind == "budget_raised" and event.body["task_calls"]:
            self._bars.update(self._task, total=event.body["task_calls"])
        if self._bars and (best := best_so_far(event)):
            self._bars.update(self._task, best=best)
        if self._bars:
            self._bars.update(self._task, description=_activity(event) or self._bars.tasks[0].description)

    def _row(self, event: Event) -> None:
        self._rows += 1
        now = time.monotonic()
        speed = f"{self._rows / max(0.1, now - self._started):.1f} rows/s"
        if self._bars:
            self._bars.update(self._task, completed=event.body["task"], speed=speed)
        elif now - self._last_line > QUIET_LINES:
            self._last_line = now
            note(f"  … {event.body['task']} task calls, {speed}")


def best_so_far(event: Event) -> str:
    """What the newest best prompt gained over the one before, and its newest rule; empty for any other event."""
    body = event.body
    if event.kind != "decision" or (body["outcome"], body["stage"]) != ("accepted", "race"):
        return ""
    gain = "" if body["difference"] is None else f" {body['difference']:+.3f}"
    gain += "" if not body.get("ci95") else " ({:+.3f} to {:+.3f})".format(*body["ci95"])
    rule = visible(" ".join(str(body.get("rule") or "").split()))
    return f"best {body['candidate'][:8]}{gain}" + (f": {rule[:40]}" if rule else "")


def _line(event: Event) -> str | None:
    body = event.body
    if event.kind == "started":
        rows = ", ".join(f"{count} {split}" for split, count in body["rows"].items())
        verb = "going on with run" if body["resumed"] else "run"
        return "\n".join([f"{verb} {body['run']}: {rows}", *(f"warning: {text}" for text in body["warnings"])])
    if event.kind == "round":
        return f"round {body['number']} of at most {body['of']}, from {body['parent'][:8]}"
    if event.kind == "critique":
        modes = "; ".join(body["failure_modes"][:3]) or "nothing failed"
        return f"  {_round(body)} parent scores {as_score(body['score'])} on a train minibatch; {modes}"
    if event.kind == "proposing":
        return f"  {_round(body)} asking {body['proposer']} for up to {body['count']}"
    if event.kind == "proposer_failed":
        return f"  {_round(body)} {body['proposer']} failed: {body['message']}"
    if event.kind == "proposed":
        return f"  {_round(body)} {len(body['candidates'])} candidates"
    if event.kind == "decision":
        gain = "" if body["difference"] is None else f" {body['difference']:+.3f}"
        who = f"{body['candidate'][:8]} ({body['proposer']}, {body['stage']})"
        return f"  {_round(body)} {body['outcome']:>9} {who}{gain}: {body['reason']}"
    if event.kind == "batch":
        done = f"{body['completed'] + body['failed']} of {body['total']}"
        return f"  batch {body['batch']} for {body['model']}: {body['state']}, {done} answered"
    if event.kind == "prune":
        text = " ".join(body["text"].split())
        verb = "dropped" if body["dropped"] else "kept"
        return f"  {verb} {body['what']} ({body['effect']:+.3f}): {text[:60]}"
    if event.kind == "budget":
        return f"budget: {body['message']}"
    if event.kind == "steered":
        return f"{body['what']}, asked for by {body['who']}: {body['message']}"
    if event.kind in ("waiting", "examined"):
        return f"  {body['message']}"
    if event.kind == "noise":
        return f"judging some answers again: {body['flip_rate']:.0%} flip, noise floor {body['floor']:.3f}"
    if event.kind == "test":
        return f"reading the test split once: {body['rows']} rows × {body['prompts']}"
    return None


def _round(body: Mapping[str, Json]) -> str:
    """Rounds overlap, so each line says whose it is."""
    return f"[{body['number']}]"


def _activity(event: Event) -> str | None:
    names = {
        "started": "reading the first rows",
        "round": f"round {event.body.get('number')}",
        "critique": "proposing",
        "proposed": "gating",
        "gate": "racing",
        "prune": "pruning",
        "test": "test split",
    }
    return names.get(event.kind)
