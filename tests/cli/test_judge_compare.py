"""`judge compare`: whose answers a judge prefers, in both orders, and what a judge that looks at positions does."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest
import synthetic
import yaml
from shop import write_shop
from typer.testing import CliRunner

import promptlearn
from promptlearn import Budget, ScriptedModel
from promptlearn.cli.main import app, execute
from promptlearn.errors import DataError, UsageError
from promptlearn.examine.preference import examine_preference, preference_document
from promptlearn.judging import RelativeJudge
from promptlearn.records import Message
from promptlearn.store import open_store


def shorter_first(messages: Sequence[Message]) -> str:
    """Prefers the shorter answer, whatever it is called."""
    found = re.finditer(r"<<<DATA ([A-Z]) (\w+)>>>\n(.*?)\n<<<END \1 \2>>>", messages[-1].content, re.DOTALL)
    answers = {match[1]: match[3] for match in found}
    order = sorted(answers, key=lambda name: (len(answers[name]), answers[name]))
    notes = "\n".join(f"{name}: has {len(answers[name])} letters" for name in answers)
    return json.dumps({"notes": notes, "ranking": " > ".join(order)})


async def test_the_better_answers_are_preferred_in_both_orders(tmp_path: Path) -> None:
    result = await promptlearn.aoptimize(
        synthetic.SEED,
        synthetic.rows(),
        task=synthetic.task_model(),
        inputs=["message"],
        expected="tag",
        reviews=synthetic.house_rules(),
        proposers=["rules"],
        rounds=1,
        budget=Budget(task_calls=2000),
        store=tmp_path / "store.db",
    )
    model = ScriptedModel(shorter_first, identity="shorter")
    with open_store(tmp_path / "store.db") as store:
        heard: list[tuple[int, int]] = []
        report = await examine_preference(
            store, RelativeJudge(model), result.run_id, rows=6, heard=lambda *said: heard.append(said)
        )
        with pytest.raises(UsageError, match="best and best are the same prompt"):
            await examine_preference(store, RelativeJudge(model), result.run_id, ("best", "best"))
        with pytest.raises(UsageError, match="has no prompt"):
            await examine_preference(store, RelativeJudge(model), result.run_id, ("baseline", "77"))
        with pytest.raises(DataError, match="no train row"):
            await examine_preference(store, RelativeJudge(model), result.run_id, ("baseline", "best"), "train", rows=0)
    assert (report.count("preferred"), report.usage.calls) == (6, 12)
    assert heard == [(done, 6) for done in range(1, 7)]
    assert report.test.difference == 1.0
    document = preference_document(report)
    assert document["cases"][0]["outcome"] == "preferred"
    assert "letters" in document["cases"][0]["about_new"]


def test_the_command_says_where_the_position_decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = json.dumps({"notes": "A: came first\nB: came second", "ranking": "A > B"})
    models = {"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"}
    folder = write_shop(tmp_path / "shop", models=models, judges=["label_set"], store="store.db")
    (folder / "judge.yaml").write_text(yaml.safe_dump({"default": first}), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(app, ["run", "--quiet"]).exit_code == 0
    ran = CliRunner().invoke(app, ["judge", "compare", "--rows", "5", "--json"])
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    assert (document["pairs"], document["swapped"], document["difference"]) == (5, 5, 0.0)
    monkeypatch.setattr("promptlearn.cli.pair_progress.QUIET_LINES", 0.0)
    assert "of 5 pairs judged" in CliRunner().invoke(app, ["judge", "compare", "--rows", "5"]).stderr
    assert CliRunner().invoke(app, ["judge", "compare", "--rows", "5", "-q"]).stderr == ""
    shown = CliRunner().invoke(app, ["judge", "compare", "--rows", "5", "--criteria", "It is a tag."])
    assert "the position decided" in shown.output
    bare = CliRunner().invoke(app, ["judge", "compare", "--set", "models.judge=null"])
    assert bare.exception is not None
    assert "needs models.judge" in str(bare.exception)


def test_a_model_that_can_not_be_read_makes_no_difference_of_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 4: what was not judged is no score; and what was paid for it is counted."""
    models = {"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"}
    folder = write_shop(tmp_path / "shop", models=models, judges=["label_set"], store="store.db")
    (folder / "judge.yaml").write_text(yaml.safe_dump({"default": "I can not tell."}), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert execute(["run", "--quiet"]) == 0
    capsys.readouterr()
    assert execute(["judge", "compare", "--rows", "3"]) == 5
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert "none of the 3 pairs that differ could be judged" in said.err
    assert "a reply that can not be read" in said.err


def test_identical_answers_do_not_hide_that_none_of_the_others_could_be_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 4: nobody was asked about those."""
    judge = {"default": "I can not tell."}
    folder = write_shop(
        tmp_path / "shop",
        models={"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"},
        judges=["label_set"],
        store="store.db",
    )
    (folder / "judge.yaml").write_text(yaml.safe_dump(judge), encoding="utf-8")
    script = yaml.safe_load((folder / "model.yaml").read_text(encoding="utf-8"))
    script["rules"].insert(0, {"when": r"user: [^\n]*password[^\n]*\Z", "reply": "access"})
    (folder / "model.yaml").write_text(yaml.safe_dump(script), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert execute(["run", "--quiet"]) == 0
    capsys.readouterr()
    assert execute(["judge", "compare"]) == 5
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    found = re.search(r"none of the (\d+) pairs that differ could be judged", said.err)
    assert found is not None
    assert 0 < int(found[1]) < 20


def test_pairs_that_were_not_judged_are_paid_for_and_say_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    models = {"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"}
    folder = write_shop(tmp_path / "shop", models=models, judges=["label_set"], store="store.db")
    first = json.dumps({"notes": "A: came first\nB: came second", "ranking": "A > B"})
    script = {"rules": [{"when": r"password", "reply": "I can not tell."}], "default": first}
    (folder / "judge.yaml").write_text(yaml.safe_dump(script), encoding="utf-8")
    monkeypatch.chdir(folder)
    assert execute(["run", "--quiet"]) == 0
    capsys.readouterr()
    assert execute(["judge", "compare", "--rows", "20", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    judged, failed = document["swapped"], document["not_judged"]
    assert judged > 0
    assert failed > 0
    assert document["judge_calls"] == 2 * (
        judged + failed
    )  # the first order was asked for once more, the second not at all
    assert execute(["judge", "compare", "--rows", "20"]) == 0
    assert "not judged: scripted/judge.yaml twice gave a reply that can not be read" in capsys.readouterr().out
