"""What people take with them: prompt files, tables as CSV and JSONL, charts as PNG, and a pull request.

File names are made of ids of ours, never of what somebody wrote.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import streamlit as st

from promptlearn import report
from promptlearn.charts import Chart, as_png
from promptlearn.dashboard import commands
from promptlearn.report import RunReport
from promptlearn_app import reads, safe

if TYPE_CHECKING:
    import pandas as pd

_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")
_FORMULA = re.compile(r"^[=+\-@\t\r](?![\d.]+(?: to [+-][\d.]+)?$)")
"""What a spreadsheet would compute; a figure or an interval with a sign is none."""


def file_name(stem: str, suffix: str) -> str:
    """A name without a path in it."""
    return f"{_UNSAFE.sub('-', stem).strip('-')[:80] or 'promptlearn'}.{suffix}"


def table(frame: pd.DataFrame, stem: str, key: str) -> None:
    """A table as CSV and as JSONL."""
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "CSV",
            lambda: as_csv(frame),
            file_name(stem, "csv"),
            "text/csv",
            key=f"{key}_csv",
            icon=":material/download:",
        )
        st.download_button(
            "JSONL",
            lambda: as_jsonl(frame),
            file_name(stem, "jsonl"),
            "application/x-ndjson",
            key=f"{key}_jsonl",
            icon=":material/download:",
        )


def as_csv(frame: pd.DataFrame) -> str:
    """CSV in which no cell of text is a formula to a spreadsheet: such a cell begins with an apostrophe."""
    return str(frame.map(_no_formula).to_csv(index=False))


def as_jsonl(frame: pd.DataFrame) -> str:
    return str(frame.to_json(orient="records", lines=True, force_ascii=False))


def _no_formula(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def prompt_file(found: RunReport, digest: str) -> None:
    """The prompt as text, as the run has it."""
    number = next(one.number for one in found.candidates if one.digest == digest)
    text = report.prompt(reads.store(), found.id, digest).learned_text()
    st.download_button(
        "Download this prompt",
        text,
        file_name(f"prompt-{found.id}-{number}", "md"),
        "text/markdown",
        key="download_prompt",
        icon=":material/download:",
        help="The learned text with its rules. `promptlearn export` writes it into your own file, byte for byte.",
    )


def pull_request(found: RunReport) -> None:
    """What a pull request would hold, and only then a button that opens it."""
    if found.summary.decision != "improved":
        safe.note("A pull request can be opened for a prompt that is proven to be better; this run has none yet.")
        return
    if st.button("See what a pull request would change", key="propose_dry", icon=":material/visibility:"):
        words = ["github", "propose", "--dry-run", "--json", "--", found.id]
        st.session_state[_shown(found)] = commands.ask(words, reads.where(), reads.home())
    answer: commands.Answer | None = st.session_state.get(_shown(found))
    if answer is None:
        return
    if not answer.ok or not isinstance(answer.document, dict):
        safe.problem(answer.message)
        return
    _preview(answer.document)
    if st.button("Open the draft pull request", key="propose", type="primary", icon=":material/merge:"):
        done = commands.ask(["github", "propose", "--json", "--", found.id], reads.where(), reads.home())
        if done.ok and isinstance(done.document, dict):
            st.success("Done.", icon=":material/check:")
            safe.facts([("Pull request", done.document.get("url") or done.document.get("action"))])
        else:
            safe.problem(done.message)


def _shown(found: RunReport) -> str:
    return f"proposal_{found.id}"


def _preview(document: dict[str, Any]) -> None:
    safe.facts([("Branch", document.get("branch", "")), ("Title", document.get("title", ""))])
    st.code(document.get("diff") or "nothing to change", language="diff", wrap_lines=True)
    with st.expander("Its text"):
        st.code(document.get("body", ""), language=None, wrap_lines=True)
    safe.note("Nothing was sent. The button below writes with the token in PROMPTLEARN_WRITE_TOKEN, as a draft.")


def chart_png(chart: Chart, stem: str, key: str) -> None:
    """A chart as PNG, drawn when somebody asks for it."""
    st.download_button(
        "PNG",
        lambda: as_png(chart),
        file_name(stem, "png"),
        "image/png",
        key=f"{key}_png",
        icon=":material/image:",
        type="tertiary",
    )
