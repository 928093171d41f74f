"""What a person sees of a run that works."""

from typing import Any

import pytest

from promptlearn.cli.progress import RunProgress, best_so_far
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
    said = capsys.readouterr().err
    assert "accepted 01234567 (rules, race) +0.200: better" in said
    assert "pause, asked for by ana: no new call is begun" in said
