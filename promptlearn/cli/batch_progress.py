"""What a person sees while a batch works: a line for each experiment at work in a terminal, plain lines elsewhere.

Writes to stderr alone.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from rich.progress import TaskID, TextColumn, TimeElapsedColumn

from promptlearn.cli.console import as_score, note
from promptlearn.cli.live import Live
from promptlearn.experiments.outcome import Outcome
from promptlearn.runlog import Event

QUIET_LINES = 15.0
"""Seconds between two plain lines about all experiments, where there is no terminal."""
_STEPS = {
    "critique": "proposing",
    "proposed": "gating",
    "gate": "racing",
    "prune": "pruning",
    "test": "test split",
}


@dataclass(slots=True)
class _AtWork:
    """An experiment that runs now."""

    task: TaskID | None = None
    step: str = "starting"
    calls: int = 0


class BatchProgress(Live):
    """An observer for `run_batch`; use it as a context manager."""

    def __init__(self, experiments: int, quiet: bool = False) -> None:
        super().__init__(quiet, TextColumn("{task.fields[words]}", markup=False), TimeElapsedColumn())
        self._all = experiments
        self._ended = 0
        self._at_work: dict[str, _AtWork] = {}
        self._warned: set[str] = set()
        self._last_line = time.monotonic()
        if self._bars:
            self._whole = self._bars.add_task("experiments", total=experiments, words=f"0 of {experiments}")

    def __call__(self, name: str, event: Event) -> None:
        if event.kind == "defect":
            note(event.body["traceback"])
        if self._quiet:
            return
        if event.kind == "ended":
            self._end(name, event.body["outcome"])
            return
        work = self._at_work.get(name) or self._begin(name)
        if event.kind == "row":
            work.calls = event.body["task"]
        elif event.kind == "round":
            work.step = f"round {event.body['number']}"
        else:
            work.step = _STEPS.get(event.kind, work.step)
        self._tell(name, event)
        self._show(work)

    def _begin(self, name: str) -> _AtWork:
        task = self._bars.add_task(name, total=None, words="") if self._bars else None
        self._at_work[name] = work = _AtWork(task)
        return work

    def _end(self, name: str, outcome: Outcome) -> None:
        self._ended += 1
        work = self._at_work.pop(name, None)
        if self._bars:
            if work and work.task is not None:
                self._bars.remove_task(work.task)
            self._bars.update(self._whole, completed=self._ended, words=f"{self._ended} of {self._all}")
        note(f"{name}: {_ending(outcome)}")

    def _tell(self, name: str, event: Event) -> None:
        """Lines about what matters; a round's details are in `promptlearn show`."""
        body = event.body
        if event.kind == "started":
            verb = "goes on with" if body["resumed"] else "is"
            note(f"{name} {verb} run {body['run']}")
            for text in body["warnings"]:
                if text not in self._warned:
                    self._warned.add(text)
                    note(f"warning: {text}", style="yellow")
        elif event.kind == "decision" and body["outcome"] == "accepted" and body["stage"] == "race":
            gain = "" if body["difference"] is None else f" by {body['difference']:+.3f}"
            note(f"{name}: {body['proposer']} is better{gain} on validation")
        elif event.kind in ("budget", "waiting"):
            note(f"{name}: {body['message']}")

    def _show(self, work: _AtWork) -> None:
        if self._bars:
            if work.task is not None:
                self._bars.update(work.task, words=f"{work.step}, {work.calls} task calls")
        elif time.monotonic() - self._last_line > QUIET_LINES:
            self._last_line = time.monotonic()
            now = ", ".join(f"{name} ({one.step}, {one.calls} task calls)" for name, one in self._at_work.items())
            note(f"… {self._ended} of {self._all} experiments have ended; at work: {now}")


def _ending(outcome: Outcome) -> str:
    if outcome.before is None or outcome.after is None:
        return f"{outcome.state}: {outcome.error.message}" if outcome.error else outcome.state
    scores = f"{as_score(outcome.before.score)} → {as_score(outcome.after.score)}"
    known = ", from the store" if outcome.known else ""
    return f"{(outcome.decision or outcome.state).replace('_', ' ')}, {scores}{known}"
