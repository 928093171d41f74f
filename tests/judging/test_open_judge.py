"""From `use: …` to a judge."""

from pathlib import Path
from typing import Any

import pytest
from judge_model import JudgeModel

from promptlearn.errors import AssetError, ConfigError
from promptlearn.judging import (
    CODE_JUDGES,
    Callable,
    ChecksExamples,
    Judge,
    LabelSet,
    LLMJudge,
    judge_needs_model,
    open_judge,
)
from promptlearn.records import Example, Rollout

OPTIONS: dict[str, dict[str, Any]] = {
    "label_set": {"labels": ["a", "b"]},
    "exact_match": {},
    "normalized_match": {},
    "regex": {"pattern": "a"},
    "contains": {"needles": ["a"]},
    "json_schema": {"schema": {"type": "object"}},
    "numeric": {"tolerance": 1, "relative": 0.1},
    "exit_code": {},
    "tests_passed": {"partial": True},
    "diff_contains": {"required": ["a"]},
    "diff_touches": {"forbidden": ["a"]},
    "rule_check": {"rule": "Answer with one word."},
}
MODULE = """
def long_enough(example, rollout, least=1):
    return len(rollout.output) >= least

class Polite:
    name = "polite"
    async def judge(self, example, rollout):
        raise NotImplementedError

polite = Polite()
number = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's folder with modules in it; the path is put back afterwards."""
    (tmp_path / "own_checks_for_test.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "broken_checks_for_test.py").write_text("import nothing_of_that_name", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("use", sorted(CODE_JUDGES))
def test_code_judges_open_by_name_and_can_be_renamed(use: str) -> None:
    judge = open_judge(use, OPTIONS[use])
    assert isinstance(judge, Judge)
    assert type(judge) is CODE_JUDGES[use]
    assert judge.name == use
    assert open_judge(use, {**OPTIONS[use], "name": "mine"}).name == "mine"
    assert not judge_needs_model(use)


def test_labels_of_the_data_serve_where_the_options_have_none() -> None:
    judge = open_judge("label_set", {}, labels=("x", "y"))
    assert isinstance(judge, LabelSet)
    assert judge.labels == ("x", "y")
    own = open_judge("label_set", {"labels": ["a", "b"]}, labels=("x", "y"))
    assert isinstance(own, LabelSet)
    assert own.labels == ("a", "b")
    assert isinstance(own, ChecksExamples)


@pytest.mark.parametrize("use", ["correctness", "tone", "judges/tone.yaml"])
def test_judge_files_need_a_model(use: str) -> None:
    assert judge_needs_model(use)
    with pytest.raises(ConfigError, match=f"judge {use} needs models.judge"):
        open_judge(use)
    assert isinstance(open_judge(use, model=JudgeModel("")), LLMJudge)


@pytest.mark.parametrize(
    ("use", "options", "message"),
    [
        ("label_set", {}, "needs labels"),
        ("label_set", {"labels": [True, False]}, "put it in quotes"),
        ("label_set", {"lables": ["a"]}, "no option 'lables'; possible: labels, name"),
        ("regex", {}, "needs the option 'pattern'"),
        ("regex", {"pattern": 7}, "judge regex: pattern"),
        ("numeric", {"tolerance": "wide"}, "judge numeric: tolerance"),
        ("numeric", {"take": "middle"}, "'only', 'first' or 'last'"),
        ("json_schema", {"schema": "schema.json"}, "judge json_schema: schema"),
        ("tone", {"colour": "red"}, "no option 'colour'; possible: name, criteria, context, checklist, max_chars"),
        ("tone", {"max_chars": 0}, "at least 1"),
    ],
)
def test_wrong_options_name_judge_and_option(use: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        open_judge(use, options, model=JudgeModel(""))
    assert use in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_judge_lists_the_possible_ones() -> None:
    with pytest.raises(
        AssetError, match=r"no judge 'labelset' \(did you mean 'label_set'\?\); possible: .*tone.*module:"
    ):
        open_judge("labelset")


async def test_a_function_gets_its_options(folder: Path) -> None:
    judge = open_judge("own_checks_for_test:long_enough", {"least": 3, "name": "long"}, folder=folder)
    assert isinstance(judge, Callable)
    assert judge.name == "long"
    example = Example(id="e", inputs={})
    assert (await judge.judge(example, Rollout("p", "e", output="ab"))).score == 0.0
    assert (await judge.judge(example, Rollout("p", "e", output="abc"))).score == 1.0
    assert open_judge("own_checks_for_test:long_enough", folder=folder).name == "long_enough"


def test_a_finished_judge_is_taken_as_it_is(folder: Path) -> None:
    assert open_judge("own_checks_for_test:polite", folder=folder).name == "polite"
    with pytest.raises(ConfigError, match="takes no options"):
        open_judge("own_checks_for_test:polite", {"least": 3}, folder=folder)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        ("own_checks_for_test:absent", "has no 'absent'"),
        ("own_checks_for_test:number", "int is neither a function nor a judge"),
        ("no_such_module_for_test:f", "can not be imported from .*ModuleNotFoundError"),
        ("broken_checks_for_test:f", "nothing_of_that_name"),
        (":f", "can not be imported"),
    ],
)
def test_what_can_not_be_imported_says_why(folder: Path, use: str, message: str) -> None:
    with pytest.raises(AssetError, match=message):
        open_judge(use, folder=folder)
