"""Which rules say the same, which contradict each other, and who stands behind one."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pair_table import HELD_OUT, WRITTEN_WITH, Pairs

from promptlearn.feedback.statements import Group, Statement, doubtful, group
from promptlearn.meaning import likeness, meaning, relate


def statements(*texts: str) -> list[Statement]:
    return [Statement(f"s{number}", text, f"a{number}", f"p{number}") for number, text in enumerate(texts)]


def texts(groups: list[Group]) -> list[list[str]]:
    return [[one.text for one in found.members] for found in groups]


def right(table: Pairs) -> int:
    """Pairs that stand to each other as they should, each among all rules of its table."""
    count = 0
    for wanted, first, second in table:
        others = [text for pair in table for text in pair[1:] if text not in (first, second)]
        meanings = [meaning(text) for text in (first, second, *others)]
        alike = likeness([one.subject for one in meanings], 0.0)[0].get(1, 0.0)
        count += relate(meanings[0], meanings[1], alike) == wanted
    return count


def test_the_measure_is_as_often_right_as_the_docs_say() -> None:
    assert (right(WRITTEN_WITH), len(WRITTEN_WITH)) == (25, 25)
    assert (right(HELD_OUT), len(HELD_OUT)) == (22, 23)


def test_the_oldest_speaks_for_all_that_say_the_same() -> None:
    found = group(
        statements(
            "Never promise a refund date.",
            "Gift cards go to `Account`.",
            "Do not promise refund dates.",
            "Gift cards and vouchers go to `Account`.",
        )
    )
    assert texts(found) == [
        ["Never promise a refund date.", "Do not promise refund dates."],
        ["Gift cards go to `Account`.", "Gift cards and vouchers go to `Account`."],
    ]


def test_contradictions_are_flagged_and_not_merged() -> None:
    found = group(
        statements("Always mention the order number.", "Never mention the order number.", "Mention the order number.")
    )
    assert [len(one.members) for one in found] == [2, 1]
    assert (found[0].against, found[1].against) == (["s1"], ["s0"])
    values = group(statements("Gift cards go to `Account`.", "Gift cards go to `Billing`."))
    assert [one.against for one in values] == [["s1"], ["s0"]]


def test_two_authors_or_two_pull_requests_outrank_one() -> None:
    def support(*said: tuple[str, str, int]) -> tuple[int, int, int, int]:
        (one,) = group([Statement(f"s{n}", "Be kind to people.", *each) for n, each in enumerate(said)])
        return one.support.authors, one.support.pulls, one.support.reactions, one.support.count

    assert support(("ann", "1", 2)) == (1, 1, 2, 1)
    assert support(("ann", "1", 0), ("ann", "1", -1)) == (1, 1, -1, 1)
    assert support(("ann", "1", 0), ("bob", "1", 0)) == (2, 1, 0, 2)
    assert support(("ann", "1", 0), ("ann", "2", 0)) == (1, 2, 0, 2)
    assert support(("ann", "", 0)) == (1, 0, 0, 1)


def test_what_a_model_said_comes_before_the_measure() -> None:
    said = statements("Answer briefly.", "Keep replies short.", "Keep replies long.")
    assert len(group(said)) == 3
    pair = frozenset({"s0", "s1"})
    assert texts(group(said, {pair: "same"}))[0] == ["Answer briefly.", "Keep replies short."]
    apart = statements("Say please.", "Say please.")
    assert len(group(apart)) == 1
    assert len(group(apart, {pair: "different"})) == 2
    assert group(apart, {pair: "opposite"})[0].against == ["s1"]
    assert len(group(apart, {frozenset({"s0", "gone"}): "opposite"})) == 1


def test_pairs_that_come_close_are_worth_a_question() -> None:
    said = statements("Label late parcels `Delivery`.", "Parcels that come late are `Delivery`.", "Be kind.")
    assert doubtful(said) == [("s0", "s1")]
    assert doubtful(said, {frozenset({"s0", "s1"}): "same"}) == []


def test_nothing_and_one_are_groups_too() -> None:
    assert group([]) == []
    assert texts(group(statements("Be kind."))) == [["Be kind."]]
    assert [one.id for one in group(statements("", ""))] == ["s0", "s1"]


@given(st.lists(st.sampled_from([text for pair in WRITTEN_WITH for text in pair[1:]]), max_size=12))
def test_each_statement_is_in_one_group_and_equal_texts_share_theirs(said: list[str]) -> None:
    found = group(statements(*said))
    ids = [one.id for each in found for one in each.members]
    assert sorted(ids) == sorted(f"s{number}" for number in range(len(said)))
    for text in said:
        assert len({each.id for each in found for one in each.members if one.text == text}) == 1
    assert group(statements(*said)) == found


def test_a_thousand_rules_are_grouped_at_once() -> None:
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=8)) for _ in range(3000)]
    said = [f"Always {' '.join(rng.sample(words, 4))} the {rng.choice(words)}." for _ in range(1000)]
    found = group(statements(*said, *said))
    assert len(found) > 990
    assert min(len(one.members) for one in found) == 2


@pytest.mark.parametrize(
    ("text", "values", "negative"),
    [
        ("Use “a b” rather than `c`.", {"a b"}, False),
        ("At most three of 12,5.", {"3", "12,5"}, False),
        ("Never say no.", set(), False),
        ("Do not wait.", set(), True),
        ("It is `X`, not `Y`.", {"x"}, False),
    ],
)
def test_a_rule_is_taken_apart(text: str, values: set[str], negative: bool) -> None:
    found = meaning(text)
    assert (set(found.values), found.negative) == (values, negative)
