"""What a person sees while weights are trained: a live line in a terminal, one plain line per step. Stderr alone."""

from __future__ import annotations

from collections.abc import Mapping

from rich.progress import TextColumn, TimeElapsedColumn

from promptlearn.cli.console import as_score, note
from promptlearn.cli.live import Live
from promptlearn.records import Json
from promptlearn.runlog import Event


class TuneProgress(Live):
    """An observer for `tuning.run.train`; use it as a context manager."""

    def __init__(self, steps: int, quiet: bool = False) -> None:
        super().__init__(quiet, TextColumn("{task.completed:.0f}/{task.total:.0f} steps"), TimeElapsedColumn())
        self._steps = steps
        if self._bars:
            self._task = self._bars.add_task("reading the base on validation", total=steps)

    def __call__(self, event: Event) -> None:
        if self._quiet:
            return
        if line := event_line(event, self._steps):
            note(line)
        if self._bars and event.kind == "step":
            self._bars.update(self._task, completed=event.body["step"], description="training")


def event_line(event: Event, steps: int) -> str | None:
    """What an event of a training of so many steps says to a person; None: nothing."""
    body = event.body
    if event.kind == "started":
        verb = f"going on with run {body['run']} after step {body['step']}" if body["resumed"] else body["run"]
        rows = ", ".join(f"{count} {split}" for split, count in body["rows"].items())
        return "\n".join([f"training run {verb}: {rows}", *(f"warning: {text}" for text in body["warnings"])])
    if event.kind == "warning":
        return "\n".join(f"warning: {text}" for text in body["warnings"])
    if event.kind == "step":
        return step_line(body, steps)
    if event.kind == "validation":
        return validation_line(body)
    return f"  {body['message']}" if event.kind == "waiting" else None


def step_line(step: Mapping[str, Json], steps: int | None = None) -> str:
    """A step on one line."""
    number = f"{step['step']}/{steps}" if steps else str(step["step"])
    parts = [f"step {number}: reward {as_score(step['reward'])}", f"spread {as_score(step['spread'])}"]
    for name, key in (("entropy", "entropy"), ("KL", "kl"), ("gradient", "grad_norm")):
        if step[key] is not None:
            parts.append(f"{name} {step[key]:.3g}")
    if step["grad_norm"] is None:
        parts.append("no update: no group has anything to teach")
    elif step["dropped"]:
        parts.append(f"{step['dropped']} of {step['groups']} groups dropped")
    if step["failed"]:
        parts.append(f"{step['failed']} of {step['samples']} samples not judged")
    if step["staleness"]:
        parts.append(f"staleness {step['staleness']}, ESS {as_score(step['effective_sample_size'])}")
    return ", ".join([*parts, f"{step['tokens_per_s']:.0f} tokens/s", f"{step['seconds']:.1f} s"])


def validation_line(reading: Mapping[str, Json]) -> str:
    """A reading of the validation split on one line."""
    where = "the base" if not reading["step"] else f"step {reading['step']}"
    unscored = f", {reading['unscored']} not judged" if reading["unscored"] else ""
    best = " (best so far)" if reading["best"] and reading["step"] else ""
    return f"  validation of {where}: {as_score(reading['score'])} on {reading['n']} rows{unscored}{best}"
