"""A person's own verdict on an answer, kept beside the judges' and never in their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from promptlearn import control
from promptlearn_app import reads, safe

if TYPE_CHECKING:
    from promptlearn.records import Rollout, Verdict
    from promptlearn.report import RunReport

WHOLE = "whether the answer as a whole is right"
SCORES = {"Right": 1.0, "Partly": 0.5, "Wrong": 0.0}


def label_form(found: RunReport, rollout: Rollout, verdicts: Sequence[Verdict]) -> None:
    """Where a person says what they think of an answer, and whether a judge was right."""
    if rollout.error is not None:
        return
    judges = [verdict.name for verdict in verdicts if verdict.kind != "human"]
    with st.form("label", border=True):
        safe.heading("What do you say?")
        chosen = st.segmented_control("The answer is", list(SCORES), key="label_score", label_visibility="collapsed")
        words = st.text_input("Why", key="label_words", placeholder="optional; it helps whoever reads this later")
        left, right = st.columns(2)
        who = left.text_input("Your name", value=reads.person(), key="label_who")
        about = right.selectbox(
            "Which question you answer",
            [WHOLE, *judges],
            format_func=lambda name: WHOLE if name == WHOLE else f"that of the judge {name}",
            key="label_judge",
            help="A judge is held only against labels that answer its own question",
        )
        if not st.form_submit_button("Keep this label", key="label_keep", type="primary"):
            return
    if chosen is None:
        safe.warn("Choose right, partly or wrong.")
        return
    judge = "" if about == WHOLE else about
    control.label(
        reads.store(), found.id, rollout.example, SCORES[chosen], who, words, version=rollout.prompt, judge=judge
    )
    st.toast("Kept beside the judges' verdicts.")
    st.rerun()
