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


def own_judge(folder: Path, name: str, body: str) -> None:
    """A judge by code in a module of that name, instead of the language model."""
    shop(folder, [])
    (folder / f"{name}.py").write_text(f"def judge(example, rollout):\n    {body}\n", encoding="utf-8")
    config = yaml.safe_load((folder / "promptlearn.yaml").read_text(encoding="utf-8"))
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config | {"judges": [f"{name}:judge"]}), encoding="utf-8")


def test_what_was_not_judged_does_not_count_as_holding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 4."""
    own_judge(
        tmp_path, "lazy_judge", "return 0 if ':' not in rollout.output and '\\n' not in rollout.output else 1 / 0"
    )
    monkeypatch.chdir(tmp_path)
    assert execute(["judge", "canary", "-q", "--json"]) == 5
    (said,) = json.loads(capsys.readouterr().out)["judges"]
    assert (said["holds"], said["held"], said["not_judged"]) == (False, 3, 48)
    assert execute(["judge", "canary", "-q"]) == 5
    assert "judge: no verdict on 94% of the canaries, too many to say: ZeroDivisionError" in capsys.readouterr().out
    assert execute(["judge", "canary", "-q", "--set", "search.max_error_share=0.95"]) == 0
    assert "no canary passed, no verdict on 94% of them" in capsys.readouterr().out


def test_a_score_that_a_disguise_raises_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own_judge(tmp_path, "swayed_judge", "return 0.4 if 'checked' in rollout.output else 0.1")
    monkeypatch.chdir(tmp_path)
    assert execute(["judge", "canary", "-q"]) == 0
    assert "no canary passed, 3 raised the score" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("canary", "judge: judged none of the bad outputs: ValueError: no such thing"),
        ("calibrate", "none of the 1 labelled outputs could be judged by judge; most often: ValueError: no such thing"),
    ],
)
def test_a_user_s_judge_that_raises_is_named(
    command: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a run, where it is one row's failure (invariant 4)."""
    own_judge(tmp_path, "broken_judge", "raise ValueError('no such thing')")
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("message,output,label\nWhat?,Fine.,pass\n", encoding="utf-8")
    labels = ["--labels", "labels.csv"] if command == "calibrate" else []
    assert execute(["judge", command, "-q", *labels]) == 5
    assert words in "".join(capsys.readouterr())


@pytest.mark.parametrize("command", ["canary", "calibrate", "noise"])
def test_an_endpoint_that_refuses_everybody_is_1_as_in_a_run(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path, []))
    Path("judge.yaml").write_text("rules: []\n", encoding="utf-8")
    Path("labels.csv").write_text("message,tag,output,label\nWhat?,a,Fine.,pass\n", encoding="utf-8")
    labels = ["--labels", "labels.csv"] if command == "calibrate" else []
    assert execute(["judge", command, "-q", *labels]) == 1
    assert "no rule of scripted/judge.yaml matches" in capsys.readouterr().err
