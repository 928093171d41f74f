"""`promptlearn judge noise`, and what `run` does with a judge that is a language model."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from shop import write_shop

from promptlearn.cli.main import execute
from promptlearn.store import open_store


def shop(folder: Path, **changes: Any) -> Path:
    """With a judge model that compares the two fences."""
    models = {"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"}
    write_shop(folder, **({"models": models, "judges": ["correctness"]} | changes))
    same = r"(?s)<<<DATA expected \w+>>>\n([^\n]*)\n<<<END.*<<<DATA output \w+>>>\n\1\n<<<END"
    verdicts = {label: json.dumps({"explanation": "so", "label": label}) for label in ("correct", "incorrect")}
    script = {"rules": [{"when": same, "reply": verdicts["correct"]}], "default": verdicts["incorrect"]}
    (folder / "judge.yaml").write_text(yaml.safe_dump(script), encoding="utf-8")
    return folder


def test_a_judge_that_never_wavers_has_no_floor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    assert execute(["judge", "noise", "--json", "-q", "--rollouts", "5", "--repeats", "3"]) == 0
    said = json.loads(capsys.readouterr().out)
    (judge,) = said["judges"]
    assert (said["rollouts"], said["repeats"], said["judge_calls"]) == (5, 3, 15)
    assert (judge["judge"], judge["judgements"], judge["flip_rate"]) == ("correctness", 15, 0.0)
    assert judge["floor"]["test"]["difference"] == 0.0
    with open_store(create=False) as store:
        assert {check.judge for check in store.judges.items("noise")} == {"correctness", "(score)"}
        assert store.reader.runs()[0].state == "finished"
    assert execute(["judge", "noise", "--json", "-q", "--rollouts", "5", "--repeats", "3"]) == 0
    assert json.loads(capsys.readouterr().out)["judge_calls"] == 0  # all from the journal (invariant 3)


def test_answers_that_nobody_could_judge_twice_have_no_noise_of_0(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"rules": [], "default": "well"}), encoding="utf-8")
    assert execute(["judge", "noise", "-q", "--rollouts", "5", "--set", "search.max_error_share=1"]) == 5
    assert "none of the 5 answers could be judged twice; most often: " in capsys.readouterr().err
    with open_store(create=False) as store:
        assert store.judges.items("noise") == []


def test_judgements_that_failed_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 4."""
    monkeypatch.chdir(shop(tmp_path))
    rule = {"when": r"<<<DATA input \w+>>>\n[^\n]*(password|parcel)", "reply": "well"}
    verdict = json.dumps({"explanation": "so", "label": "incorrect"})
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"rules": [rule], "default": verdict}), encoding="utf-8")
    noise = ["judge", "noise", "-q", "--rollouts", "12", "--set", "search.max_error_share=1"]
    assert execute([*noise, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    (judge,) = said["judges"]
    assert 0 < judge["not_judged"] == said["score"]["not_judged"] == 12 - judge["rollouts"]
    assert (judge["asked"], "twice gave a reply that can not be read" in said["trouble"]) == (1.0, True)
    assert execute(noise) == 0
    assert f"{judge['not_judged']} judgements failed and are in no figure; most often: " in capsys.readouterr().out


def test_a_judge_that_nothing_reached_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judges = [{"use": "exact_match"}, {"use": "correctness", "when": "passed"}]
    monkeypatch.chdir(shop(tmp_path, judges=judges))
    assert execute(["judge", "noise", "-q", "--rollouts", "5"]) == 5
    assert "correctness had nothing to judge: none of the 5 answers passed" in capsys.readouterr().err


def test_judges_by_code_have_no_noise_to_measure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path, judges=["label_set"]))
    assert execute(["judge", "noise", "-q"]) == 2
    assert "no judge of this configuration is a language model" in capsys.readouterr().err


@pytest.mark.parametrize(("judge", "again"), [("correctness", 16), ("label_set", 0)])
def test_a_run_judges_some_answers_again_where_a_judge_may_waver(
    judge: str, again: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 7; deterministic judges cost nothing more."""
    monkeypatch.chdir(shop(tmp_path, judges=[judge], search={"rounds": 1, "drafts": 4, "guard": False}))
    assert execute(["run", "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["decision"] == "improved"
    if again:
        assert result["noise"]["judgements"] - result["noise"]["rollouts"] == again
        assert (result["noise"]["floor"], result["noise"]["refused"]) == (0.0, False)
    else:
        assert result["noise"] is None
        assert result["usage"]["judge"]["calls"] == 0
