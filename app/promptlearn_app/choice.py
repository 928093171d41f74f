"""Which run a page is about: from the address, else the one that was looked at last, else the newest."""

from __future__ import annotations

import streamlit as st

from promptlearn.errors import UsageError
from promptlearn.report import CandidateReport, RunReport, RunSummary, find_version
from promptlearn_app import reads, safe, words

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
        named = next((one.id for one in summaries if not (one.is_evaluation or one.aligns)), summaries[0].id)
    found = named if any(one.id == named for one in reads.runs()) else reads.run(named).id
    look_at(found)
    return found


def look_at(run: str) -> None:
    st.session_state[_KEY] = run
    if st.query_params.get("run") != run:
        st.query_params["run"] = run


def _chosen() -> None:
    """A browser answers with the words that it shows, which may be those of a moment ago: then their end tells."""
    said = str(st.session_state[_WIDGET])
    found = next((one.id for one in reads.runs() if one.id == said or said.endswith(f"…{one.id[-4:]}")), None)
    if found is not None:
        look_at(found)


def _line(run: RunSummary) -> str:
    """Short enough for the sidebar; ids of runs begin with the time, so their ends tell them apart."""
    sign = words.STATES.get(run.state, "?")[0]
    gain = f" · {words.signed(run.delta)}" if run.delta is not None else ""
    judge = " · judge" if run.aligns else ""
    return f"{sign} {words.ago(run.created_at)}{gain}{judge} · …{run.id[-4:]}"


def chosen_report() -> RunReport:
    """All of the run that the page is about. Raises `UsageError` where there is none."""
    run = current_run()
    return reads.run(run or "latest")


def version_picker(found: RunReport, label: str, key: str, default: str) -> str:
    """A list of the run's prompts; the chosen one's digest. It stands in the address under `key`."""
    by_number = {one.number: one for one in found.candidates}
    named = st.query_params.get(key) or default
    try:
        digest = find_version(found, named)
    except UsageError as error:
        safe.warn(error)
        digest = found.candidates[0].digest
    start = next((one.number for one in found.candidates if one.digest == digest), 0)
    numbers = list(by_number)
    chosen = st.selectbox(
        label,
        numbers,
        index=numbers.index(start),
        format_func=lambda n: version_name(found, by_number[n]),
        key=f"{key}_{found.id}",
    )
    if chosen not in by_number:  # words of a moment ago, see `_chosen`
        chosen = start
    if by_number[chosen].digest != digest:
        st.query_params[key] = str(chosen)
    return by_number[chosen].digest


def version_name(found: RunReport, one: CandidateReport) -> str:
    """Number, what it is, and what became of it."""
    if one.number == 0:
        return "0 · your prompt" + (" (best)" if one.digest == found.best else "")
    what = "best" if one.digest == found.best else (one.outcome or "not decided")
    return f"{one.number} · {one.proposer} · {what}"
