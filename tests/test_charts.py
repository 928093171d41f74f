"""Charts: valid for the renderer, and none without anything to show."""

from pathlib import Path

import pytest
from seeded_store import seed

from promptlearn import charts, report
from promptlearn.report import KindOfRow
from promptlearn.store import open_store


def test_each_chart_can_be_drawn(tmp_path: Path) -> None:
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        found, seen = report.load_run(store, run), report.overview(store, run)
        drawn = [
            charts.scores(seen.points),
            charts.decisions(found),
            charts.family(found, found.candidates),
            charts.gains([("a", 0.5, (0.3, 0.7)), ("b", None, None)]),
            charts.curves([("a", report.cost_curve(store, run))]),
            charts.over_steps([(1, 0.5), (2, None)], "Reward"),
            charts.tradeoffs(report.tradeoffs(store, run)),
            charts.specialists([KindOfRow("shipping", 3, (1.0, 0.5))], ["a", "b"], "domain"),
            charts.confusion({"kept": {"kept": 3, "broken": 1}, "broken": {"kept": 0, "broken": 0}}),
        ]
    for chart in drawn:
        assert chart is not None
        svg = charts.as_svg(chart)
        assert svg.startswith("<svg")
        assert "<image" not in svg
        assert "NaN" not in svg
    assert charts.as_png(drawn[0] or {}, "dark").startswith(b"\x89PNG")


def test_nothing_to_show_is_no_chart(tmp_path: Path) -> None:
    path, run = seed("failed", tmp_path)
    with open_store(path) as store:
        found = report.load_run(store, run)
        assert charts.decisions(found) is None
        assert charts.family(found, found.candidates) is None
    assert charts.scores([]) is None
    assert charts.gains([("a", None, None)]) is None
    assert charts.curves([("a", ())]) is None
    assert charts.over_steps([(1, None)], "Reward") is None
    assert charts.specialists([], ["a"], "domain") is None
    assert charts.confusion({"kept": {"kept": 0}}) is None


@pytest.mark.parametrize("name", ["scores", "family"])
def test_charts_carry_no_address_but_that_of_their_language(name: str, tmp_path: Path) -> None:
    """Invariant 9: nothing is fetched."""
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        found, points = report.load_run(store, run), report.overview(store, run).points
        chart = charts.scores(points) if name == "scores" else charts.family(found, found.candidates)
    assert "://" not in str(chart).replace(charts.SCHEMA, "")
