"""What people's labels mean to a judge: its own labels, words, and numbers on its own scale."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from promptlearn.errors import DataError
from promptlearn.examine.labels import FAIL, PASS, categories, category, latest, read_labels
from promptlearn.judging import Callable, Contains, ExactMatch, Judge, LLMJudge, load_judge_file
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example, Rollout, Verdict
from promptlearn.store.judge_rows import HumanLabel, score_word

EXAMPLE = Example("e", {"q": "?"}, "yes")
ROLLOUT = Rollout("p", "e", "a b c")
MODEL = ScriptedModel("never asked", identity="test/labels")


def shipped(name: str) -> LLMJudge:
    return LLMJudge(load_judge_file(name), MODEL)


def meant(word: str, judge: Judge, verdict: Verdict | None = None) -> str:
    label = HumanLabel(EXAMPLE, ROLLOUT, word)
    return category(label, judge, categories(judge, [label]), verdict)


@pytest.mark.parametrize(
    ("judge", "passing", "failing"),
    [
        (shipped("rubric"), ("5", "4", "4.0", "yes", "pass"), ("1", "3", "3.9", "no")),
        (shipped("correctness"), ("1", "1.0", "good"), ("0", "0.5", "0.99", "bad")),
        (shipped("tone"), ("1", "0.5"), ("0", "0.4")),
        (ExactMatch(), ("1", "true"), ("0", "0.5")),
        (Callable(lambda example, rollout: True, "half"), ("1", "0.5"), ("0.4",)),
    ],
)
def test_a_number_passes_where_the_judge_s_own_would(
    judge: Judge, passing: tuple[str, ...], failing: tuple[str, ...]
) -> None:
    assert {word: meant(word, judge) for word in passing} == dict.fromkeys(passing, PASS)
    assert {word: meant(word, judge) for word in failing} == dict.fromkeys(failing, FAIL)


@pytest.mark.parametrize("word", ["nan", "-3", "inf", "0", "0.5", "6", "meh", "partly"])
def test_what_is_not_on_a_judge_s_scale_is_refused(word: str) -> None:
    with pytest.raises(DataError, match=r"means nothing to judge rubric; possible: pass, fail, a number from 1 to 5$"):
        meant(word, shipped("rubric"))


@pytest.mark.parametrize("word", ["nan", "-3", "2", "5"])
def test_without_a_scale_numbers_are_from_0_to_1(word: str) -> None:
    with pytest.raises(DataError, match=r"possible: pass, fail, a number from 0 to 1$"):
        meant(word, ExactMatch())
    with pytest.raises(DataError, match=r"a number from 0 to 1, or one of fitting, slightly_off, unfitting$"):
        meant(word, shipped("tone"))


async def test_a_person_who_scores_as_a_judge_does_agrees_with_it() -> None:
    class Own:
        name = "own"

        async def judge(self, example: Example, rollout: Rollout) -> Verdict:
            return Verdict(self.name, rollout.id, 0.5)

    half, own = Contains(needles=("a", "x")), Own()
    for judge, said in ((half, FAIL), (own, PASS)):
        verdict = await judge.judge(EXAMPLE, ROLLOUT)
        assert verdict.score == 0.5
        assert meant("0.5", judge, verdict) == said


def test_two_agents_that_say_the_same_are_labelled_apart() -> None:
    """One of them did what it says."""
    true, lie = (replace(ROLLOUT, evidence={"check": {"exit_code": code}}) for code in (0, 1))
    labels = [HumanLabel(EXAMPLE, true, PASS, judge="tests"), HumanLabel(EXAMPLE, lie, FAIL, judge="tests")]
    assert latest(labels) == labels
    again = replace(labels[1], label=PASS, judge="")
    assert latest([*labels, again]) == [labels[0], again], "the last word, whichever question it was given to"


@pytest.mark.parametrize(("name", "said"), [("tone", PASS), ("correctness", FAIL), ("rubric", FAIL)])
def test_a_score_that_a_person_gave_is_on_no_judge_s_scale(name: str, said: str) -> None:
    judge = shipped(name)
    label = HumanLabel(EXAMPLE, ROLLOUT, score_word(0.5), score=0.5)
    assert categories(judge, [label]) == (PASS, FAIL)
    assert category(label, judge, (PASS, FAIL)) == said


def test_an_output_in_a_table_is_text_as_a_run_has_it(tmp_path: Path) -> None:
    """JSONL and Parquet have numbers, truth values and objects; 0 is an answer, and no empty one."""
    outputs = [0, False, 1.5, {"tag": "a"}, None, "0"]
    table = tmp_path / "labels.jsonl"
    table.write_text("".join(json.dumps({"q": "?", "output": one, "label": "pass"}) + "\n" for one in outputs), "utf-8")
    found = read_labels(table, [EXAMPLE], {"q": "q"}, None, ExactMatch())
    assert [label.rollout.output for label in found] == ["0", "false", "1.5", '{"tag": "a"}', "", "0"]
