"""Alarms: what raises one, and what does not."""

from promptlearn.alarms import find_alarms
from promptlearn.evaluation import Row
from promptlearn.judging import Callable, ExactMatch, LLMJudge, LLMOptions, Member, Panel, load_judge_file
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Example, Failure, Rollout, Verdict

PLAIN = Panel([Member(Callable(lambda example, rollout: True, "nice"))])
GOLDEN = Panel([*PLAIN.members, Member(Callable(lambda example, rollout: True, "gold"), gold=True)])


def rows(
    prompt: str,
    scores: list[float],
    gold: list[float] | None = None,
    output: str = "fine",
    passed: bool | None = None,
) -> list[Row]:
    made = []
    for number, score in enumerate(scores):
        rollout = Rollout(prompt, str(number), output=output)
        said = [Verdict("nice", rollout.id, score=score, passed=passed)]
        said += [Verdict("gold", rollout.id, score=gold[number], gold=True)] if gold else []
        made.append(Row(Example(str(number), {"n": number}), rollout, tuple(said), score))
    return made


def kinds(panel: Panel, before: list[Row], after: list[Row]) -> list[str]:
    return [alarm.kind for alarm in find_alarms(panel, before, after)]


def test_a_jump_to_all_pass_raises_an_alarm() -> None:
    half = [1.0, 0.0] * 10
    assert kinds(PLAIN, rows("old", half), rows("new", [1.0] * 20)) == ["all_pass"]
    assert kinds(PLAIN, rows("old", half), rows("new", [1.0] * 19 + [0.0])) == []
    assert kinds(PLAIN, rows("old", [1.0] * 18 + [0.0] * 2), rows("new", [1.0] * 20)) == []
    assert kinds(PLAIN, rows("old", half[:4]), rows("new", [1.0] * 4)) == []
    (alarm,) = find_alarms(PLAIN, rows("old", half), rows("new", [1.0] * 20))
    assert alarm.figures == {"rows": 20, "failed_before": 10}


def test_a_row_passes_where_its_judges_say_so_whatever_the_score() -> None:
    """`rubric` passes from 0.75 on."""
    model = ScriptedModel("never asked", identity="test/alarms")
    panel = Panel([Member(LLMJudge(load_judge_file("rubric"), model, LLMOptions(name="nice")))])
    marked = [rows("old", [0.5] * 20, passed=False), rows("new", [0.75] * 20, passed=True)]
    assert kinds(panel, *marked) == ["all_pass"]
    assert kinds(panel, marked[0], rows("new", [0.75] * 19 + [0.5], passed=True)) == ["all_pass"]
    assert kinds(panel, marked[0], rows("new", [1.0] * 20, passed=False)) == []


def test_nobody_pleases_a_comparison_with_the_expected_answer() -> None:
    panel = Panel([Member(ExactMatch(name="nice"))])
    assert kinds(panel, rows("old", [0.0] * 20), rows("new", [1.0] * 20)) == []


def test_outputs_that_grow_raise_an_alarm() -> None:
    before, after = rows("old", [0.5] * 12), rows("new", [0.9] * 12, output="fine, and then some")
    assert kinds(PLAIN, before, after) == ["length"]
    assert kinds(PLAIN, after, before) == []


def test_a_gold_judge_that_falls_while_the_score_rises_raises_an_alarm() -> None:
    before = rows("old", [0.5] * 20, gold=[1.0] * 20)
    gamed = rows("new", [1.0] * 20, gold=[1.0] * 12 + [0.0] * 8)
    (alarm,) = find_alarms(GOLDEN, before, gamed)
    assert alarm.kind == "gold"
    assert "rises by 0.500 while the gold judge gold falls by 0.400" in alarm.message
    assert kinds(GOLDEN, before, rows("new", [0.9] * 20, gold=[1.0] * 19 + [0.0])) == []
    assert kinds(GOLDEN, before, rows("new", [0.3] * 20, gold=[0.0] * 20)) == []


def test_what_was_not_judged_raises_nothing() -> None:
    """Invariant 4."""
    failed = [
        Row(Example(str(n), {}), Rollout("new", str(n), error=Failure("timeout", "late")), (), None) for n in range(20)
    ]
    assert kinds(GOLDEN, rows("old", [0.0] * 20, gold=[1.0] * 20), failed) == []


def test_the_same_prompt_raises_nothing() -> None:
    same = rows("old", [1.0, 0.0] * 10)
    assert find_alarms(PLAIN, same, same) == ()
