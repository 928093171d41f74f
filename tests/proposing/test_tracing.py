"""Rules that survive a rewrite keep their sources."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from promptlearn.contract import violations
from promptlearn.proposing.tracing import traced
from promptlearn.records import Contract, Prompt, Rule

REFUNDS = Rule("Label mail about refunds as `Billing`.", ("https://forge.example/pull/1#r7",))
BRIEF = Rule("Answer in one word.", ("e1", "e2"))
PARENT = replace(Prompt.of("You sort mail."), rules=(REFUNDS, BRIEF))


def rewritten(text: str) -> Prompt:
    return traced(replace(PARENT.with_text(text), rules=()), PARENT.rules, PARENT)


def test_a_rule_that_stands_there_word_for_word_is_a_rule_again() -> None:
    """Invariant 11."""
    prompt = rewritten(
        "You sort the mail of a shop.\n\nRules:\n- Label mail about refunds as `Billing`.\n- answer in one word"
    )
    assert prompt.text == "You sort the mail of a shop."
    assert prompt.rules == (REFUNDS, BRIEF)


def test_a_rule_in_other_words_keeps_its_sources_and_has_the_new_words() -> None:
    prompt = rewritten("You sort mail.\n- Always label every mail about refunds as `Billing`, please.")
    assert [(rule.text, rule.sources) for rule in prompt.rules] == [
        ("Always label every mail about refunds as `Billing`, please.", REFUNDS.sources)
    ]


def test_a_line_that_says_the_opposite_or_names_something_else_is_no_such_rule() -> None:
    for line in ("Never label mail about refunds as `Billing`.", "Label mail about refunds as `Shipping`."):
        assert rewritten(f"You sort mail.\n- {line}").rules == ()


def test_a_heading_with_lines_that_stay_under_it_stays() -> None:
    prompt = rewritten("You sort mail.\nDo this:\n- Be kind to everybody.\n- Answer in one word.\n\nThanks.")
    assert prompt.text == "You sort mail.\nDo this:\n- Be kind to everybody.\n\nThanks."
    assert prompt.rules == (BRIEF,)


def test_numbers_keep_no_gaps() -> None:
    text = "You sort mail.\n1. Answer in one word.\n2. Be kind to everybody."
    assert rewritten(text) == replace(PARENT.with_text(text), rules=())
    assert rewritten("You sort mail.\n1. Answer in one word.").rules == (BRIEF,)


def test_what_is_woven_into_a_sentence_stays_there() -> None:
    text = "You sort mail, and you answer in one word."
    assert rewritten(text).text == text


def test_a_text_of_rules_alone_and_a_locked_passage_stay_as_they_are() -> None:
    """Invariant 6."""
    alone = "- Answer in one word."
    assert rewritten(alone).text == alone
    parent = replace(PARENT, contract=Contract(locked=("Sort:\n- Answer in one word.",)))
    parent = parent.with_text("Sort:\n- Answer in one word.\nThanks.")
    prompt = replace(parent, rules=())
    assert traced(prompt, parent.rules, parent) == prompt


@given(st.lists(st.sampled_from([REFUNDS.text, BRIEF.text, "Be kind.", "Help:", "", "3. Go on."]), max_size=6))
def test_nothing_is_lost_or_broken(lines: list[str]) -> None:
    text = "\n".join(["You sort mail.", *lines])
    prompt = rewritten(text)
    assert violations(prompt, PARENT) == []
    assert all(line in prompt.learned_text() for line in ("You sort mail.", *lines) if not line.endswith(":"))
    assert all(rule.sources for rule in prompt.rules)
