"""Runs: all of them with what they came to, and how to start one."""

from __future__ import annotations

import streamlit as st

from promptlearn.report import RunSummary
from promptlearn_app import reads, safe, words
from promptlearn_app.start import start_form


def page() -> None:
    st.title("Runs")
    found = reads.runs()
    _figures(found)
    _table(found)
    with st.expander("Start a run", icon=":material/play_arrow:", expanded="begun" in st.session_state):
        start_form()


def first_steps() -> None:
    """What somebody sees who has no run yet."""
    safe.empty(
        "No run yet",
        "A run takes your prompt and a table of examples, learns a better prompt, and proves on rows that it never saw "
        "whether it is better. Start one below, or in a terminal. The demo needs no key.",
        "promptlearn demo",
    )
    start_form()


def _figures(found: list[RunSummary]) -> None:
    learning = [one for one in found if not one.is_evaluation]
    for column, (label, amount) in zip(
        st.columns(4),
        (
            ("Runs", len(learning)),
            ("Running now", sum(one.state == "running" for one in found)),
            ("Proven better", sum(one.decision == "improved" for one in learning)),
            ("Failed", sum(one.state == "failed" for one in found)),
        ),
        strict=True,
    ):
        column.metric(label, amount, border=True)


def _came_to(run: RunSummary) -> str:
    if run.is_evaluation:
        return "measured only"
    decision = words.DECISIONS.get(run.decision or "", "")
    return f"judge {run.aligns.split()[0]} {decision}" if run.aligns else decision


def _table(found: list[RunSummary]) -> None:
    import pandas as pd

    frame = pd.DataFrame(
        {
            "Run": one.id,
            "Started": words.ago(one.created_at),
            "State": words.STATES.get(one.state, one.state),
            "What it came to": _came_to(one),
            "Before": one.baseline_score,
            "After": one.best_score,
            "Gain": one.delta,
            "Scored on": words.rows_of(one.split) if one.best_score is not None else "",
            "Time": words.seconds(one.active_seconds),
            "Why it ended": words.cut(one.stop_reason, 80),
        }
        for one in found
    )
    figure = st.column_config.NumberColumn(format="%.3f", width="small")
    chosen = st.dataframe(
        frame,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="runs",
        column_config={
            "Before": figure,
            "After": figure,
            "Gain": st.column_config.NumberColumn(
                format="%+.3f", width="small", help="After minus before, on the same rows"
            ),
        },
    )
    rows = chosen.selection.rows
    if rows:
        st.switch_page("views/run.py", query_params={"run": found[rows[0]].id})
    safe.note(
        "Choose a row to open its run. What a run learned is scored on test rows, which are read once, at the end."
    )
