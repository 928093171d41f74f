"""What a person sees while a run works: a live view in a terminal, plain lines elsewhere. Writes to stderr alone."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.live import Live

from promptlearn.cli.console import as_score, interactive, note, short, stderr
from promptlearn.cli.live_view import LiveView
from promptlearn.records import Json
from promptlearn.runlog import Event

QUIET_LINES = 15.0
"""Seconds between two plain lines about rows, where there is no terminal."""


class RunProgress:
    """An observer for `run_job`; use it as a context manager."""

    def __init__(self, budget_calls: int | None, quiet: bool = False) -> None:
        self._quiet = quiet
        self._rows = 0
        self._started = self._last_line = time.monotonic()
        self._view = LiveView(budget_calls)
        self._live: Live | None = None
        if interactive() and not quiet:
            self._live = Live(self._view, console=stderr(), transient=True, refresh_per_second=4)

    def __enter__(self) -> RunProgress:
        if self._live:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if self._live:
            self._view(event)
        if event.kind == "row":
            self._row(event)
        elif line := _line(event):
            note(line)

    def _row(self, event: Event) -> None:
        self._rows += 1
        now = time.monotonic()
        if self._live is None and now - self._last_line > QUIET_LINES:
            self._last_line = now
            note(f"  … {event.body['task']} task calls, {self._rows / max(0.1, now - self._started):.1f} rows/s")


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
        verb = "dropped" if body["dropped"] else "kept"
        return f"  {verb} {body['what']} ({body['effect']:+.3f}): {short(body['text'])}"
    if event.kind == "budget":
        return f"budget: {body['message']}"
    if event.kind == "steered":
        return f"{body['what']}, asked for by {body['who']}: {body['message']}"
    if event.kind in ("waiting", "examined", "measured", "optimizer_failed"):
        return f"  {body['message']}"
    if event.kind == "noise":
        return f"judging some answers again: {body['flip_rate']:.0%} flip, noise floor {body['floor']:.3f}"
    if event.kind == "test":
        return f"reading the test split once: {body['rows']} rows × {body['prompts']}"
    return None


def _round(body: Mapping[str, Json]) -> str:
    """Rounds overlap, so each line says whose it is."""
    return f"[{body['number']}]"
