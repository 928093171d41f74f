"""What a person sees of a run that works."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from promptlearn.cli.live_view import LiveView, best_so_far
from promptlearn.cli.progress import RunProgress
from promptlearn.runlog import Event

WON: dict[str, Any] = {
    "number": 1,
    "candidate": "0123456789abcdef",
    "proposer": "rules",
    "stage": "race",
    "outcome": "accepted",
    "reason": "better",
    "difference": 0.2,
    "pairs": 20,
    "ci95": [0.05, 0.35],
    "rule": "A lost\nparcel is \x1b[31mshipping.",
}


def test_the_best_prompt_so_far_with_its_gain_and_newest_rule() -> None:
    best = best_so_far(Event("decision", WON))
    assert best == "best 01234567 +0.200 (+0.050 to +0.350): A lost parcel is \\x1b[31mshipping."
    assert best_so_far(Event("decision", WON | {"outcome": "rejected"})) == ""
    assert best_so_far(Event("decision", WON | {"stage": "gate"})) == ""
    assert best_so_far(Event("decision", WON | {"ci95": None, "rule": ""})) == "best 01234567 +0.200"


def test_plain_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    with RunProgress(400) as progress:
        progress(Event("decision", WON))
        progress(Event("steered", {"what": "pause", "who": "ana", "message": "no new call is begun"}))
        progress(Event("budget_raised", {"task_calls": 800}))
        progress(Event("prune", {"what": "rule", "text": "Answer with a tag. " * 9, "dropped": False, "effect": 0.208}))
    said = capsys.readouterr().err
    assert "accepted 01234567 (rules, race) +0.200: better" in said
    assert "pause, asked for by ana: no new call is begun" in said
    assert "kept rule (+0.208): Answer with a tag." in said
    assert said.endswith("…\n")


def test_the_live_view_tells_score_budget_speed_and_newest_rule() -> None:
    view = LiveView(400)
    view(Event("started", {"run": "01abcdef", "rows": {}, "resumed": False, "warnings": []}))
    for prompt, scores in (("0" * 16, [1.0, 0.0, None]), ("0123456789abcdef", [1.0, 1.0, 1.0])):
        for number, score in enumerate(scores):
            spent = {"tokens": 12_000, "usd": 0.25}
            row = {"score": score, "prompt": prompt, "split": "validation", "task": number + 1, "spent": spent}
            view(Event("row", row | {"judge": 2, "meta": 0}))
    assert view.score.startswith("0.500 (")
    view(Event("decision", WON))
    assert view.score.startswith("1.000 (")
    assert view.score.endswith("on 3 validation rows; your prompt 0.500")
    assert view.used == "3 of 400 task calls, 2 judge calls, 12k tokens, $0.2500"
    console = Console(width=100, record=True, file=StringIO())
    console.print(view)
    shown = console.export_text()
    assert "abcdef reading the first rows" in shown
    assert "A lost parcel is" in shown
    assert "rows/s" in shown
