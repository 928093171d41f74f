"""Charts on pages: drawn by the browser, and taken along as a PNG. What is in them, `promptlearn.charts` says."""

from __future__ import annotations

import streamlit as st

from promptlearn.charts import Chart
from promptlearn_app import downloads


def show(chart: Chart, stem: str, key: str) -> None:
    """A chart, and a way to take it along."""
    st.vega_lite_chart(chart, key=f"{key}_chart", width="stretch")
    downloads.chart_png(chart, stem, key)
