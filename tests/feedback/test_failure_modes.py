"""Verdicts to failure modes: what counts as evidence, what becomes one mode, and what fits the budget."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from promptlearn.feedback import JudgedRow, failure_modes, mistakes
from promptlearn.records import Example, FailureMode, Rollout, Verdict
from promptlearn.tokens import estimate_tokens


def row(number: int, *verdicts: Verdict, output: str = "other", expected: str | None = "shipping") -> JudgedRow:
    example = Example(f"e{number}", {"message": f"message number {number}"}, expected)
    return JudgedRow(example, Rollout("p", example.id, output), verdicts)


def wrong(
    explanation: str, suggestion: str | None = None, judge: str = "label_set", label: str | None = None
) -> Verdict:
    return Verdict(judge, "p/e", 0.0, label, explanation, suggestion, passed=False)


def tokens(modes: tuple[FailureMode, ...]) -> int:
    texts = [text for mode in modes for text in (mode.title, mode.expected, *mode.evidence, *mode.suggestions)]
    return sum(map(estimate_tokens, texts))


def test_what_was_not_judged_is_no_evidence() -> None:
    """Invariant 4: a failed judgement says nothing about the prompt."""
    assert failure_modes([row(1, Verdict("tone", "p/e", None, explanation="timed out"))], 1000) == ()
    assert failure_modes([row(1, Verdict("tone", "p/e", None, passed=False))], 1000) == ()


@pytest.mark.parametrize(
    ("score", "passed", "fails"),
    [(1.0, None, False), (0.9, None, True), (0.5, True, False), (1.0, False, True), (0.0, None, True)],
)
def test_a_verdict_fails_by_passed_and_else_by_its_score(score: float, passed: bool | None, fails: bool) -> None:
    modes = failure_modes([row(1, Verdict("rubric", "p/e", score, passed=passed, explanation="so so"))], 1000)
    assert bool(modes) is fails


def test_modes_are_counted_and_ordered_by_the_rows_they_cost() -> None:
    rows = [
        row(1, wrong("does not say sorry to the angry customer")),
        row(2, wrong("expected `shipping`, got `other`: not the right label")),
        row(3, wrong("expected `shipping`, got `refund`: not the right label")),
    ]
    labels, apology = failure_modes(rows, 2000)
    assert labels.examples == ("e2", "e3")
    assert labels.general
    assert labels.expected == "shipping"
    assert apology.examples == ("e1",)
    assert not apology.general


def test_what_costs_most_score_comes_first() -> None:
    """Two rows that lost everything cost more than three that lost a little."""
    little, all_of_it = Verdict("rubric", "p/e", 0.98, explanation="one comma too many"), wrong("answers in German")
    rows = [row(number, little) for number in (1, 2, 3)] + [row(number, all_of_it) for number in (4, 5)]
    first, second = failure_modes(rows, 2000)
    assert (first.examples, first.cost) == (("e4", "e5"), 2.0)
    assert second.examples == ("e1", "e2", "e3")
    assert second.cost == pytest.approx(0.06)


def test_a_row_shares_its_loss_out_to_what_was_wrong_with_it() -> None:
    """By what each judge found missing; the loss itself is that of all judges together, with weights and vetoes."""
    late, curt = wrong("names no day at all"), Verdict("tone", "p/e", 0.5, explanation="not a friendly word")
    both = replace(row(1, late, curt), score=0.1)
    assert [mode.cost for mode in failure_modes([both], 2000)] == [pytest.approx(0.6), pytest.approx(0.3)]


def test_equal_counts_stand_in_example_order() -> None:
    rows = [row(1, wrong("too long by far", judge="tone")), row(2, wrong("no greeting whatsoever", judge="rubric"))]
    assert [mode.examples for mode in failure_modes(rows, 2000)] == [("e1",), ("e2",)]
    assert [mode.examples for mode in failure_modes(rows[::-1], 2000)] == [("e2",), ("e1",)]


def test_a_title_leaves_out_what_only_one_row_says() -> None:
    rows = [
        row(
            1,
            wrong("expected `shipping`, got 'I'm sorry to hear that': not one of the six labels"),
            output="I'm sorry to hear that",
        ),
        row(2, wrong("expected `shipping`, got 'Sure!': not one of the six labels"), output="Sure!"),
    ]
    (mode,) = failure_modes(rows, 2000)
    assert mode.title == "label_set: expected `shipping`, got …: not one of the six labels"
    assert "'Sure!'" in failure_modes(rows[1:], 2000)[0].title


def test_judges_and_labels_are_never_mixed() -> None:
    rows = [
        row(1, wrong("the answer is wrong", judge="a"), wrong("the answer is wrong", judge="b")),
        row(2, wrong("the answer is wrong", judge="a", label="rude")),
    ]
    assert sorted(mode.title for mode in failure_modes(rows, 2000)) == [
        "a (rude): the answer is wrong",
        "a: the answer is wrong",
        "b: the answer is wrong",
    ]


def test_words_that_only_quote_the_row_do_not_make_critiques_alike() -> None:
    long = "I am sorry to hear that your parcel has not arrived yet, let me look into it for you"
    rows = [
        row(1, wrong(f"'{long}' is far too chatty"), output=long),
        row(2, wrong(f"'{long}' leaks the internal ticket number"), output=long),
    ]
    assert len(failure_modes(rows, 2000)) == 2


def test_critiques_in_a_script_without_spaces_are_alike_as_well() -> None:
    said = "回答没有使用规定的标签，而是写了一段客套话，应该只写“{}”这个标签。"
    rows = [row(number, wrong(said.format(tag))) for number, tag in enumerate(["退货", "账单", "账户", "运输"])]
    rows.append(row(4, wrong("语气太生硬，没有问候客户。")))
    assert [len(mode.examples) for mode in failure_modes(rows, 2000)] == [4, 1]


def test_evidence_quotes_the_row_verbatim() -> None:
    mode = failure_modes([row(1, wrong("expected `shipping`, got {{braces}} & $x"), output="{{braces}} & $x")], 1000)[0]
    assert mode.evidence == (
        "message: message number 1\noutput: {{braces}} & $x\nexpected: shipping\n"
        "explanation: expected `shipping`, got {{braces}} & $x",
    )


def test_suggestions_are_distinct_and_the_most_frequent_comes_first() -> None:
    rows = [row(1, wrong("wrong label", "B")), row(2, wrong("wrong label", "A")), row(3, wrong("wrong label", "A"))]
    by_label = failure_modes(rows, 2000)
    assert sorted(text for mode in by_label for text in mode.suggestions) == ["A", "B"]
    alike = [row(i, wrong("wrong label for this message", text)) for i, text in enumerate(["B", "A", "A"])]
    assert failure_modes(alike, 2000)[0].suggestions == ("A", "B")


def test_a_cut_is_marked_and_what_is_left_out_is_counted() -> None:
    """P20: the evidence of many long rows fits, and says what it lacks."""
    rows = [row(i, wrong("the reply is far too long"), output="blah " * 5000) for i in range(40)]
    (mode,) = failure_modes(rows, 800)
    assert len(mode.examples) == 40
    assert "characters left out" in mode.evidence[0]
    quotes = len(mode.evidence) - 1
    assert mode.evidence[-1] == f"[+{40 - quotes} more rows like these]"


def test_quotes_go_before_modes() -> None:
    names = ["apples", "houses", "rivers", "cars"]
    rows = [row(i, wrong(f"{name} are missing"), output="x" * 500) for i, name in enumerate(names)]
    modes = failure_modes(rows, 150)
    assert len(modes) == 4
    assert all("more rows" in mode.evidence[-1] for mode in modes)


def test_modes_that_do_not_fit_are_counted() -> None:
    rows = [row(i, wrong(f"word{i} is missing here", judge=f"judge{i}")) for i in range(30)]
    modes = failure_modes(rows, 200)
    assert 0 < len(modes) < 30
    assert modes[-1].evidence[-1] == f"[+{30 - len(modes)} more failure modes]"


words = st.text(alphabet="abcdefg äß漢\n", max_size=120)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(words, words, st.none() | words), max_size=12), st.integers(0, 600))
def test_all_modes_together_stay_within_the_budget(rows: list[tuple[str, str, str | None]], budget: int) -> None:
    judged = [row(i, wrong(said, advice), output=output) for i, (said, output, advice) in enumerate(rows)]
    modes = failure_modes(judged, budget)
    assert tokens(modes) <= budget
    assert modes == failure_modes(judged, budget)
    assert len({mode.examples[0] for mode in modes}) == len(modes)


def odd(number: int) -> JudgedRow:
    """A row whose critique says what no other one says."""
    return row(number, wrong(f"zyx{number} was not qwe{number} as uvw{number} asks " * 8), expected=None)


def test_what_fits_one_request_is_one_group() -> None:
    rows = [row(i, wrong("expected `shipping`, got `other`")) for i in range(8)]
    found = mistakes(rows, 2000, "s")
    assert found.groups == (failure_modes(rows, 2000),)
    assert found.modes == found.groups[0]


@pytest.mark.parametrize("count", [3, 30, 300])
def test_a_larger_batch_is_dealt_out_and_nothing_of_it_is_left_out(count: int) -> None:
    found = mistakes([odd(i) for i in range(count)], 2000, "s")
    assert {id_ for mode in found.modes for id_ in mode.examples} == {f"e{i}" for i in range(count)}
    assert all(tokens(group) <= 2000 and all(mode.evidence for mode in group) for group in found.groups)
    assert len(found.groups) <= max(1, 2 * count**0.5)
    assert found == mistakes([odd(i) for i in range(count)], 2000, "s")


def test_the_chance_of_something_new_falls_as_critiques_repeat_each_other() -> None:
    """Good 1953."""
    same = [row(i, wrong("expected `shipping`, got `other`")) for i in range(6)]
    assert mistakes(same, 2000, "s").unseen == 0
    assert mistakes([*same, odd(7), odd(8)], 2000, "s").unseen == 0.25
    assert mistakes([], 2000, "s").unseen == 1


def test_a_mode_counts_what_is_said_of_it() -> None:
    """So that a proposer may write a rule for each: suggestions, or sentences where no suggestion sums them up."""
    said = "The tag of parcels is wrong. The tag of jackets is missing. The greeting is too long."
    (several,) = failure_modes([row(1, wrong(said))], 1000)
    assert several.points == 3
    (summed_up,) = failure_modes([row(1, wrong(said, "Name both tags."))], 1000)
    assert summed_up.points == 1
    (silent,) = failure_modes([row(1, wrong(""))], 1000)
    assert silent.points == 1
