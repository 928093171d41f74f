"""What `compare` shows of learning runs, trainings and readings, in the order in which they come."""

from pathlib import Path

import pytest
from shop import write_shop

from promptlearn.cli.compare_progress import CompareProgress
from promptlearn.cli.main import execute
from promptlearn.runlog import Event


def test_every_kind_of_run_is_named_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    begun = [
        ("prompt, seed 0", {"stage": "prompt", "steps": 3}),
        ("weights, seed 0", {"stage": "weights", "steps": 3}),
        ("rejection_sft, seed 0", {"stage": "rejection_sft", "steps": 3}),
        ("base, seed 0, test", {}),
    ]
    with CompareProgress() as progress:
        for name, body in begun:
            progress(name, Event("begun", body))
            progress(name, Event("started", {"run": "r1", "rows": {"test": 4}, "resumed": False, "warnings": []}))
            progress(name, Event("ended", {}))
    said = capsys.readouterr().err
    assert [line for line in said.splitlines() if line.startswith("—")] == [f"— {name}" for name, _ in begun]


def test_lines_of_trainings_side_by_side_bear_their_names(capsys: pytest.CaptureFixture[str]) -> None:
    names = ("weights, seed 0", "weights, seed 1")
    with CompareProgress(at_once=2) as progress:
        for name in names:
            progress(name, Event("begun", {"stage": "weights", "steps": 3}))
        for name in names:
            progress(name, Event("warning", {"warnings": [f"of {name}"]}))
            progress(name, Event("ended", {}))
    said = capsys.readouterr().err.splitlines()
    assert said == [*(f"— {name}" for name in names), *(f"[{name}] warning: of {name}" for name in names)]


def test_a_dry_run_is_the_result_and_stands_on_stdout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(write_shop(tmp_path))
    assert execute(["compare", "--dry-run", "--seeds", "2"]) == 0
    said = capsys.readouterr()
    assert said.out.startswith("2 arms, 2 seeds, 2 learning runs;")
    assert "smallest difference that shows" in said.out
    assert "to be `better` an arm also needs an interval over seeds" in said.out
    assert "warning: 2 seeds" in said.err
    assert execute(["compare", "--dry-run", "--seeds", "3", "--set", "compare.discordance=0.1"]) == 0
    said = capsys.readouterr()
    assert "arms disagree on 10% of the rows): none" in said.out
    assert "43 test rows can show nothing where arms disagree on 10% of them" in " ".join(said.err.split())
