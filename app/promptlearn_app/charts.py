"""Charts of the pages, as Vega-Lite that the browser draws and a download turns into a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from promptlearn.records import Split
from promptlearn_app import downloads

if TYPE_CHECKING:
    from promptlearn.report import CandidateReport, RunReport

Spec = dict[str, Any]


def show(spec: Spec, stem: str, key: str) -> None:
    """A chart, and a way to take it along."""
    st.vega_lite_chart(spec, key=f"{key}_chart", width="stretch")
    downloads.chart_png(spec, stem, key)


OUTCOMES = ("accepted", "rejected", "undecided")
_COLOURS = ("#0072B2", "#D55E00", "#8A8F98")
_SHAPES = ("triangle-up", "triangle-down", "circle")


def mean_on(one: CandidateReport, split: Split) -> float | None:
    """Mean over the judges' means, as far as they have judged rows of that split."""
    means = [row.mean for row in one.scores if row.split == split and row.mean is not None]
    return sum(means) / len(means) if means else None


def decisions(found: RunReport) -> Spec | None:
    """Difference to the prompt in charge, with its interval, for every decision that measured one; None without."""
    values = [
        {
            "version": f"v{one.number} {decision.stage}",
            "difference": round(decision.difference, 4),
            "low": round(decision.ci95.low, 4) if decision.ci95 else None,
            "high": round(decision.ci95.high, 4) if decision.ci95 else None,
            "outcome": decision.outcome,
            "pairs": decision.pairs,
        }
        for one in found.candidates
        for decision in one.decisions
        if decision.difference is not None
    ]
    return _intervals(values, "difference", "Difference to the prompt in charge") if values else None


def _intervals(values: list[Spec], field: str, title: str) -> Spec:
    x = {"field": "version", "type": "nominal", "sort": None, "title": None, "axis": {"labelAngle": -40}}
    colour = {"field": "outcome", "type": "nominal", "title": None, "scale": {"domain": OUTCOMES, "range": _COLOURS}}
    shape = {"field": "outcome", "type": "nominal", "title": None, "scale": {"domain": OUTCOMES, "range": _SHAPES}}
    y = {"field": field, "type": "quantitative", "title": title, "axis": {"format": "+.2f"}}
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "height": 280,
        "width": 700,
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.5}, "encoding": {"y": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2},
                "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": y,
                    "color": colour,
                    "shape": shape,
                    "tooltip": [{"field": name} for name in ("version", field, "low", "high", "pairs", "outcome")],
                },
            },
        ],
    }
