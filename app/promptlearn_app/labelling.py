"""A person's own verdict on an answer, kept beside the judges' and never in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    with st.container(border=True, key="label_box"):
        safe.heading("What do you say?")
        about = st.selectbox(
            "Which question you answer",
            [WHOLE, *judges],
            format_func=lambda name: WHOLE if name == WHOLE else f"that of the judge {name}",
            key="label_judge",
            help="A judge is held only against labels that answer its own question",
        )
        judge = "" if about == WHOLE else about
        _form(found, rollout, judge, _answers(found, judge))


def _answers(found: RunReport, judge: str) -> Mapping[str, float | str]:
    """What can be said: the judge's own labels where it has some."""
    own = reads.judge_labels(found).get(judge)
    return {label: label for label in own.scores} if own else SCORES


def _form(found: RunReport, rollout: Rollout, judge: str, answers: Mapping[str, float | str]) -> None:
    with st.form("label", border=False):
        chosen = st.segmented_control(
            "The answer is",
            list(answers),
            format_func=safe.plain,
            key="label_score" if answers is SCORES else f"label_score_{judge}",
            label_visibility="collapsed",
        )
        words = st.text_input("Why", key="label_words", placeholder="optional; it helps whoever reads this later")
        who = st.text_input("Your name", value=reads.person(), key="label_who")
        if not st.form_submit_button("Keep this label", key="label_keep", type="primary"):
            return
    if chosen is None:
        safe.warn(f"Choose one of {', '.join(answers)}.")
        return
    said = answers[chosen]
    control.label(reads.store(), found.id, rollout.example, said, who, words, version=rollout.prompt, judge=judge)
    st.toast("Kept beside the judges' verdicts.")
    st.rerun()


def settle_form(judge: str, item: str, labels: Sequence[str]) -> None:
    """Where a person decides who is right about an output that people and a judge label differently."""
    with st.form(f"settle-{item}", border=False):
        chosen = st.segmented_control(
            "The right label",
            list(labels),
            format_func=safe.plain,
            key=f"settle_label_{item}",
            label_visibility="collapsed",
        )
        words = st.text_input(
            "Why", key=f"settle_words_{item}", placeholder="optional; aligning the judge learns from it"
        )
        who = st.text_input("Your name", value=reads.person(), key=f"settle_who_{item}")
        if not st.form_submit_button("Settle", key=f"settle_keep_{item}", type="primary"):
            return
    if chosen is None:
        safe.warn(f"Choose one of {', '.join(labels)}.")
        return
    control.settle(reads.store(), judge, item, chosen, who, words)
    st.toast("Kept; the next calibration counts it.")
    st.rerun()
