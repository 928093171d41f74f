"""The comparison as a picture: test scores with their intervals, and what validation said as each arm spent more.

A Vega-Lite specification, drawn by vl-convert without a browser or a network. Knows figures; computes none.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator

from promptlearn.compare.comparison import Arm, Comparison
from promptlearn.errors import ConfigError
from promptlearn.records import Json

AXES = {"calls": "calls", "tokens": "tokens", "cost_usd": "US dollars", "wall_s": "seconds of wall time"}
SCHEMA = "https://vega.github.io/schema/vega-lite/v5.json"
PALETTE = ["#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"]
"""Okabe and Ito 2008: told apart with every kind of colour vision."""


def require_charts() -> None:
    """Raise ConfigError where the package that draws is missing."""
    if importlib.util.find_spec("vl_convert") is None:
        raise ConfigError("a PNG needs vl-convert-python: pip install 'promptlearn-optimizer[dashboard]'")


def png(comparison: Comparison, scale: float = 2.0) -> bytes:
    """The picture. Raises ConfigError where the package is missing."""
    require_charts()
    import vl_convert

    drawn: bytes = vl_convert.vegalite_to_png(figure(comparison), scale=scale)
    return drawn


def figure(comparison: Comparison) -> dict[str, Json]:
    """The specification. An axis on which nothing is known is left out."""
    names = [arm.name for arm in comparison.arms]
    points = [point for arm in comparison.arms for point in _points(arm)]
    axes = [axis for axis in AXES if any(point[axis] for point in points)]
    colour = {"field": "arm", "type": "nominal", "scale": {"domain": names, "range": PALETTE}, "legend": None}
    scores = _scores(comparison, colour)
    curves = [_curve(points, axis, colour) for axis in axes]
    return {
        "$schema": SCHEMA,
        "background": "white",
        "hconcat": [scores, {"concat": curves, "columns": 2}] if curves else [scores],
    }


def _scores(comparison: Comparison, colour: Json) -> Json:
    values = [
        {"arm": arm.name, "score": arm.test.score, "low": arm.test.ci95.low, "high": arm.test.ci95.high}
        for arm in comparison.arms
    ]
    x = {"field": "arm", "type": "nominal", "sort": None, "title": None, "axis": {"labelAngle": -30}}
    y = {"field": "score", "type": "quantitative", "title": "test score, 95 % interval", "scale": {"domain": [0, 1]}}
    interval = {"x": x, "y": {**y, "field": "low"}, "y2": {"field": "high"}, "color": colour}
    return {
        "data": {"values": values},
        "width": 60 * len(values),
        "height": 300,
        "layer": [
            {"mark": {"type": "rule", "strokeWidth": 2}, "encoding": interval},
            {"mark": {"type": "point", "filled": True, "size": 90}, "encoding": {"x": x, "y": y, "color": colour}},
        ],
    }


def _curve(points: list[dict[str, Json]], axis: str, colour: Json) -> Json:
    legend = {**colour, "legend": {"title": None}}
    y = {"field": "score", "type": "quantitative", "title": "validation score", "scale": {"domain": [0, 1]}}
    mark = {"type": "line", "interpolate": "step-after", "point": True}
    return {
        "data": {"values": [point for point in points if point[axis] is not None]},
        "mark": mark,
        "width": 220,
        "height": 120,
        "encoding": {
            "x": {"field": axis, "type": "quantitative", "title": AXES[axis]},
            "y": y,
            "color": legend,
            "detail": {"field": "seed"},
        },
    }


def _points(arm: Arm) -> Iterator[dict[str, Json]]:
    for seed, curve in enumerate(arm.curves):
        for point in curve:
            if point.score is not None:
                axes = {axis: getattr(point, axis) for axis in AXES}
                yield {"arm": arm.name, "seed": seed, "score": point.score, **axes}
