"""Prompt: any two versions side by side, why the newer one was proposed, and where each of its rules came from."""

from __future__ import annotations

import streamlit as st

from promptlearn import report
from promptlearn.records import Rule
from promptlearn.report import CandidateReport, RunReport
from promptlearn_app import downloads, reads, safe, words
from promptlearn_app.choice import chosen_report, version_picker


def page() -> None:
    st.title("Prompt")
    found = chosen_report()
    if not found.candidates:
        safe.empty(
            "No prompt yet", "The run has just begun. Its first prompt is your own, and stands here in a moment."
        )
        return
    left, right, how = st.columns([2, 2, 1.4], vertical_alignment="bottom")
    with left:
        old = version_picker(found, "From", "old", default="baseline")
    with right:
        new = version_picker(found, "To", "new", default="best")
    with how:
        view = st.segmented_control("View", ["Side by side", "Unified"], default="Side by side", key="diff_view")
    _diff(found, old, new, side_by_side=view != "Unified")
    candidate = next(one for one in found.candidates if one.digest == new)
    _why(candidate)
    _rules(found, candidate)
    st.subheader("Take it with you")
    downloads.prompt_file(found, new)
    downloads.pull_request(found)


def _diff(found: RunReport, old: str, new: str, side_by_side: bool) -> None:
    names = {one.digest: one.number for one in found.candidates}
    texts = [report.as_document(report.prompt(reads.store(), found.id, version)) for version in (old, new)]
    if old == new:
        safe.note("This is one and the same version; choose two to see what changed.")
    elif texts[0] == texts[1]:
        safe.note("Both say the same.")
    with st.container(key="diff"):
        safe.diff_view(texts[0], texts[1], (f"Version {names[old]}", f"Version {names[new]}"), side_by_side)


def _why(candidate: CandidateReport) -> None:
    st.subheader("Why it was proposed")
    if candidate.number == 0:
        safe.note("This is the prompt that the run began with.")
        return
    safe.quote(candidate.rationale or "No reason was given.", f"proposed by {candidate.proposer}")
    for decision in candidate.decisions:
        gain = "" if decision.difference is None else f"{words.signed(decision.difference)} on {decision.pairs} rows. "
        safe.note(f"{words.OUTCOMES[decision.outcome]} at {decision.stage}: {gain}{decision.reason}")


def _rules(found: RunReport, candidate: CandidateReport) -> None:
    st.subheader("Rules")
    if not candidate.rules:
        safe.note("This version has no learned rule.")
        return
    import pandas as pd

    frame = pd.DataFrame([_rule(rule) for rule in candidate.rules])
    figure = st.column_config.NumberColumn(
        format="%+.3f", help="Mean score with the rule minus without it; empty where it was not measured"
    )
    st.dataframe(
        frame,
        hide_index=True,
        key="rules",
        row_height=56,
        column_config={"Worth": figure, "Rule": st.column_config.TextColumn(width="large")},
    )
    downloads.table(frame, f"rules-{found.id}-{candidate.number}", "rules")


def _rule(rule: Rule) -> dict[str, object]:
    effect = rule.effect
    return {
        "Rule": rule.text,
        "Worth": effect.score if effect else None,
        "95 % interval": words.span(effect.ci95.low, effect.ci95.high) if effect else "not measured",
        "Rows": effect.n if effect else None,
        "Came from": ", ".join(rule.sources) or "the prompt itself",
    }
