"""`promptlearn judge calibrate` and `align`: people's labels from a table, a run and the store."""

import asyncio
import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from shop import write_shop, write_table

from promptlearn import control, report
from promptlearn.cli.main import execute
from promptlearn.judging import load_judge_file
from promptlearn.records import Example, Rollout, Verdict
from promptlearn.store import open_store
from promptlearn.store.judge_rows import HumanLabel

NAMES_PRICE, NO_PRICE = "It is 5 euro.", "Thank you for asking."
WHY = "an answer has to name the price"


def said(label: str) -> str:
    return json.dumps({"explanation": "polite enough" if label == "kept" else "no price", "label": label})


def shop(folder: Path) -> Path:
    """A judge model that passes everything until its prompt speaks of the price, and then looks for it."""
    changes: dict[str, Any] = {
        "models": {"task": "scripted/model.yaml", "judge": "scripted/judge.yaml"},
        "judges": [{"use": "criterion", "options": {"criteria": "Be polite."}}],
        "search": {"rounds": 2, "drafts": 2},
    }
    write_shop(folder, **changes)
    rules = [
        {"when": r"(?s)\Asystem: .*name the price.*<<<DATA output \w+>>>\nThank you", "reply": said("broken")},
        {"when": r"(?s)\Asystem: .*<<<DATA", "reply": said("kept")},
    ]
    (folder / "judge.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(["message", "output", "label", "explanation"])
        for number in range(120):
            good = number % 3 > 0
            answer = NAMES_PRICE if good else NO_PRICE
            writer.writerow([f"What is item {number}?", answer, "kept" if good else "broken", "" if good else WHY])
    return folder


def evaluated(capsys: pytest.CaptureFixture[str]) -> str:
    """The id of an evaluation, for people to label its answers."""
    assert execute(["eval", "--json", "-q"]) == 0
    return str(json.loads(capsys.readouterr().out)["run_id"])


def test_calibrate_says_how_far_a_judge_agrees_and_where_it_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    assert execute(["judge", "calibrate", "--labels", "labels.csv", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["observed"], found["kappa"]) == (120, pytest.approx(2 / 3), pytest.approx(0.0))
    assert found["confusion"]["broken"] == {"kept": 40, "not_applicable": 0, "broken": 0}
    first = found["disagreements"][0]
    assert (first["human"], first["human_words"]) == ("broken", WHY)
    assert (first["judge"], first["judge_words"]) == ("kept", "polite enough")
    with open_store(create=False) as store:
        (kept,) = store.judges.items("agreement", "criterion")
        assert kept.body == found
    assert execute(["judge", "calibrate", "--labels", "labels.csv", "-q", "--show", "1"]) == 0
    out = capsys.readouterr().out
    assert "Cohen's kappa 0.00, 95 % interval" in out
    assert f"a person says broken: {WHY}" in out
    assert "39 more disagreements" in out


def test_a_word_that_was_settled_in_the_store_counts_more_than_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    example = Example("e", {"message": "What is item 0?"})
    label = HumanLabel(example, Rollout("human", "e", NO_PRICE), "kept", "on second thought", "kim", "criterion")
    with open_store() as store:
        asyncio.run(store.judges.label([label]))
    assert execute(["judge", "calibrate", "--labels", "labels.csv", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], len(found["disagreements"])) == (120, 39)


def test_verdicts_that_people_gave_on_a_run_are_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    run = evaluated(capsys)
    with open_store() as store:
        rows = store.reader.rollouts(run)[:4]
        human = [Verdict("human", row.rollout.id, passed=False, explanation="no", kind="human") for row in rows]
        asyncio.run(store.add_verdicts(run, human))
    assert execute(["judge", "calibrate", "--run", run, "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["labels"], found["confusion"]["fail"]["pass"]) == (4, ["pass", "fail"], 4)


def test_a_label_of_the_judge_s_own_is_compared_as_it_is_and_can_be_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    run = evaluated(capsys)
    with open_store() as store:
        assert report.judge_labels(store, run)["criterion"].scores == {"kept": 1, "not_applicable": 1, "broken": 0}
        rows = store.reader.rollouts(run)[:4]
    for row in rows:
        with open_store() as store:
            control.label(store, run, row.rollout.example, "broken", "kim", "no", judge="criterion")
    assert execute(["judge", "calibrate", "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["labels"], found["confusion"]["broken"]["kept"]) == (["kept", "not_applicable", "broken"], found["n"])
    with open_store() as store:
        item = found["disagreements"][0]["item"]
        control.settle(store, "criterion", item, "kept", "kim")
    assert execute(["judge", "calibrate", "--json", "-q"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["n"], again["confusion"]["kept"]["kept"]) == (found["n"], 1)
    assert item not in [case["item"] for case in again["disagreements"]]


def test_a_label_of_an_answer_as_a_whole_counts_once_and_is_settled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The run has it beside its verdicts, and the store among people's labels."""
    monkeypatch.chdir(shop(tmp_path))
    run = evaluated(capsys)
    with open_store() as store:
        for row in store.reader.rollouts(run)[:4]:
            control.label(store, run, row.rollout.example, 0.0, "kim", "no")
    assert execute(["judge", "calibrate", "--run", run, "--json", "-q"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["n"], found["confusion"]["fail"]["pass"]) == (4, 4)
    with open_store() as store:
        control.settle(store, "criterion", found["disagreements"][0]["item"], "pass", "ann")
    assert execute(["judge", "calibrate", "--run", run, "--json", "-q"]) == 0
    again = json.loads(capsys.readouterr().out)
    assert (again["n"], again["confusion"]["pass"]["pass"], len(again["disagreements"])) == (4, 1, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "no labels: name a table with --labels"),
        (["--labels", "tickets.csv"], "labels need the columns output and label"),
        (["--labels", "odd.csv"], "odd.csv: row 1 (line 2): the label 'meh' of example"),
        (["--labels", "odd.csv", "--set", 'judges=["rubric"]'], "possible: pass, fail, a number from 1 to 5"),
        (["--labels", "labels.csv", "--judge", "tone"], "no judge 'tone'"),
    ],
)
def test_what_can_not_be_compared_says_why(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    Path("odd.csv").write_text("message,output,label\nWhat?,Fine.,meh\n", encoding="utf-8")
    assert execute(["judge", "calibrate", "-q", *arguments]) == 2
    assert words in capsys.readouterr().err


def test_align_learns_the_judge_s_prompt_and_proves_it_on_held_out_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariants 3, 5 and 7 hold for a judge's prompt as for any other."""
    monkeypatch.chdir(shop(tmp_path))
    assert execute(["judge", "align", "--labels", "labels.csv", "--json", "-q", "--to", "price.yaml"]) == 0
    found = json.loads(capsys.readouterr().out)
    before, after = found["held_out"]["before"], found["held_out"]["after"]
    assert found["decision"] == "improved"
    assert before["n"] == after["n"] == found["result"]["baseline"]["test"]["n"]
    assert (before["kappa"], after["kappa"]) == (pytest.approx(0.0), pytest.approx(1.0))
    assert found["result"]["test_reads"] == 1
    file = load_judge_file("price.yaml", tmp_path)
    assert file.version == load_judge_file("criterion").version + 1
    assert WHY in file.system
    assert "Be polite." in file.system
    assert "<<<DATA line" in file.system
    assert "system: |" in Path("price.yaml").read_text(encoding="utf-8")  # a person reads it: lines as they are
    config = yaml.safe_load(Path("promptlearn.yaml").read_text(encoding="utf-8"))
    Path("promptlearn.yaml").write_text(yaml.safe_dump(config | {"judges": ["price.yaml"]}), encoding="utf-8")
    assert execute(["judge", "calibrate", "--labels", "labels.csv", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["kappa"] == pytest.approx(1.0)
    with open_store(create=False) as store:
        assert [check.kind for check in store.judges.items(judge="criterion")] == ["agreement", "alignment"]


LEARNED, BAD_ANSWER = r"\Asystem: .*name the price", r"<<<DATA output \w+>>>\nThank you"


def held_out(run: str) -> list[str]:
    """What the labels of a run's test split are about, those with a bad answer."""
    with open_store(create=False) as store:
        rows = [row.example.inputs for row in store.reader.examples(run, "test")]
    return [str(row["input"]).removeprefix("message: ") for row in rows if row["output"] == NO_PRICE]


def test_a_judge_s_prompt_that_is_not_proven_is_left_in_the_run_s_folder_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 7."""
    monkeypatch.chdir(shop(tmp_path))
    align = ["judge", "align", "--labels", "labels.csv", "--to", "price.yaml", "-q"]
    assert execute([*align, "--json"]) == 0
    items = "|".join(map(re.escape, held_out(json.loads(capsys.readouterr().out)["run_id"])))
    rules = [
        {"when": rf"(?s)({items})\n", "reply": said("kept")},
        {"when": f"(?s){LEARNED}.*{BAD_ANSWER}", "reply": said("broken")},
        {"when": "", "reply": said("kept")},
    ]
    Path("judge.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    Path("price.yaml").write_text(proven := Path("price.yaml").read_text(encoding="utf-8") + "\n# mine\n", "utf-8")
    assert execute([*align, "--json"]) == 3
    found = json.loads(capsys.readouterr().out)
    assert Path("price.yaml").read_text(encoding="utf-8") == proven
    assert load_judge_file(found["path"]) == load_judge_file("criterion")
    assert WHY in load_judge_file(found["unproven"]).system
    assert execute(align) == 3
    out = capsys.readouterr().out
    assert "nothing was written to price.yaml: the judge stays as it is" in out
    assert "best of the search, not proven: " in out


@pytest.mark.parametrize("taken", ["prompt.md", "tickets.csv", "promptlearn.yaml", "."])
def test_a_file_that_is_no_judge_s_is_not_replaced_by_one(
    taken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    assert execute(["judge", "align", "--labels", "labels.csv", "-q", "--to", taken]) == 2
    assert f"{taken} exists and is no judge's file" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before
    with open_store(create=False) as store:
        assert not store.reader.runs()


def test_before_and_after_rest_on_the_labels_that_both_have_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 4."""
    monkeypatch.chdir(shop(tmp_path))
    align = ["judge", "align", "--labels", "labels.csv", "-q"]
    assert execute([*align, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["held_out"]["not_judged"] == {"before": 0, "after": 0}
    item, n = held_out(found["run_id"])[0], found["held_out"]["before"]["n"]
    script = yaml.safe_load(Path("judge.yaml").read_text(encoding="utf-8"))["rules"]
    rules = [{"when": f"(?s){LEARNED}.*{re.escape(item)}\n", "reply": "I can not tell."}, *script]
    Path("judge.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    assert execute([*align, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["held_out"]
    assert (found["before"]["n"], found["after"]["n"], found["not_judged"]) == (n - 1, n - 1, {"before": 0, "after": 1})
    assert execute(align) == 0
    assert f"{n - 1} held-out labels that both have judged (not judged: 0 before, 1 after)" in capsys.readouterr().out


def test_an_alignment_is_not_taken_for_a_run_of_the_user_s_prompt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    rules = [
        {"when": "<<<DATA output \\w+>>>\nThank you", "reply": said("broken")},
        {"when": "", "reply": said("kept")},
    ]
    Path("judge.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    execute(["run", "--json", "-q"])
    learned = json.loads(capsys.readouterr().out)
    execute(["judge", "align", "--labels", "labels.csv", "--json", "-q"])
    aligned = json.loads(capsys.readouterr().out)
    assert execute(["export"]) == 0
    assert capsys.readouterr().out == Path(learned["best"]["path"]).read_text(encoding="utf-8")
    assert execute(["show", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["summary"]["id"] == learned["run_id"]
    assert execute(["runs", "--json"]) == 0
    assert [one["aligns"] for one in json.loads(capsys.readouterr().out)] == ["criterion@1 scripted/judge.yaml", None]
    assert execute(["runs"]) == 0
    assert f"judge criterion@1: {aligned['decision']}" in capsys.readouterr().out
    for command in (["export", "--in-place"], ["export"], ["resume"], ["github", "propose", "--repo", "a/b"]):
        assert execute([*command, aligned["run_id"]]) == 2
        assert "judge" in capsys.readouterr().err


def test_align_asks_for_a_judge_s_instructions_and_not_for_an_assistant_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    config = yaml.safe_load(Path("promptlearn.yaml").read_text(encoding="utf-8"))
    config["models"]["meta"] = "scripted/meta.yaml"
    Path("promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    written = "You judge answers. Be polite. Call an answer broken where it does not name the price of what was asked."
    asked = r"(?s)\Asystem: You improve the instructions of a judge.*the judge says kept.*A person says broken"
    rules = [{"when": asked, "reply": f"<prompt>{written}</prompt>"}, {"when": ".", "reply": "I do not know."}]
    Path("meta.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    assert execute(["judge", "align", "--labels", "labels.csv", "--json", "-q"]) == 0
    run = json.loads(capsys.readouterr().out)["result"]["run_id"]
    with open_store(create=False) as store:
        texts = {one.candidate.prompt.text: one.candidate.proposer for one in store.reader.candidates(run)}
    assert texts[written] == "rewrite"


def test_a_judge_with_a_scale_is_held_against_numbers_on_it_and_learns_from_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    scored = {score: json.dumps({"explanation": "as it reads", "score": score}) for score in (1, 4)}
    rules = [
        {"when": r"(?s)\Asystem: .*name the price.*<<<DATA output \w+>>>\nThank you", "reply": scored[1]},
        {"when": r"(?s)\Asystem: .*<<<DATA", "reply": scored[4]},
    ]
    Path("judge.yaml").write_text(yaml.safe_dump({"rules": rules}), encoding="utf-8")
    text = Path("labels.csv").read_text(encoding="utf-8")
    Path("labels.csv").write_text(text.replace(",kept,", ",5,").replace(",broken,", ",1,"), encoding="utf-8")
    arguments = ["--set", 'judges=["rubric"]', "--labels", "labels.csv", "--json", "-q"]
    assert execute(["judge", "calibrate", *arguments]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["confusion"] == {"pass": {"pass": 80, "fail": 0}, "fail": {"pass": 40, "fail": 0}}
    assert execute(["judge", "align", "--to", "mine.yaml", *arguments]) == 0
    held_out = json.loads(capsys.readouterr().out)["held_out"]
    assert (held_out["before"]["kappa"], held_out["after"]["kappa"]) == (pytest.approx(0.0), pytest.approx(1.0))
    assert load_judge_file("mine.yaml", tmp_path).scale == load_judge_file("rubric").scale


def test_a_column_of_passes_is_on_no_scale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    Path("judge.yaml").write_text(yaml.safe_dump({"default": '{"explanation": "x", "score": 5}'}), encoding="utf-8")
    Path("passed.csv").write_text("message,output,passed\nWhat?,Fine.,1\nWho?,Bad.,0\n", encoding="utf-8")
    assert execute(["judge", "calibrate", "--set", 'judges=["rubric"]', "--labels", "passed.csv", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion"]["fail"] == {"pass": 1, "fail": 0}


def test_too_few_labels_teach_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    Path("few.csv").write_text("message,output,label\nWhat?,Fine.,kept\n", encoding="utf-8")
    assert execute(["judge", "align", "--labels", "few.csv", "-q"]) == 2
    assert "1 labels are too few" in capsys.readouterr().err


def test_a_checklist_that_would_be_lost_with_the_old_prompt_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    file = load_judge_file("checklist").model_dump(mode="json", exclude={"labels", "scale"})
    Path("mine.yaml").write_text(yaml.safe_dump(file | {"user": "{{ input }}\n{{ output }}"}), encoding="utf-8")
    text = Path("labels.csv").read_text(encoding="utf-8")
    Path("labels.csv").write_text(text.replace(",kept,", ",pass,").replace(",broken,", ",fail,"), encoding="utf-8")
    arguments = ["--set", 'judges=["mine.yaml"]', "--labels", "labels.csv"]
    assert execute(["judge", "align", "-q", *arguments]) == 2
    assert "shows its checklist in `system` alone" in capsys.readouterr().err


def test_a_judge_that_can_not_be_read_is_no_agreement_of_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 4."""
    monkeypatch.chdir(shop(tmp_path))
    (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"default": "I can not tell."}), encoding="utf-8")
    assert execute(["judge", "calibrate", "--labels", "labels.csv", "--json", "-q"]) == 5
    found = json.loads(capsys.readouterr().out)
    assert "none of the 120 labelled outputs could be judged" in found["error"]["message"]
    with open_store(create=False) as store:
        assert not store.judges.items("agreement", "criterion")


def test_a_label_may_be_of_a_row_that_the_limit_leaves_out_and_names_it_as_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shop(tmp_path))
    Path("judge.yaml").write_text('default: \'{"explanation": "x", "label": "correct"}\'', encoding="utf-8")
    assert execute(["eval", "--split", "all", "--json", "-q", "--set", "judges=[exact_match]"]) == 0
    run = json.loads(capsys.readouterr().out)["run_id"]
    assert execute(["show", run, "--examples", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    limit = ["--set", "data.limit={train: 5, validation: 5, test: 5}", "--set", "judges=[correctness]"]
    calibrate = ["judge", "calibrate", "--labels", "mine.csv", "--json", "-q", *limit]
    write_table(Path("mine.csv"), [{"example": row["id"][:8], "output": "a", "label": "pass"} for row in rows])
    assert execute(calibrate) == 0
    assert json.loads(capsys.readouterr().out)["n"] == len(rows) == 120
    messages = [{"message": row["inputs"]["message"], "output": "a", "label": "pass"} for row in rows]
    write_table(Path("mine.csv"), messages)
    assert execute(calibrate) == 0
    assert json.loads(capsys.readouterr().out)["n"] == 120
    write_table(Path("mine.csv"), [*messages, messages[0] | {"message": "What?"}])
    assert execute(calibrate) == 2
    assert "mine.csv: row 121 (line 122): judge correctness needs an expected answer" in capsys.readouterr().err
    write_table(Path("mine.csv"), [{"example": rows[0]["id"][:1], "output": "a", "label": "pass"}])
    assert execute(calibrate) == 2
    assert "rows of the data have ids that begin with" in capsys.readouterr().err


@pytest.mark.parametrize("column", ["label", "output"])
def test_people_s_label_is_not_taken_for_the_expected_answer(
    column: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The configuration's expected column may bear a name of the labels' table; the data say what was expected."""
    monkeypatch.chdir(shop(tmp_path))
    rows = [{"message": f"What is item {number}?", column: "account"} for number in range(60)]
    write_table(Path("tickets.csv"), rows)
    data = ["--set", f"data.expected={column}", "--labels", "labels.csv"]
    assert execute(["judge", "calibrate", "--json", "-q", *data]) == 0
    found = json.loads(capsys.readouterr().out)["disagreements"]
    numbered = {one["inputs"]["message"]: one["expected"] for one in found}
    assert (numbered["What is item 0?"], numbered["What is item 117?"]) == ("account", None)
