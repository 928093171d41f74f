"""Charts of runs as Vega-Lite specifications: plain dicts, drawn by the dashboard, or here as SVG or PNG.

Colours are Okabe and Ito's, which colour-blind people tell apart; shapes and strokes say the same again. Nothing is
fetched from a network: data stand in the specification. A chart without anything to show is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from promptlearn.errors import UsageError
from promptlearn.records import Json
from promptlearn.report import CandidateReport, CostPoint, KindOfRow, RunReport, ScorePoint, Tradeoffs

Chart: TypeAlias = "dict[str, Json]"
Theme = Literal["light", "dark"]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
OUTCOMES = ("accepted", "rejected", "undecided")
CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
_INK = {"light": ("#1F1F1F", "#DDDDDD"), "dark": ("#EDEDED", "#444444")}
_COLOURS = ("#0072B2", "#D55E00", "#8A8F98")
_SHAPES = ("triangle-up", "triangle-down", "circle")
_MARK_COLOURS = ("#E69F00", *_COLOURS)
_MARK_SHAPES = ("diamond", *_SHAPES)


def decisions(found: RunReport) -> Chart | None:
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


def _intervals(values: list[Json], field: str, title: str) -> Chart:
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
        **_frame(280, 700),
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


def over_steps(points: list[tuple[int, float | None]], title: str) -> Chart | None:
    """A line over steps; None where no point has a value."""
    values = [{"step": step, "value": value} for step, value in points if value is not None]
    if not values:
        return None
    return {
        **_frame(200, 420),
        "data": {"values": values},
        "mark": {"type": "line", "point": True, "color": _COLOURS[0]},
        "encoding": {
            "x": {"field": "step", "type": "quantitative", "title": "Step", "axis": {"tickMinStep": 1}},
            "y": {
                "field": "value",
                "type": "quantitative",
                "title": None,
                "scale": {"zero": False},
                "axis": {"format": "~g"},
            },
            "tooltip": [{"field": "step"}, {"field": "value", "format": ".4f", "title": title}],
        },
    }


def gains(runs: list[tuple[str, float | None, tuple[float, float] | None]]) -> Chart | None:
    """The gain of each run with its interval; None where none has one."""
    values = [
        {"run": name, "gain": gain, "low": ci95[0] if ci95 else gain, "high": ci95[1] if ci95 else gain}
        for name, gain, ci95 in runs
        if gain is not None
    ]
    if not values:
        return None
    y = {"field": "run", "type": "nominal", "title": None, "sort": None}
    x = {"type": "quantitative", "title": "Gain, after less before", "axis": {"format": "+.2f"}}
    return {
        **_frame(70 + 40 * len(values), 700),
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


def curves(runs: Sequence[tuple[str, Sequence[CostPoint]]]) -> Chart | None:
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
        **_frame(260, 700),
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


def scores(points: Sequence[ScorePoint]) -> Chart | None:
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
        **_frame(300, 700),
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


def family(found: RunReport, shown: Sequence[CandidateReport]) -> Chart | None:
    """Who came from whom, generation by generation from the left; None for a single prompt."""
    numbers = {one.digest: one.number for one in shown}
    if len(numbers) < 2:
        return None
    places = _places(shown, numbers)
    nodes = [_node(found, one, *places[one.number]) for one in shown]
    edges = [
        {"x": places[numbers[parent]][0], "y": places[numbers[parent]][1]}
        | {"x2": places[one.number][0], "y2": places[one.number][1]}
        for one in shown
        for parent in one.parents
        if parent in numbers and numbers[parent] != one.number
    ]
    wide, high = (1 + max(place[axis] for place in places.values()) for axis in (0, 1))
    x = {"field": "x", "type": "quantitative", "axis": None, "scale": {"domain": [-0.4, wide - 0.2]}}
    y = {"field": "y", "type": "quantitative", "axis": None, "scale": {"domain": [high - 0.4, -0.6]}}
    looks = ["in charge", "not better", "not decided"]
    colour = {"field": "look", "type": "nominal", "title": None, "scale": {"domain": looks, "range": _COLOURS}}
    shape = {"field": "look", "type": "nominal", "title": None, "scale": {"domain": looks, "range": _SHAPES}}
    return {
        **_frame(int(60 + 42 * high), 700),
        "layer": [
            {
                "data": {"values": edges},
                "mark": {"type": "rule", "color": _COLOURS[2], "opacity": 0.7},
                "encoding": {"x": x, "y": y, "x2": {"field": "x2"}, "y2": {"field": "y2"}},
            },
            {
                "data": {"values": nodes},
                "mark": {"type": "point", "filled": True, "size": 160, "opacity": 1},
                "encoding": {"x": x, "y": y, "color": colour, "shape": shape, "tooltip": [{"field": "name"}]},
            },
            {
                "data": {"values": nodes},
                "mark": {"type": "text", "align": "left", "dx": 11, "dy": -9, "color": _COLOURS[2]},
                "encoding": {"x": x, "y": y, "text": {"field": "name"}},
            },
        ],
    }


def _places(shown: Sequence[CandidateReport], numbers: dict[str, int]) -> dict[int, tuple[int, int]]:
    """Number → generation, and place within it."""
    generation: dict[int, int] = {}
    taken: dict[int, int] = {}
    places = {}
    for one in sorted(shown, key=lambda one: one.number):
        parents = [numbers[parent] for parent in one.parents if parent in numbers]
        at = generation[one.number] = 1 + max((generation.get(parent, 0) for parent in parents), default=-1)
        places[one.number] = (at, taken.get(at, 0))
        taken[at] = taken.get(at, 0) + 1
    return places


def _node(found: RunReport, one: CandidateReport, x: int, y: int) -> Json:
    """The only text in it is a number and the name of a proposer."""
    best = " (best)" if one.digest == found.best else ""
    if one.number == 0 or best or one.outcome == "accepted":
        look = "in charge"
    else:
        look = "not better" if one.outcome == "rejected" else "not decided"
    name = f"{one.number} your prompt{best}" if one.number == 0 else f"{one.number} {one.proposer}{best}"
    return {"x": x, "y": y, "name": name, "look": look}


def specialists(kinds: Sequence[KindOfRow], runs: Sequence[str], by: str) -> Chart | None:
    """Mean score of each run on each kind of rows; a star where one is better than all others."""
    values = [
        {"kind": f"{kind.name} ({kind.n})", "run": run, "score": round(mean, 4)}
        | {"text": f"{mean:.2f}{' ★' if kind.winner == number else ''}"}
        for kind in kinds
        for number, (run, mean) in enumerate(zip(runs, kind.means, strict=True))
    ]
    if not values:
        return None
    x = {"field": "run", "type": "nominal", "title": None, "sort": None, "axis": {"labelAngle": 0, "orient": "top"}}
    y = {"field": "kind", "type": "nominal", "title": f"{by} (rows)", "sort": None}
    shade = {"field": "score", "title": "Mean score"}
    layer = _shaded(x, y, shade, "text", ("kind", "run", "score"))
    return {**_frame(40 + 30 * len(kinds), 700), "data": {"values": values}, "layer": layer}


def confusion(table: Mapping[str, Mapping[str, int]]) -> Chart | None:
    """How often people say one label and the judge another (people → judge → count); None where nobody said anything.

    Each cell is shaded by its share of what people called so, so that rare labels are seen as well.
    """
    values = [
        {"people": human, "judge": judge, "n": n, "share": round(n / sum(row.values()), 4) if n else 0.0}
        for human, row in table.items()
        for judge, n in row.items()
    ]
    if not any(value["n"] for value in values):
        return None
    axis = {"labelAngle": 0, "orient": "top"}
    x = {"field": "judge", "type": "nominal", "title": "The judge says", "sort": None, "axis": axis}
    y = {"field": "people", "type": "nominal", "title": "People say", "sort": None}
    layer = _shaded(x, y, {"field": "share", "legend": None}, "n", ("people", "judge", "n"))
    return {**_frame(80 + 36 * len(table), 420), "data": {"values": values}, "layer": layer}


def _shaded(x: Chart, y: Chart, shade: Chart, text: str, tooltip: Sequence[str]) -> list[Chart]:
    """The layers of a table whose cells are shaded by a field from 0 to 1, with a text in each."""
    color = {**shade, "type": "quantitative", "scale": {"domain": [0, 1], "scheme": "viridis"}}
    dark = {"condition": {"test": f"datum.{shade['field']} < 0.55", "value": "white"}, "value": "black"}
    return [
        {
            "mark": {"type": "rect"},
            "encoding": {"x": x, "y": y, "color": color, "tooltip": [{"field": name} for name in tooltip]},
        },
        {"mark": {"type": "text"}, "encoding": {"x": x, "y": y, "text": {"field": text}, "color": dark}},
    ]


def tradeoffs(found: Tradeoffs) -> Chart | None:
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
    kinds = ["front", "beaten"]
    colour = {"field": "front", "type": "nominal", "title": None, "scale": {"domain": kinds, "range": _COLOURS[::2]}}
    shape = {"field": "front", "type": "nominal", "title": None, "scale": {"domain": kinds, "range": _SHAPES[::2]}}
    scale = {"type": "quantitative", "scale": {"zero": False}}
    place = {"x": {"field": "x", "title": names[1], **scale}, "y": {"field": "y", "title": names[0], **scale}}
    return {
        **_frame(280, 700),
        "data": {"values": values},
        "layer": [
            {
                "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
                "encoding": {**place, "color": colour, "shape": shape},
            },
            {
                "mark": {"type": "text", "align": "left", "dx": 9, "color": _COLOURS[2]},
                "encoding": {**place, "text": {"field": "prompt"}},
            },
        ],
    }


def as_svg(chart: Chart, theme: Theme = "light") -> str:
    """An SVG element without scripts or outside resources. Raises `UsageError` where the extra is missing."""
    svg: str = _renderer().vegalite_to_svg(_styled(chart, theme), allowed_base_urls=[])
    return svg


def as_png(chart: Chart, theme: Theme = "light", scale: float = 2.0) -> bytes:
    """A PNG image. Raises `UsageError` where the extra is missing."""
    png: bytes = _renderer().vegalite_to_png(_styled(chart, theme), scale=scale, allowed_base_urls=[])
    return png


def _renderer() -> Json:
    try:
        import vl_convert
    except ImportError:
        raise UsageError(
            "drawing charts needs another package: pip install 'promptlearn-optimizer[dashboard]'"
        ) from None
    return vl_convert


def _frame(height: int, width: int) -> Chart:
    return {"$schema": SCHEMA, "height": height, "width": width}


def _styled(chart: Chart, theme: Theme) -> Chart:
    """With a font and colours for where no page gives them."""
    ink, grid = _INK[theme]
    axis = {"labelColor": ink, "titleColor": ink, "gridColor": grid, "domainColor": grid, "tickColor": grid}
    legend = {"labelColor": ink, "titleColor": ink, "orient": "top"}
    config = {"font": "sans-serif", "axis": axis, "legend": legend, "view": {"stroke": None}}
    return chart | {"background": "white" if theme == "light" else "#1F1F1F", "config": config}
