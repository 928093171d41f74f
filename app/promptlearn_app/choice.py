"""Which run a page is about: from the address, else the one that was looked at last, else the newest."""

from __future__ import annotations

import streamlit as st

from promptlearn.report import RunSummary
from promptlearn_app import reads, words

_KEY = "chosen_run"
_WIDGET = "run_choice"


def choose_run() -> None:
    """The list in the sidebar."""
    summaries = reads.runs()
    if not summaries:
        return
    by_id = {one.id: one for one in summaries}
    current = current_run()
    if current is not None and current not in by_id:
        by_id = {current: reads.run(current).summary, **by_id}
    if current is not None:
        st.session_state[_WIDGET] = current
    st.selectbox("Run", list(by_id), format_func=lambda id: _line(by_id[id]), key=_WIDGET, on_change=_chosen)


def current_run() -> str | None:
    """Its id; None where there is no run. Raises `UsageError` for a name in the address that no run has."""
    named = st.query_params.get("run") or st.session_state.get(_KEY)
    if named is None:
        summaries = reads.runs()
        if not summaries:
            return None
        named = next((one.id for one in summaries if not one.is_evaluation), summaries[0].id)
    found = named if any(one.id == named for one in reads.runs()) else reads.run(named).id
    look_at(found)
    return found


def look_at(run: str) -> None:
    st.session_state[_KEY] = run
    if st.query_params.get("run") != run:
        st.query_params["run"] = run


def _chosen() -> None:
    look_at(st.session_state[_WIDGET])


def _line(run: RunSummary) -> str:
    gain = f" · {words.signed(run.delta)}" if run.delta is not None else ""
    return f"{run.id[:13]} · {words.ago(run.created_at)} · {words.STATES.get(run.state, run.state)}{gain}"
