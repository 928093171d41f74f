"""The frame around every page: navigation, the run that is looked at, and what is said where something is wrong.

Which run that is stands in the address (`?run=`), so that a link leads to what somebody saw.
"""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from promptlearn_app import reads, safe
from promptlearn_app.choice import choose_run
from promptlearn_app.runs import first_steps

VIEWS = Path(__file__).parents[1] / "views"
SECTIONS: dict[str, tuple[tuple[str, str, str], ...]] = {
    "All runs": (
        ("runs", "Runs", "list"),
        ("compare", "Compare", "compare_arrows"),
        ("reviews", "Reviews", "rate_review"),
    ),
    "This run": (
        ("run", "Run", "monitoring"),
        ("prompt", "Prompt", "difference"),
        ("examples", "Examples", "table_rows"),
        ("failures", "Failure modes", "bug_report"),
        ("judges", "Judges", "gavel"),
        ("tuning", "Tuning", "tune"),
    ),
    "promptlearn": (("settings", "Settings and health", "health_and_safety"),),
}
"""File in `views/` (and path in the address), title and icon."""
WITHOUT_RUNS = ("settings",)


def main() -> None:
    st.set_page_config(page_title="promptlearn", page_icon="📈", layout="wide")
    safe.style()
    page = st.navigation(
        {section: [_page(*one) for one in pages] for section, pages in SECTIONS.items()}, expanded=True
    )
    _show(page)


@safe.shielded
def _show(page: st.Page) -> None:
    """The page; where there is no run yet, the beginning."""
    of_a_run = page.url_path in {name for name, *_ in SECTIONS["This run"]}
    if page.url_path not in WITHOUT_RUNS and not reads.exists():
        st.title("Welcome to promptlearn" if of_a_run else page.title)
        first_steps()
        return
    if of_a_run:
        with st.sidebar:
            choose_run()
    page.run()


def _page(name: str, title: str, icon: str) -> st.Page:
    file = VIEWS / f"{name}.py"
    return st.Page(file, title=title, icon=f":material/{icon}:", url_path=name, default=name == "runs")
