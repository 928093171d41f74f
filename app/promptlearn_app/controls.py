"""Pause, go on, stop and raise the budget: requests that the run finds in the store; and resuming one that ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from promptlearn import control
from promptlearn.dashboard import commands
from promptlearn_app import reads, safe
from promptlearn_app.start import begun

if TYPE_CHECKING:
    from promptlearn.report import Overview

CAN_GO_ON = ("killed", "interrupted", "budget")


def bar(seen: Overview) -> None:
    """The buttons that make sense in the state that the run is in."""
    if seen.summary.is_tuning:  # `promptlearn tune run` looks for no requests
        return
    if seen.live:
        _working(seen)
    elif seen.standing in CAN_GO_ON and not (seen.summary.is_evaluation or seen.summary.aligns):
        _ended(seen)
    for request in seen.waiting:
        safe.note(f"Asked: {request.kind}. The run looks about once a second.")


def _working(seen: Overview) -> None:
    run = seen.summary.id
    with st.container(horizontal=True, gap="small", key="controls"):
        if seen.standing == "paused":
            if st.button("Go on", key="unpause", type="primary", icon=":material/play_arrow:"):
                control.resume(reads.store(), run, reads.person())
        elif st.button("Pause", key="pause", icon=":material/pause:", help="Begins no new call; uses up no minutes"):
            control.pause(reads.store(), run, reads.person())
        if st.button("Stop", key="stop", icon=":material/stop:", help="Ends the calls under way and saves"):
            control.stop(reads.store(), run, reads.person())
        if seen.budget:
            with st.popover("Raise the budget", icon=":material/add:"):
                _raise(seen)


def _raise(seen: Overview) -> None:
    caps = {line.name: line.cap for line in seen.budget}
    name = st.selectbox("Cap", list(caps), key="raise_name")
    new = st.number_input("Up to", min_value=0.0, value=float(caps[name]) * 1.5, key=f"raise_{name}")
    if st.button("Raise it", key="raise", type="primary"):
        control.raise_budget(reads.store(), seen.summary.id, reads.person(), {name: new})


def _ended(seen: Overview) -> None:
    """A process of its own goes on with it."""
    run = seen.summary.id
    caps = {line.name: line.cap for line in seen.budget}
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="controls"):
        calls = None
        if "task_calls" in caps:
            calls = st.number_input(
                "Task calls, up to", min_value=1, value=int(caps["task_calls"]), step=100, key="resume_calls", width=200
            )
        if not st.button("Resume", key="resume", type="primary", icon=":material/play_arrow:"):
            return
    overrides = [f"budget.task_calls={calls}"] if calls else []
    begun(commands.resume_run(run, reads.where(), reads.home(), reads.private_folder(), overrides))
    st.switch_page("views/runs.py")
