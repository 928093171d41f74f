"""Charts of a run as Vega-Lite specifications: plain dicts, drawn by the dashboard, or here as SVG or PNG.

Colours are Okabe and Ito's, which colour-blind people tell apart; shapes say the same again. Nothing is fetched from a
network: data stand in the specification.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from promptlearn.errors import UsageError
from promptlearn.records import Json
from promptlearn.report import CostPoint, ScorePoint, Tradeoffs

Theme = Literal["light", "dark"]
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#E69F00", "#009E73", "#8C8C8C"
WIDTH, HEIGHT = 640, 260
_INK = {"light": ("#1F1F1F", "#DDDDDD"), "dark": ("#EDEDED", "#444444")}
_OUTCOMES = {"baseline": (BLUE, "square"), "accepted": (GREEN, "circle"), "rejected": (ORANGE, "cross")}
_OUTCOMES |= {"undecided": (GREY, "diamond")}


def score_chart(points: Sequence[ScorePoint], theme: Theme = "light") -> dict[str, Json]:
    """Score per decision on validation with 95 % bands, the best prompt so far as a line, outcomes as marks."""
    marks = [
        {"step": one.step, "score": one.validation.mean, "low": one.validation.low, "high": one.validation.high}
        | {"outcome": one.outcome, "candidate": f"#{one.number} {one.proposer}"}
        for one in points
        if one.validation is not None and one.validation.mean is not None
    ]
    best = [
        {"step": one.step, "score": one.incumbent.mean, "low": one.incumbent.low, "high": one.incumbent.high}
        for one in points
        if one.incumbent is not None and one.incumbent.mean is not None
    ]
    x = {"field": "step", "type": "quantitative", "title": "decision", "axis": {"tickMinStep": 1, "format": "d"}}
    y = {"field": "score", "type": "quantitative", "title": "validation score", "scale": {"domain": [0, 1]}}
    names, looks = list(_OUTCOMES), list(_OUTCOMES.values())
    layers: list[Json] = [
        {
            "data": {"values": best},
            "mark": {"type": "area", "opacity": 0.15, "color": BLUE, "interpolate": "step-after"},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": best},
            "mark": {"type": "line", "color": BLUE, "interpolate": "step-after", "strokeWidth": 2},
            "encoding": {"x": x, "y": y},
        },
        {
            "data": {"values": marks},
            "mark": {"type": "rule", "color": GREY, "opacity": 0.6},
            "encoding": {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}},
        },
        {
            "data": {"values": marks},
            "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
            "encoding": {
                "x": x,
                "y": y,
                "color": {
                    "field": "outcome",
                    "type": "nominal",
                    "scale": {"domain": names, "range": [colour for colour, _ in looks]},
                    "legend": {"title": None, "orient": "top"},
                },
                "shape": {
                    "field": "outcome",
                    "type": "nominal",
                    "scale": {"domain": names, "range": [shape for _, shape in looks]},
                },
                "tooltip": [{"field": "candidate"}, {"field": "outcome"}, {"field": "score", "format": ".3f"}],
            },
        },
    ]
    return _chart(theme) | {"layer": layers}


def cost_chart(curves: dict[str, Sequence[CostPoint]], theme: Theme = "light") -> dict[str, Json]:
    """Validation score of the best prompt over the calls that were spent, one line per run."""
    values = [
        {"run": run, "calls": point.calls, "score": point.score}
        for run, curve in curves.items()
        for point in curve
        if point.score is not None
    ]
    colours = {"domain": list(curves), "range": [BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#D55E00"]}
    return _chart(theme) | {
        "data": {"values": values},
        "mark": {"type": "line", "interpolate": "step-after", "point": True},
        "encoding": {
            "x": {"field": "calls", "type": "quantitative", "title": "calls"},
            "y": {
                "field": "score",
                "type": "quantitative",
                "title": "validation score",
                "scale": {"domain": [0, 1]},
            },
            "color": {"field": "run", "type": "nominal", "scale": colours, "legend": {"title": None, "orient": "top"}},
            "strokeDash": {"field": "run", "type": "nominal", "legend": None},
        },
    }


def tradeoff_chart(found: Tradeoffs, theme: Theme = "light") -> dict[str, Json] | None:
    """The first objective over the second, prompts of the front marked; None where the second is not known."""
    names = [one.name for one in found.objectives[:2]]
    values = [
        {"x": other.mean, "y": lead.mean, "front": "front" if one.on_front else "beaten", "prompt": f"#{one.number}"}
        for one in found.standings
        for lead, other in [one.figures[:2]]
        if lead.mean is not None and other.mean is not None
    ]
    if len(names) < 2 or not values:
        return None
    kinds, looks = ["front", "beaten"], [(GREEN, "circle"), (GREY, "cross")]
    scale = {"type": "quantitative", "scale": {"zero": False}}
    marked = {
        "x": {"field": "x", "title": names[1], **scale},
        "y": {"field": "y", "title": names[0], **scale},
    }
    return _chart(theme) | {
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "size": 80, "opacity": 1},
                "encoding": {
                    **marked,
                    "color": {
                        "field": "front",
                        "type": "nominal",
                        "scale": {"domain": kinds, "range": [colour for colour, _ in looks]},
                        "legend": {"title": None, "orient": "top"},
                    },
                    "shape": {
                        "field": "front",
                        "type": "nominal",
                        "scale": {"domain": kinds, "range": [shape for _, shape in looks]},
                    },
                },
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 7, "color": _INK[theme][0]},
                "encoding": {**marked, "text": {"field": "prompt"}},
            },
        ],
    }


def as_svg(chart: dict[str, Json]) -> str:
    """An SVG element without scripts or outside resources. Raises `UsageError` where the extra is missing."""
    svg: str = _renderer().vegalite_to_svg(chart, allowed_base_urls=[])
    return svg


def as_png(chart: dict[str, Json], scale: float = 2.0) -> bytes:
    """A PNG image. Raises `UsageError` where the extra is missing."""
    png: bytes = _renderer().vegalite_to_png(chart, scale=scale, allowed_base_urls=[])
    return png


def _renderer() -> Json:
    try:
        import vl_convert
    except ImportError:
        raise UsageError(
            "drawing charts needs another package: pip install 'promptlearn-optimizer[dashboard]'"
        ) from None
    return vl_convert


def _chart(theme: Theme) -> dict[str, Json]:
    ink, grid = _INK[theme]
    axis = {"labelColor": ink, "titleColor": ink, "gridColor": grid, "domainColor": grid, "tickColor": grid}
    return {
        "$schema": SCHEMA,
        "width": WIDTH,
        "height": HEIGHT,
        "background": "transparent",
        "config": {
            "font": "sans-serif",
            "axis": axis,
            "legend": {"labelColor": ink, "titleColor": ink},
            "view": {"stroke": None},
        },
    }
