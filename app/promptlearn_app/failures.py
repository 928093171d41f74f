"""Failure modes: in which ways a version failed, how often, what proves it, and which rule answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast, get_args

import streamlit as st

from promptlearn.records import Split
from promptlearn_app import reads, safe, words
from promptlearn_app.choice import chosen_report, version_picker

if TYPE_CHECKING:
    from promptlearn.report import ModeReport, RunReport

SHOWN = 12
QUOTES = 3


def page() -> None:
    st.title("Failure modes")
    found = chosen_report()
    if not found.candidates:
        safe.empty("Nothing has failed yet", "What the first answers get wrong is grouped here.")
        return
    left, right = st.columns([3, 1])
    with left:
        version = version_picker(found, "With which version", "version", default="baseline")
    split = cast("Split", right.selectbox("Rows", get_args(Split), key="failures_split"))
    failures = reads.failure_modes(found, version, split)
    if not failures.modes:
        safe.note("No judged answer of this version fails on these rows.")
        return
    safe.note(
        f"{words.plural(failures.failing, 'row')} below the full score, in {words.plural(len(failures.modes), 'way')}. "
        "What costs most score comes first."
    )
    for number, mode in enumerate(failures.modes[:SHOWN]):
        _mode(found, mode, number)


def _mode(found: RunReport, one: ModeReport, number: int) -> None:
    mode = one.mode
    label = f"{words.plural(len(mode.examples), 'row')} · {safe.plain(words.cut(mode.title, 110))}"
    with st.expander(label, expanded=number == 0):
        lost = words.score(mode.cost)
        labels = [(f"costs {lost} of score", "calm")] if mode.cost else []
        labels += [("happens in general", "warn") if mode.general else ("a single case", "calm")]
        if one.rerun:
            tone = "good" if one.fixed == one.rerun else "warn"
            labels.append((f"the best prompt gets {one.fixed} of {one.rerun} of these rows right", tone))
        safe.chips(labels)
        for text in mode.evidence[:QUOTES]:
            safe.quote(text, "evidence")
        for text in mode.suggestions[:QUOTES]:
            safe.quote(text, "a judge suggests for the prompt")
        if one.answered_by:
            safe.facts((f"Answered by a {part.kind}", words.cut(part.text, 300)) for part in one.answered_by)
        else:
            safe.note("No rule of the best prompt came from these rows.")
        if st.button("Open the first of these rows", key=f"mode_{number}"):
            st.switch_page("views/examples.py", query_params={"run": found.id, "example": mode.examples[0]})
