"""Examples: which got better and which worse from one version to another, and everything about one of them.

The store counts and pages; a page of the table is all that is read, however many rows there are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

import streamlit as st

from promptlearn.records import Split, as_text
from promptlearn_app import downloads, reads, safe, words
from promptlearn_app.choice import chosen_report, version_picker
from promptlearn_app.one_example import CLOSED, show_example

if TYPE_CHECKING:
    import pandas as pd

    from promptlearn.report import RunReport

PER_PAGE = 50
COLUMNS_SHOWN = 6
"""Versions beside each other."""
CHANGES = {
    "improved": "▲ improved",
    "regressed": "▼ regressed",
    "unchanged": "＝ same",
    "not_judged": "? not judged",
    "not_run": "– not run",
}
TINTS = {"▲": "rgba(0, 114, 178, 0.28)", "▼": "rgba(213, 94, 0, 0.30)", "?": "rgba(138, 143, 152, 0.25)"}


def page() -> None:
    st.title("Examples")
    found = chosen_report()
    if not found.candidates:
        safe.empty("No example was run yet", "They come as soon as the first answers are judged.")
        return
    left, middle, right = st.columns([2, 2, 1.4], vertical_alignment="bottom")
    with left:
        old = version_picker(found, "From", "old", default="baseline")
    with middle:
        new = version_picker(found, "To", "new", default="best")
    with right:
        split = st.selectbox(
            "Rows",
            get_args(Split),
            index=2 if found.summary.decision else 1,
            key="examples_split",
            help="Candidates are chosen on validation rows; test rows are read once, at the end",
        )
    _matrix(found, old, new, cast("Split", split))
    named = st.query_params.get("example")
    if named:
        show_example(found, named, new)


def _matrix(found: RunReport, old: str, new: str, split: Split) -> None:
    counts = reads.changes(found, old, new, split)
    total = sum(counts.values())
    if not total:
        safe.note("No row of this split is kept for this run.")
        return
    change = st.segmented_control(
        "What became of them",
        [name for name in CHANGES if counts.get(name)],
        format_func=lambda name: f"{CHANGES[name]}: {counts[name]:,}",
        key="examples_change",
    )
    search = st.text_input(
        "Search in inputs and expected answers", key="examples_search", placeholder="words of the row"
    )
    amount = counts[change] if change else total
    of = f"{old}_{new}_{split}_{change}_{search}"  # another list begins on its first page, with nothing chosen
    number = _page_number(amount, search, of)
    rows = reads.changed(found, old, new, split, change, search, (number - 1) * PER_PAGE, PER_PAGE)
    if not rows:
        safe.note("No example fits.")
        return
    frame = _frame(found, [id for id, _ in rows], dict(rows), _columns(found, old, new))
    _table(frame, [id for id, _ in rows], f"{of}_{number}")
    downloads.table(frame, f"examples-{found.id}-{split}-{number}", "examples")


def _page_number(amount: int, search: str, of: str) -> int:
    """A search does not count what it would find: its pages are turned one by one."""
    pages = -(-amount // PER_PAGE)
    if pages <= 1:
        return 1
    safe.note(f"{amount:,} rows, {PER_PAGE} on a page" + (", fewer where the search finds fewer" if search else ""))
    return int(st.pagination(pages, key=f"examples_page_{of}"))


def _columns(found: RunReport, old: str, new: str) -> list[str]:
    """Digests: what is compared, the best, and the newest of the others."""
    by_number = {one.digest: one.number for one in found.candidates}
    tried = [one.digest for one in reversed(found.candidates) if any(row.rollouts for row in one.failures)]
    wanted = dict.fromkeys(filter(None, [old, new, found.best, *tried]))
    return sorted(list(wanted)[:COLUMNS_SHOWN], key=lambda digest: by_number.get(digest, -1))


def _frame(found: RunReport, ids: list[str], changes: dict[str, Any], prompts: list[str]) -> pd.DataFrame:
    import pandas as pd

    kept = reads.kept_examples(found, ids)
    cells = {(cell.prompt, cell.example): cell for cell in reads.cells(found, prompts, ids)}
    numbers = {one.digest: one.number for one in found.candidates}
    rows = []
    for id in ids:
        example = kept.get(id)
        row: dict[str, Any] = {
            "Change": CHANGES[changes[id]],
            "Example": words.cut(_inputs(example.example.inputs) if example else id, 140),
            "Expected": words.cut(as_text(example.example.expected), 60) if example else "",
        }
        before: float | None = None
        for digest in prompts:
            cell = cells.get((digest, id))
            row[f"v{numbers[digest]}"] = _cell(cell, before)
            before = cell.score if cell and cell.score is not None else before
        rows.append(row)
    return pd.DataFrame(rows)


def _cell(cell: Any, before: float | None) -> str:
    """The score, with a sign where it differs from the version on its left."""
    if cell is None:
        return "–"
    if cell.score is None:
        return "? failed" if cell.failed else "? not judged"
    sign = "" if before is None or cell.score == before else "▲ " if cell.score > before else "▼ "
    return f"{sign}{cell.score:.2f}"


def _table(frame: pd.DataFrame, ids: list[str], of: str) -> None:
    shown = frame.style.map(
        lambda text: f"background-color: {TINTS[text[0]]}" if text[:1] in TINTS else "",
        subset=[name for name in frame.columns if name not in ("Example", "Expected")],
    )
    chosen = st.dataframe(
        shown,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key=f"examples_table_{of}_{st.session_state.get(CLOSED, 0)}",
        column_config={"Example": st.column_config.TextColumn(width="large")},
    )
    safe.note(
        "▲ better and ▼ worse than the version to the left · ? no score · – not run. Choose a row to see all of it."
    )
    rows = chosen.selection.rows
    if rows and rows[0] < len(ids) and st.query_params.get("example") != ids[rows[0]]:
        st.query_params["example"] = ids[rows[0]]


def _inputs(inputs: Any) -> str:
    values = [as_text(value) for value in inputs.values()]
    return values[0] if len(values) == 1 else " · ".join(f"{name}: {as_text(value)}" for name, value in inputs.items())
