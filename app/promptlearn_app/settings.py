"""Settings and health: what this dashboard reads, and whether everything is there that a run needs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from promptlearn.dashboard import commands, desk
from promptlearn_app import reads, safe
from promptlearn_app.choice import current_run

MARKS = {True: "✓", False: "✕", None: "–"}
_LOOKED = "doctor"


def page() -> None:
    st.title("Settings and health")
    st.subheader("What this dashboard shows")
    safe.facts([("Store", reads.shown_place()), ("Configurations are looked for in", desk.at_home(str(reads.home())))])
    st.subheader("Is everything there?")
    configs = [str(path) for path in commands.find_configs(reads.home())]
    left, middle, right = st.columns([3, 1.2, 1.2], vertical_alignment="bottom")
    name = left.selectbox("Configuration", configs or ["promptlearn.yaml"], key="doctor_config", disabled=not configs)
    quick = middle.button("Look again", key="doctor_look", width="stretch", icon=":material/refresh:")
    full = right.button(
        "Call the models",
        key="doctor_call",
        width="stretch",
        icon=":material/call:",
        help="Sends each model one tiny call",
    )
    known = st.session_state.get(_LOOKED)
    if known is None or known[0] != name or quick or full:
        with st.spinner("Looking …"):
            known = (name, _examine(name, offline=not full))
        st.session_state[_LOOKED] = known
    _show(known[1])
    _keys()


def _keys() -> None:
    """Whether that run's models find their keys; a key itself is never read here."""
    import pandas as pd

    st.subheader("Models and keys of the run that you look at")
    run = current_run() if reads.exists() else None
    models = reads.setup(run).models if run else ()
    if models:
        told = {True: "✓ is set", False: "✕ is not set here", None: "– needs none"}
        frame = pd.DataFrame(
            {
                "For": one.role,
                "Model": one.name,
                "Address": one.base_url or "",
                "Key in": one.key_env or "",
                "Key": told[one.key_is_set],
            }
            for one in models
        )
        st.dataframe(frame, hide_index=True, key="keys_table")
    else:
        safe.note("No run names its models here yet, or it was started from Python.")
    safe.note("A key is read from its environment variable when a run begins. It is never stored and never shown.")


def _examine(name: str, offline: bool) -> commands.Answer:
    words = ["doctor", f"--config={name}", "--json", *(["--offline"] if offline else [])]
    return commands.ask(words, reads.where(), reads.home())


def _show(answer: commands.Answer) -> None:
    import pandas as pd

    if not isinstance(answer.document, list):
        safe.problem(answer.message)
        return
    findings: list[dict[str, Any]] = answer.document
    wrong = [one for one in findings if one["ok"] is False]
    if wrong:
        safe.warn("Mend what is marked with ✕ before you start a run.")
    else:
        st.success("Everything that a run needs is there.", icon=":material/check:")
    frame = pd.DataFrame(
        {"": MARKS[one["ok"]], "What": one["what"], "Found": desk.at_home(one["detail"])} for one in findings
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="doctor_table",
        column_config={"": st.column_config.TextColumn(width=40), "Found": st.column_config.TextColumn(width="large")},
    )
    safe.note("✓ is there · ✕ is missing and needed · – is not needed, only good to know")
