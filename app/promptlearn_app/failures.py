"""Failure modes: in which ways prompts failed, how often, what proves it, and which rule answered."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st

from promptlearn_app import reads, safe, words
from promptlearn_app.choice import chosen_report, version_picker

if TYPE_CHECKING:
    from promptlearn.report import RunReport

SHOWN = 12


def page() -> None:
    st.title("Failure modes")
    found = chosen_report()
    if not found.candidates:
        safe.empty(
            "Nothing has failed yet", "The first answers have to be judged; what they get wrong is grouped here."
        )
        return
    version = version_picker(found, "With which version", "version", default="baseline")
    modes = reads.failure_modes(found, version)
    if not modes:
        safe.empty("Nothing failed", "Every judged answer of this version has the full score, or none was judged yet.")
        return
    safe.note(f"{words.plural(len(modes), 'failure mode')}, the most frequent first")
    for mode in modes[:SHOWN]:
        _mode(found, mode)


def _mode(found: RunReport, mode: reads.Mode) -> None:
    with st.expander(f"{words.plural(len(mode.examples), 'row')} · {safe.plain(words.cut(mode.title, 110))}"):
        safe.chips([("general", "good") if mode.general else ("a single case", "calm")])
        for text in mode.evidence:
            safe.quote(text, "evidence")
        for text in mode.suggestions[:3]:
            safe.quote(text, "a judge suggests for the prompt")
        answered = reads.answered_by(found, mode)
        if answered:
            safe.facts((f"Answered by a rule of version {number}", text) for number, text in answered)
        else:
            safe.note("No learned rule names these rows as its source.")
        if st.button("Open the first of these rows", key=f"mode_{mode.examples[0]}"):
            st.switch_page("views/examples.py", query_params={"run": found.id, "example": mode.examples[0]})
