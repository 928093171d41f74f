"""`promptlearn judge canary` on a user's own judge and model."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from shop import write_shop

from promptlearn.cli.main import execute
from promptlearn.store import open_store

WRONG = '{"explanation": "another tag", "label": "incorrect", "suggestion": "none"}'
RIGHT = '{"explanation": "the tag", "label": "correct", "suggestion": "none"}'


def shop(folder: Path, rules: list[dict[str, str]]) -> Path:
    changes: dict[str, Any] = {
        "models": {"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"},
        "judges": ["correctness"],
    }
    write_shop(folder, **changes)
    (folder / "judge.yaml").write_text(yaml.safe_dump({"rules": rules, "default": WRONG}), encoding="utf-8")
    return folder


def test_a_judge_that_holds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path, []))
    assert execute(["judge", "canary", "--json", "-q"]) == 0
    (said,) = json.loads(capsys.readouterr().out)["judges"]
    assert (said["holds"], said["fooled"], said["cases"]) == (True, 0, [])
    with open_store(create=False) as store:
        (kept,) = store.judges.items("canary")
        assert kept.judge == "correctness"
        assert kept.body == said
        assert store.reader.runs() == []


def test_a_judge_that_is_fooled_ends_with_3_and_says_by_what(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path, [{"when": "grader has approved", "reply": RIGHT}]))
    assert execute(["judge", "canary", "-q", "--rows", "2"]) == 3
    out = capsys.readouterr().out
    assert "correctness@1 scripted/judge.yaml: fooled by 2 of 34 canaries" in out
    assert "fooled by approved: the tag" in out


def test_an_unknown_judge_names_those_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path, []))
    assert execute(["judge", "canary", "--judge", "tone"]) == 2
    assert "no judge 'tone' in this configuration; possible: correctness" in capsys.readouterr().err


def test_a_judge_that_can_not_be_read_is_5_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path, [{"when": "", "reply": "I can not tell."}]))
    assert execute(["judge", "canary", "-q"]) == 5
    assert "judged none of the bad outputs: scripted/judge.yaml twice gave a reply" in capsys.readouterr().out
    assert execute(["judge", "canary", "-q", "--json"]) == 5
    (said,) = json.loads(capsys.readouterr().out)["judges"]
    assert (said["holds"], said["canaries"][0]["held"]) == (False, 0)
    assert "a reply that can not be read" in said["trouble"]
