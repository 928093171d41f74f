"""Tuning: how training of weights goes, step by step: reward, spread, KL, entropy, staleness, and what was sampled."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from promptlearn import charts as draw
from promptlearn_app import charts, downloads, reads, safe, words
from promptlearn_app.choice import current_run

if TYPE_CHECKING:
    from promptlearn.report import TuningReport

EVERY = 3.0
"""Seconds between two looks at a run that trains."""
SHOWN_SAMPLES = 20
FIGURES = (
    ("reward", "Reward (mean over a step's samples)"),
    ("spread", "Spread of rewards within a group"),
    ("kl", "KL to the base model (nats per token)"),
    ("entropy", "Entropy (nats per token)"),
    ("staleness", "Staleness (versions behind)"),
    ("length", "Tokens per sample"),
)


def page() -> None:
    st.title("Tuning")
    run = current_run()
    found = reads.tuning(run) if run else None
    if found is None:
        safe.empty(
            "This run trained no weights",
            "Where weights may change too, promptlearn trains a small adapter on the same examples and judges, so that "
            "anyone can see which of the two pays. Choose a training run on the left, or start one.",
            "promptlearn tune run",
        )
        return
    live = found.summary.state == "running"
    st.fragment(_everything, run_every=EVERY if live else None)(found.id, live)


@safe.shielded
def _everything(run: str, live: bool) -> None:
    found = reads.tuning(run)
    if found is None or (live and found.summary.state != "running"):
        st.rerun()
    for text in found.warnings:
        safe.warn(text)
    if not found.steps:
        safe.note("No step has ended yet.")
        return
    _figures(found)
    _validation(found)
    left, right = st.columns(2)
    for number, (name, title) in enumerate(FIGURES):
        spec = draw.over_steps([(step.step, getattr(step, name)) for step in found.steps], title)
        with left if number % 2 == 0 else right:
            if spec is not None:
                safe.heading(title)
                charts.show(spec, f"{name}-{found.id}", f"tuning_{name}")
    _steps(found)
    _samples(found)


def _figures(found: TuningReport) -> None:
    last = found.steps[-1]
    scores = [one.score for one in found.validations if one.score is not None]
    best = max(scores) if scores else None
    gain = words.signed(best - scores[0]) if best is not None else None
    tokens = sum(step.output_tokens for step in found.steps)
    first, second, third, fourth = st.columns(4)
    first.metric("Steps", len(found.steps), border=True, height="stretch")
    second.metric("Reward of the last step", words.score(last.reward), border=True, height="stretch")
    third.metric("Best on validation", words.score(best), gain, delta_color="blue", border=True, height="stretch")
    fourth.metric("Tokens sampled", words.count(tokens), border=True, height="stretch")


def _validation(found: TuningReport) -> None:
    points = [(one.step, one.score) for one in found.validations]
    spec = draw.over_steps(points, "Mean score on validation")
    if spec is not None:
        st.subheader("Validation")
        charts.show(spec, f"validation-{found.id}", "tuning_validation")


def _steps(found: TuningReport) -> None:
    import pandas as pd

    names = (
        "step",
        "reward",
        "spread",
        "samples",
        "failed",
        "groups",
        "dropped",
        "kl",
        "entropy",
        "staleness",
        "seconds",
    )
    rows: list[dict[str, Any]] = [{name: getattr(step, name) for name in names} for step in found.steps]
    frame = pd.DataFrame(rows)
    with st.expander("All steps"):
        st.dataframe(frame, hide_index=True, key="tuning_steps")
        downloads.table(frame, f"steps-{found.id}", "tuning")


def _samples(found: TuningReport) -> None:
    st.subheader("What was sampled")
    numbers = [step.step for step in found.steps]
    step = st.selectbox("Step", numbers, index=len(numbers) - 1, key="tuning_step")
    samples = reads.tuning_samples(found.id, step)
    for sample in samples[:SHOWN_SAMPLES]:
        reward = "no reward" if sample.reward is None else f"reward {sample.reward:.2f}"
        safe.quote(sample.output or "nothing", f"row {sample.example} · group {sample.group} · {reward}")
    if len(samples) > SHOWN_SAMPLES:
        safe.note(f"{len(samples) - SHOWN_SAMPLES} more in the store")
