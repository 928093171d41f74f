"""Charts of the pages, as Vega-Lite that the browser draws and a download turns into a PNG."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from promptlearn.records import Split
from promptlearn_app import downloads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from promptlearn.report import CandidateReport, CostPoint, RunReport, ScorePoint

Spec = dict[str, Any]

_SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"


def show(spec: Spec, stem: str, key: str) -> None:
    """A chart, and a way to take it along."""
    st.vega_lite_chart(spec, key=f"{key}_chart", width="stretch")
    downloads.chart_png(spec, stem, key)


OUTCOMES = ("accepted", "rejected", "undecided")
_COLOURS = ("#0072B2", "#D55E00", "#8A8F98")
_SHAPES = ("triangle-up", "triangle-down", "circle")
_MARK_COLOURS = ("#E69F00", *_COLOURS)
_MARK_SHAPES = ("diamond", *_SHAPES)
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")


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
    x = {
        "field": "version",
        "type": "nominal",
        "sort": None,
        "title": None,
        "axis": {"labelAngle": -40, "labelOverlap": len(values) > 30},
    }
    colour = {"field": "outcome", "type": "nominal", "title": None, "scale": {"domain": OUTCOMES, "range": _COLOURS}}
    shape = {"field": "outcome", "type": "nominal", "title": None, "scale": {"domain": OUTCOMES, "range": _SHAPES}}
    y = {"field": field, "type": "quantitative", "title": title, "axis": {"format": "+.2f"}}
    return {
        "$schema": _SCHEMA,
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


def over_steps(points: list[tuple[int, float | None]], title: str) -> Spec | None:
    """A line over steps; None where no point has a value."""
    values = [{"step": step, "value": value} for step, value in points if value is not None]
    if not values:
        return None
    return {
        "$schema": _SCHEMA,
        "height": 200,
        "width": 420,
        "data": {"values": values},
        "mark": {"type": "line", "point": True, "color": _COLOURS[0]},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "Step", "axis": {"tickMinStep": 1}},
            "y": {"field": "value", "type": "quantitative", "title": None, "scale": {"zero": False}},
            "tooltip": [{"field": "step"}, {"field": "value", "format": ".4f", "title": title}],
        },
    }


def gains(runs: list[tuple[str, float | None, tuple[float, float] | None]]) -> Spec | None:
    """The gain of each run with its interval; None where none has one."""
    values = [
        {"run": name, "gain": gain, "low": ci95[0] if ci95 else gain, "high": ci95[1] if ci95 else gain}
        for name, gain, ci95 in runs
        if gain is not None
    ]
    if not values:
        return None
    y = {"field": "run", "type": "nominal", "title": None, "sort": None}
    x = {"type": "quantitative", "title": "Gain on the test split", "axis": {"format": "+.2f"}}
    return {
        "$schema": _SCHEMA,
        "height": 70 + 40 * len(values),
        "width": 700,
        "data": {"values": values},
        "layer": [
            {"mark": {"type": "rule", "strokeDash": [4, 4], "opacity": 0.5}, "encoding": {"x": {"datum": 0}}},
            {
                "mark": {"type": "rule", "strokeWidth": 2, "color": _COLOURS[0]},
                "encoding": {"y": y, "x": {**x, "field": "low"}, "x2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 110, "color": _COLOURS[0], "opacity": 1},
                "encoding": {
                    "y": y,
                    "x": {**x, "field": "gain"},
                    "tooltip": [{"field": name} for name in ("run", "gain", "low", "high")],
                },
            },
        ],
    }


def curves(runs: Sequence[tuple[str, Sequence[CostPoint]]]) -> Spec | None:
    """Best validation score against calls, one stepped line per run; None where nothing was measured."""
    values = [
        {"run": name, "calls": point.calls, "score": point.score}
        for name, curve in runs
        for point in curve
        if point.score is not None
    ]
    if not values:
        return None
    return {
        "$schema": _SCHEMA,
        "height": 260,
        "width": 700,
        "data": {"values": values},
        "mark": {"type": "line", "interpolate": "step-after", "point": True},
        "encoding": {
            "x": {"field": "calls", "type": "quantitative", "title": "Calls, those of the test split apart"},
            "y": {"field": "score", "type": "quantitative", "title": "Best score on validation"},
            "color": {"field": "run", "type": "nominal", "title": None, "scale": {"range": CATEGORIES}},
            "strokeDash": {"field": "run", "type": "nominal", "title": None},
            "tooltip": [{"field": "run"}, {"field": "calls"}, {"field": "score", "format": ".3f"}],
        },
    }


_ROWS = ("validation", "train")
_MARKS = {"baseline": "your prompt", "accepted": "accepted", "rejected": "rejected", "undecided": "undecided"}


def scores(points: Sequence[ScorePoint]) -> Spec | None:
    """Each version's score on train and validation rows with its 95 % band, marked by what was decided."""
    values = [
        {
            "step": point.step,
            "version": f"v{point.number}",
            "rows": split,
            "score": round(band.mean, 4),
            "low": round(band.low, 4),
            "high": round(band.high, 4),
            "n": band.n,
            "outcome": _MARKS[point.outcome],
            "stage": point.stage,
        }
        for point in points
        for split, band in (("train", point.train), ("validation", point.validation))
        if band is not None and band.mean is not None
    ]
    if not values:
        return None
    incumbent = [
        {"step": point.step, "score": round(point.incumbent.mean, 4)}
        for point in points
        if point.incumbent and point.incumbent.mean is not None
    ]
    x = {"field": "step", "type": "quantitative", "title": "Decision", "axis": {"tickMinStep": 1, "format": "d"}}
    y = {"type": "quantitative", "title": "Mean score", "scale": {"domain": [0, 1]}}
    names = list(_MARKS.values())
    colour = {"field": "outcome", "type": "nominal", "title": None, "scale": {"domain": names, "range": _MARK_COLOURS}}
    shape = {"field": "outcome", "type": "nominal", "title": None, "scale": {"domain": names, "range": _MARK_SHAPES}}
    rows = {"field": "rows", "type": "nominal"}
    shown = [{"field": name} for name in ("version", "rows", "score", "low", "high", "n", "outcome", "stage")]
    return {
        "$schema": _SCHEMA,
        "height": 300,
        "width": 700,
        "layer": [
            {
                "data": {"values": incumbent},
                "mark": {
                    "type": "line",
                    "interpolate": "step-after",
                    "color": CATEGORIES[0],
                    "opacity": 0.45,
                    "strokeWidth": 3,
                },
                "encoding": {"x": x, "y": {**y, "field": "score"}},
            },
            {
                "data": {"values": values},
                "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.6},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "low"},
                    "y2": {"field": "high"},
                    "color": colour,
                    "strokeDash": {
                        **rows,
                        "title": "Rows",
                        "scale": {"domain": _ROWS, "range": [[1, 0], [3, 3]]},
                    },
                },
            },
            {
                "data": {"values": values},
                "mark": {"type": "point", "filled": True, "opacity": 1},
                "encoding": {
                    "x": x,
                    "y": {**y, "field": "score"},
                    "color": colour,
                    "shape": shape,
                    "size": {
                        **rows,
                        "legend": None,
                        "scale": {"domain": _ROWS, "range": [110, 40]},
                    },
                    "tooltip": shown,
                },
            },
        ],
    }
