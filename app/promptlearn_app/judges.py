"""Judges: how they score each version, how far to trust them, where they contradict each other and people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import streamlit as st

from promptlearn_app import downloads, reads, safe, words
from promptlearn_app.choice import chosen_report, version_picker
from promptlearn_app.examined import examinations
from promptlearn_app.one_example import judge_name, show_example

if TYPE_CHECKING:
    from promptlearn.report import JudgeReport, RunReport

PER_PAGE = 20
ROWS, HEIGHT = 7, 290
"""Rows that a table shows at once, and how high (pixels) one with more is."""


def page() -> None:
    st.title("Judges")
    found = chosen_report()
    rows = reads.judges(found)
    if not rows:
        safe.empty("No judgement yet", "Judges speak as soon as the first answers are there.")
        return
    _figures(found, rows)
    examinations([judge.name for judge in rows])
    st.subheader("In this run")
    version = version_picker(found, "Version", "new", default="best")
    _errors(found, rows, version)
    people = st.segmented_control(
        "Where they disagree",
        ["Judges with each other", "Judges with people"],
        default="Judges with each other",
        key="dispute_kind",
    )
    _disputes(found, version, people == "Judges with people")
    example = st.query_params.get("example")
    if example:
        show_example(found, example, version)


def _figures(found: RunReport, judges: Sequence[JudgeReport]) -> None:
    import pandas as pd

    labelled = [judge for judge in judges if judge.labelled]
    for column, judge in zip(st.columns(4), labelled[:4], strict=False):
        agreed = f"{judge.agreed} of {judge.labelled}"
        column.metric(f"{safe.plain(judge.name)} agrees with people", agreed, border=True)
    frame = pd.DataFrame(
        {
            "Judge": judge.name,
            "Version": one.number,
            "Rows": one.split,
            "Verdicts": one.verdicts,
            "Passed": one.pass_rate,
            "Mean score": one.mean,
            "Not asked": one.skipped,
            "No verdict": one.errors,
        }
        for judge in judges
        for one in judge.by_version
        if one.number >= 0  # others were tried to see what a rule is worth, and are no version
    )
    st.dataframe(
        frame,
        hide_index=True,
        height=HEIGHT if len(frame) > ROWS else "auto",
        key="judges_table",
        column_config={
            "Passed": st.column_config.ProgressColumn(
                format="percent", min_value=0, max_value=1, help="Share of judged rows"
            ),
            "Mean score": st.column_config.NumberColumn(format="%.3f"),
            "Not asked": st.column_config.NumberColumn(help="A judge before it did not pass; they are in no mean here"),
            "No verdict": st.column_config.NumberColumn(help="Failures; they are in no mean"),
        },
    )
    downloads.table(frame, f"judges-{found.id}", "judges")


def _errors(found: RunReport, judges: Sequence[JudgeReport], version: str) -> None:
    """What a judge could not judge, in its words."""
    broken = {
        judge.name: missing
        for judge in judges
        if (missing := sum(one.errors for one in judge.by_version if one.digest == version))
    }
    if not broken:
        return
    judge = st.selectbox(
        "Verdicts without a score",
        list(broken),
        format_func=lambda name: f"{name}: {words.plural(broken[name], 'row')}",
        key="judge_errors",
        index=None,
        placeholder="choose a judge to read why",
    )
    for verdict in reads.judge_errors(found, version, judge) if judge else []:
        why = f"{verdict.error.kind}: {verdict.error.message}" if verdict.error else verdict.explanation or "no words"
        safe.quote(why, f"row {verdict.rollout.partition('/')[2]}")


def _disputes(found: RunReport, version: str, people: bool) -> None:
    key = f"disputes_{people}_{version}"  # another list begins on its first page
    number = int(st.session_state.get(key, 1))
    shown = reads.disputes(found, version, people, (number - 1) * PER_PAGE, PER_PAGE + 1)
    if not shown:
        text = (
            "No person has contradicted a judge on this version."
            if people
            else "No two judges contradict each other here."
        )
        safe.note(text + " Half a point apart or more is a contradiction.")
        return
    for row in shown[:PER_PAGE]:
        with st.container(
            border=True, key=f"dispute-{row.example}-{row.first.name}-{row.second.name}".replace(":", "-")
        ):
            for column, verdict in zip(st.columns(2), (row.first, row.second), strict=True):
                with column:
                    said = verdict.explanation or verdict.label or "no words"
                    safe.quote(said, f"{judge_name(verdict)} · score {words.score(verdict.score)}")
            if st.button("Open this row", key=f"open-{row.example}-{row.first.name}-{row.second.name}"):
                st.query_params["example"] = row.example
                st.rerun()
    if len(shown) > PER_PAGE or number > 1:
        st.pagination(number + int(len(shown) > PER_PAGE), key=key)
