"""Two prompts in one: what only one of them changed is taken over, and conflicts are told."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from promptlearn.contract import violations
from promptlearn.proposing.join import join
from promptlearn.records import Contract, Demonstration, Prompt, Rule

BASE = replace(Prompt.of("You help our shop."), rules=(Rule("Be brief.", ("e1",)),))
DEMO = Demonstration({"message": "hi"}, "account", "e5")
OTHER_DEMO = Demonstration({"message": "bye"}, "billing", "e6")
FACTS = ("Ask for the number of the order.", "Name the opening hours.", "Sign with the name of the shop.")


def with_rules(*rules: Rule) -> Prompt:
    return replace(BASE, rules=(*BASE.rules, *rules))


def test_rules_that_each_side_learned_stand_in_both() -> None:
    """Invariant 11: with the sources that they had."""
    one, other = Rule(FACTS[0], ("e2",)), Rule(FACTS[1], ("e3",))
    joined = join(with_rules(one), with_rules(other), BASE)
    assert joined.prompt.rules == (*BASE.rules, one, other)
    assert joined.conflicts == ()


def test_the_same_rule_stands_there_once_with_all_its_sources() -> None:
    joined = join(
        with_rules(Rule(FACTS[0], ("e2",))), with_rules(Rule("ask for the number of the order", ("e3",))), BASE
    )
    assert joined.prompt.rules[1:] == (Rule(FACTS[0], ("e2", "e3")),)


def test_of_two_wordings_the_shorter_one_stays() -> None:
    long = "Always answer with the number of the order that they ask for, please."
    short = "Answer with the number of the order they ask for."
    for first, second in ((long, short), (short, long)):
        joined = join(with_rules(Rule(first, ("e2",))), with_rules(Rule(second, ("e3",))), BASE)
        assert [rule.text for rule in joined.prompt.rules[1:]] == [short]
        assert set(joined.prompt.rules[1].sources) == {"e2", "e3"}


def test_a_contradiction_is_told_and_the_first_side_stands() -> None:
    first, second = Rule("Mention the delivery time of parcels."), Rule("Never mention the delivery time of parcels.")
    joined = join(with_rules(first), with_rules(second), BASE)
    assert joined.prompt.rules[1:] == (first,)
    assert "delivery time" in joined.conflicts[0]


def test_rules_that_differ_in_what_they_name_both_stay() -> None:
    first, second = (
        Rule("Mail about a `parcel` gets the label `shipping`."),
        Rule("Mail about an `invoice` gets the label `billing`."),
    )
    joined = join(with_rules(first), with_rules(second), BASE)
    assert joined.prompt.rules[1:] == (first, second)


def test_what_one_side_removed_is_gone() -> None:
    joined = join(replace(BASE, rules=()), with_rules(Rule(FACTS[0])), BASE)
    assert joined.prompt.rules == (Rule(FACTS[0]),)


def test_a_rewritten_text_is_taken_with_the_rules_of_the_other_side() -> None:
    rewritten = replace(BASE.with_text("You help our shop, in brief."), rules=())
    for first, second in ((rewritten, with_rules(Rule(FACTS[0]))), (with_rules(Rule(FACTS[0])), rewritten)):
        joined = join(first, second, BASE)
        assert joined.prompt.text == rewritten.text
        assert joined.prompt.rules == (Rule(FACTS[0]),)
        assert joined.conflicts == ()


def test_two_rewritten_texts_are_a_conflict_and_no_rule_is_lost() -> None:
    first = replace(BASE.with_text("You help our shop, kindly."), rules=BASE.rules)
    second = replace(BASE.with_text("You help our shop, in brief."), rules=())
    joined = join(first, second, BASE)
    assert joined.rewritten
    assert joined.prompt == first


def test_demonstrations_of_both_sides() -> None:
    one, other = replace(BASE, demonstrations=(DEMO,)), replace(BASE, demonstrations=(OTHER_DEMO,))
    assert join(one, BASE, BASE).prompt.demonstrations == (DEMO,)
    assert join(BASE, one, BASE).prompt.demonstrations == (DEMO,)
    both = join(one, other, BASE)
    assert both.prompt.demonstrations == (DEMO, OTHER_DEMO)
    assert both.conflicts


@given(
    st.integers(10, 40), st.lists(st.sampled_from(FACTS), unique=True), st.lists(st.sampled_from(FACTS), unique=True)
)
def test_the_contract_is_kept_by_leaving_out_what_the_second_adds(cap: int, mine: list[str], theirs: list[str]) -> None:
    """Invariant 6; and a prompt joined with itself is itself."""
    base = replace(BASE, contract=Contract(max_tokens=cap))
    first = replace(base, rules=(*base.rules, *map(Rule, mine)))
    second = replace(base, rules=(*base.rules, *map(Rule, theirs)))
    joined = join(first, second, base).prompt
    assert joined.rules[: len(first.rules)] == first.rules
    assert violations(joined, first) == violations(first, first) or joined == first
    assert join(first, first, base).prompt == first
