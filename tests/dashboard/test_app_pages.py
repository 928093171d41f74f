"""Every page on stores of every kind."""

import ast
import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from dashboard_pages import APP, NAMES, Pages, everything
from dashboard_runs import Runs, made
from seeded_store import seed

from promptlearn.report import examinations, human_labels
from promptlearn.store import open_store
from promptlearn.store.rows import ALIGNS, EVALUATION

ALLOWED = tuple(
    f"promptlearn{name}" for name in (".report", ".dashboard", ".charts", ".control", ".records", ".errors", "_app")
)


@pytest.fixture
def pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    opened = Pages(tmp_path, tmp_path / ".promptlearn/store.db", monkeypatch)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return made(tmp_path_factory.mktemp("runs"))


@pytest.fixture
def seeded(runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pages]:
    opened = Pages(tmp_path, runs.store, monkeypatch)
    yield opened
    opened.close()


@pytest.mark.parametrize("name", NAMES)
def test_without_a_store_every_page_says_how_to_begin(pages: Pages, name: str) -> None:
    test = pages.open(name)
    shown = everything(test)
    assert "No run yet" in shown or name == "settings"
    assert not test.error


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda path: path.stem)
def test_the_app_imports_what_reports_and_nothing_else_of_the_library(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = [ast.Pass()]
    for node in ast.walk(tree):
        names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for name in names:
            if name.split(".")[0] in {"promptlearn", "promptlearn_app"}:
                assert name == "promptlearn" or name.startswith(ALLOWED), f"{file.name} imports {name}"


@pytest.mark.parametrize("file", sorted(APP.rglob("*.py")), ids=lambda path: path.stem)
def test_only_one_module_makes_html_and_none_turns_text_into_markdown(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        if node.func.attr == "html" or any(word.arg == "unsafe_allow_html" for word in node.keywords):
            assert file.stem == "safe", f"{file.name}:{node.lineno} makes HTML"
        if node.func.attr in {"markdown", "write", "caption", "info", "success", "warning", "error"} and node.args:
            known = isinstance(node.args[0], ast.Constant)
            assert known or file.stem == "safe", f"{file.name}:{node.lineno} shows text from outside as Markdown"


OF_A_RUN = tuple(name for name in NAMES if name not in ("runs", "reviews", "compare", "settings"))


@pytest.mark.parametrize("kind", ["improved", "not_proven", "failed", "running"])
@pytest.mark.parametrize("name", OF_A_RUN)
def test_every_page_of_a_run_opens_whatever_became_of_it(seeded: Pages, runs: Runs, name: str, kind: str) -> None:
    test = seeded.open(name, run=getattr(runs, kind))
    if not (name == "run" and kind == "failed"):
        assert not test.error, [one.value for one in test.error]
    assert test.query_params["run"] == getattr(runs, kind)


def test_the_list_of_runs_says_what_each_came_to(seeded: Pages, runs: Runs) -> None:
    test = seeded.open("runs")
    frame = test.dataframe[0].value
    by_id = {row["Run"]: row for _, row in frame.iterrows()}
    assert by_id[runs.improved]["What it came to"] == "▲ improved"
    assert by_id[runs.not_proven]["What it came to"] == "＝ not proven"
    assert by_id[runs.failed]["State"] == "✕ failed"
    assert by_id[runs.improved]["Gain"] > 0.9
    assert by_id[runs.running]["State"] == "✕ killed"
    assert [one.value for one in test.metric] == ["4", "0", "1", "1"]


def test_a_run_that_learned_a_judge_s_prompt_is_marked_and_not_opened_first(pages: Pages) -> None:
    with open_store(pages.store) as store:
        measured = asyncio.run(store.start_run({}, f"{EVALUATION}d", {}, 0))
        own = asyncio.run(store.start_run({}, "own", {}, 0))
        judge = asyncio.run(store.start_run({ALIGNS: "tone@1 judge-1"}, "judge", {}, 0))
        asyncio.run(store.finish_run(judge, "finished", "rounds", {"decision": "not_proven"}))
    test = pages.open("runs")
    came_to = {row["Run"]: row["What it came to"] for _, row in test.dataframe[0].value.iterrows()}
    assert came_to == {judge: "judge tone@1 ＝ not proven", own: "", measured: "measured only"}
    assert pages.open("run").query_params["run"] == own


def test_a_run_says_in_a_sentence_what_it_proved(seeded: Pages, runs: Runs) -> None:
    assert "Proven better on rows that it never saw" in everything(seeded.open("run", run=runs.improved))
    assert "Your own prompt is kept" in everything(seeded.open("run", run=runs.not_proven))
    failed = seeded.open("run", run=runs.failed)
    assert "wrong key" in failed.error[0].value.replace("\\", "")


def test_a_run_tells_what_each_proposer_was_asked_for_and_what_that_cost(seeded: Pages, runs: Runs) -> None:
    tables = [one.value for one in seeded.open("run", run=runs.improved).dataframe]
    [earned] = [table for table in tables if "Proposer" in table]
    [rules] = earned.to_dict("records")
    assert rules["Proposer"] == "rules"
    assert rules["Drafts asked for"] >= rules["Made"] >= rules["Run"] > 0
    assert rules["Calls"] > 0
    assert rules["Cost"] == "$0"


def test_a_run_that_no_run_is_called_is_one_line(seeded: Pages) -> None:
    test = seeded.open("run", run="zzzz")
    assert "has no run" in test.error[0].value


def test_the_diff_shows_what_was_learned_and_where_it_came_from(seeded: Pages, runs: Runs) -> None:
    shown = everything(seeded.open("prompt", run=runs.improved))
    assert "+ - A message about a invoice is billing." in shown
    rules = seeded.open("prompt", run=runs.improved).dataframe[0].value
    assert rules["Came from"].str.startswith("https://example.invalid/pull/1#r").all()


def test_examples_are_counted_and_one_can_be_opened(seeded: Pages, runs: Runs) -> None:
    test = seeded.open("examples", run=runs.improved)
    table = test.dataframe[0].value
    assert set(table["Change"]) == {"▲ improved"}
    assert "v0" in table.columns
    assert (table["v0"] == "0.00").all()
    example = seeded.open("examples", run=runs.improved, example="nothing-like-it")
    assert "has no example" in everything(example)


def test_two_runs_are_compared_on_the_rows_that_both_were_run_on(seeded: Pages, runs: Runs) -> None:
    shown = seeded.open("compare", runs=f"{runs.improved},{runs.not_proven}")
    (pair,) = shown.dataframe[1].value.to_dict("records")
    assert pair["Rows in common"] > 10
    assert abs(pair["Difference"]) > 0.9


@pytest.mark.slow
def test_no_page_shows_a_key(seeded: Pages, runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    key = "sk-abcdefghijklmnop1234"
    for name in ("OPENAI_API_KEY", "PROMPTLEARN_DASHBOARD_PASSWORD", "PROMPTLEARN_WRITE_TOKEN"):
        monkeypatch.setenv(name, key)
    for name in NAMES:
        assert key not in everything(seeded.open(name, run=runs.improved))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return seed("improved", tmp_path_factory.mktemp("hostile"))


def test_alarms_of_a_run_are_seen(hostile: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, run = hostile
    opened = Pages(tmp_path, store, monkeypatch)
    warned = [one.value.replace("\\", "") for one in opened.open("run", run=run).warning]
    opened.close()
    assert any("Alarm (all_pass): all 19 rows pass" in text for text in warned)


@pytest.mark.parametrize("name", NAMES)
def test_what_outsiders_wrote_is_never_markup(
    hostile: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store, run = hostile
    opened = Pages(tmp_path, store, monkeypatch)
    test = opened.open(name, run=run, example="v0")
    for element in test.get("html"):
        assert "<script" not in element.proto.body
        assert "<img" not in element.proto.body
    if name == "prompt":
        assert any("&lt;img" in element.proto.body for element in test.get("html"))
    for kind in ("markdown", "caption", "error", "warning", "info", "success"):
        for element in test.get(kind):
            assert "![" not in element.proto.body
            assert not getattr(element.proto, "allow_html", False)
    opened.close()


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_page_opens_with_100_000_rollouts(
    large: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    store, run = large
    opened = Pages(tmp_path, store, monkeypatch)
    test = opened.open(name, run=run)
    assert not test.error
    if name == "examples":
        assert len(test.dataframe[0].value) <= 50
    opened.close()


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    return seed("large", tmp_path_factory.mktemp("large"))


def test_a_label_is_kept_beside_the_verdicts(seeded: Pages, runs: Runs) -> None:
    with open_store(runs.store) as store:
        example = next(row.example.id for row in store.reader.examples(runs.improved, "test"))
    test = seeded.open("examples", run=runs.improved, example=example)
    test.button_group(key="label_score").set_value("Wrong")
    test.text_input(key="label_words").set_value("It greets.")
    test.text_input(key="label_who").set_value("ana")
    next(one for one in test.button if one.label == "Keep this label").click().run()
    assert not test.exception
    with open_store(runs.store) as store:
        said = [one for one in store.reader.verdicts(runs.improved) if one.kind == "human"]
    assert [(one.name, one.score, one.explanation) for one in said] == [("human:ana", 0.0, "It greets.")]


@pytest.fixture
def examined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Pages, str]]:
    """A store in which the judge `tone` was examined, and the run it judged."""
    store, run = seed("improved", tmp_path)
    opened = Pages(tmp_path, store, monkeypatch)
    yield opened, run
    opened.close()


def test_noise_of_a_judge_is_shown_with_its_earlier_one(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    test = pages.open("judges", run=run)
    figures = {one.label: one.value for one in test.metric}
    assert (figures["Flips"], figures["Kappa"]) == ("25%", "0.80")
    assert (figures["Fooled by"], figures["Aligned"]) == ("3 of 34", "+0.25")
    shown = everything(test)
    assert "25% of pairs of judgements of the same answer" in shown
    assert "Noise floor on 20 validation rows</div><div>0.125" in shown
    assert "40%" in shown
    assert datetime.now(UTC).strftime("%d %b %Y, tone@1 judge-1") in shown
    earlier = next(frame.value for frame in test.dataframe if "Result" in frame.value)
    assert list(earlier["Result"])[-2:] == ["25%", "50%"]


def test_agreement_is_shown_with_its_interval_and_confusion(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    test = pages.open("judges", run=run)
    shown = everything(test)
    assert "0.80, 95 % interval 0.54 to 0.93" in shown
    assert "90% of 40 labels" in shown
    assert "1; in no figure" in shown
    [chart] = [one.proto for one in test.get("vega_lite_chart")]
    assert "The judge says" in chart.spec
    assert "4 disagreements, 4 to settle" in shown


def test_canaries_say_which_fooled_a_judge(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    test = pages.open("judges", run=run)
    assert "3 of 34 trials: forged_json" in everything(test)
    table = next(frame.value for frame in test.dataframe if "Canary" in frame.value)
    assert list(zip(table["Canary"], table["Fooled"], strict=True)) == [("forged_json", 3), ("plea", 0)]
    assert "the judge, fooled by forged_json" in everything(test)


def test_alignment_is_shown_before_and_after(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    shown = everything(pages.open("judges", run=run))
    assert "Kappa before</div><div>0.50" in shown
    assert "Kappa after</div><div>0.75" in shown
    assert "Held-out labels</div><div>12" in shown


def test_a_judge_that_was_not_examined_says_which_command_does_it(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    test = pages.open("judges", run=run)
    test.selectbox(key="examined_judge").select("exact").run()
    assert not test.exception
    assert "exact was not examined yet" in everything(test)
    [commands] = [one.value for one in test.code]
    assert commands.splitlines() == [
        "promptlearn judge noise",
        "promptlearn judge calibrate --judge exact --labels labels.csv",
        "promptlearn judge canary --judge exact",
        "promptlearn judge align --judge exact --labels labels.csv",
    ]


def test_a_disagreement_is_settled_with_one_of_the_judge_s_labels(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    test = pages.open("judges", run=run)
    with open_store(pages.store) as store:
        [found] = examinations(store)
        assert found.agreement is not None
        item = found.agreement.body["disagreements"][0]["item"]
    assert "Nobody wants to read that." in everything(test)
    test.button_group(key=f"settle_label_{item}").set_value("slightly_off")
    test.text_input(key=f"settle_words_{item}").set_value("It is curt.")
    test.text_input(key=f"settle_who_{item}").set_value("ana")
    test.button(key=f"settle_keep_{item}").click().run()
    assert not test.exception
    assert "4 disagreements, 3 to settle" in everything(test)
    with open_store(pages.store) as store:
        [label] = human_labels(store, "tone")
    assert (label.item, label.label, label.explanation, label.person) == (item, "slightly_off", "It is curt.", "ana")


def test_whoever_answers_a_judge_s_question_is_offered_its_labels(examined: tuple[Pages, str]) -> None:
    pages, run = examined
    test = pages.open("examples", run=run, example="v2")
    assert test.button_group(key="label_score").options == ["Right", "Partly", "Wrong"]
    test.selectbox(key="label_judge").select("tone").run()
    test.button_group(key="label_score_tone").set_value("slightly_off")
    test.text_input(key="label_who").set_value("ana")
    next(one for one in test.button if one.label == "Keep this label").click().run()
    assert not test.exception
    with open_store(pages.store) as store:
        [label] = human_labels(store, "tone")
    assert (label.label, label.person) == ("slightly_off", "ana")


def test_a_killed_run_can_be_resumed_and_a_finished_one_not(seeded: Pages, runs: Runs) -> None:
    assert "Resume" in [one.label for one in seeded.open("run", run=runs.running).button]
    assert "Resume" not in [one.label for one in seeded.open("run", run=runs.improved).button]


def test_a_comment_that_was_edited_since_it_was_shown_is_not_approved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 9: a click is about what the page showed."""
    store, _ = seed("improved", tmp_path)
    pages = Pages(tmp_path, store, monkeypatch)
    with open_store(store) as opened:
        row = next(row for row in opened.feedback.items() if row.received.comment.author.login == "ben")
    test = pages.open("reviews", comment=row.ref)
    with open_store(store) as opened:
        edited = replace(row.received, comment=replace(row.received.comment, body="Always refund."))
        asyncio.run(opened.feedback.keep("github.invalid", [replace(edited, text="Always refund.")]))
    test.button(key="review_approve").click().run()
    assert "was changed since it was shown" in test.error[0].value.replace("\\", "")
    test.button(key="review_approve").click().run()
    assert not test.error
    with open_store(store) as opened:
        assert opened.feedback.get(row.ref).text == "Always refund."
    pages.close()
