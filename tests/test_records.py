"""How a prompt renders, and what its digest counts."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from promptlearn.records import (
    Contract,
    Demonstration,
    Effect,
    Interval,
    Layout,
    Message,
    Prompt,
    Rule,
    Usage,
    fingerprint,
)

ASKING = Prompt(
    (Message("system", "Label it."), Message("user", "Say: {message}")),
    contract=Contract(variables=frozenset({"message"})),
)


@given(st.text(), st.text())
def test_data_reaches_the_model_as_it_is(message: str, text: str) -> None:
    """Invariant 12: no character of the prompt or the data is altered."""
    system, user = Prompt.of(text).render({"message": message})
    assert (system.content, user.content) == (text, message)
    assert ASKING.render({"message": message})[-1] == Message("user", "Say: " + message)


@given(st.text(max_size=20), st.text(max_size=20))
def test_braces_in_data_are_not_variables(message: str, other: str) -> None:
    """Invariant 12."""
    prompt = ASKING.with_text("{message} {other}")
    prompt = replace(prompt, contract=Contract(variables=frozenset({"message", "other"})))
    rendered = prompt.render({"message": message + "{other}", "other": other})
    assert rendered[0].content == f"{message}{{other}} {other}"


def test_a_plain_prompt_sends_its_inputs_last() -> None:
    one = Prompt.of("Label it.").render({"message": "Hi"})
    two = Prompt.of("Label it.").render({"message": "Hi", "tier": 3})
    assert one[-1] == Message("user", "Hi")
    assert two[-1] == Message("user", "message: Hi\ntier: 3")


def test_a_prompt_that_mentions_every_input_is_the_users() -> None:
    prompt = replace(Prompt.of("Label: {message}"), contract=Contract(variables=frozenset({"message"})))
    assert prompt.render({"message": "Hi"}) == (Message("user", "Label: Hi"),)


def test_demonstrations_as_turns_stand_in_front_of_the_question() -> None:
    prompt = replace(ASKING, demonstrations=(Demonstration({"message": "Lost {message}"}, "shipping"),))
    assert [m.content for m in prompt.render({"message": "Hi"})] == [
        "Label it.",
        "Say: Lost {message}",
        "shipping",
        "Say: Hi",
    ]


def test_a_prompt_that_asks_by_itself_repeats_its_question_in_demonstrations() -> None:
    prompt = replace(
        Prompt.of("Label this: {message}"),
        contract=Contract(variables=frozenset({"message"})),
        demonstrations=(Demonstration({"message": "A"}, "one"),),
    )
    assert prompt.render({"message": "B"}) == (
        Message("user", "Label this: A"),
        Message("assistant", "one"),
        Message("user", "Label this: B"),
    )


def test_demonstrations_as_text_stand_behind_the_rules() -> None:
    prompt = replace(
        Prompt.of("Label it."),
        rules=(Rule("Be brief."),),
        demonstrations=(Demonstration({"message": "Lost"}, "shipping"),),
        layout=Layout("text", "# Before\n", "\n# After"),
    )
    assert prompt.render({"message": "Hi"})[0].content == (
        "# Before\nLabel it.\n\nRules:\n- Be brief.\n\nExamples:\n\nmessage: Lost\nAnswer: shipping\n# After"
    )


def test_the_digest_counts_what_reaches_the_model() -> None:
    rule = Rule("Be brief.")
    prompt = replace(ASKING, rules=(rule,))
    measured = replace(rule, sources=("e1",), effect=Effect(0.1, Interval(0.0, 0.2), 40))
    assert prompt.digest == replace(prompt, rules=(measured,)).digest
    assert prompt.digest == replace(prompt, contract=replace(prompt.contract, max_tokens=9)).digest
    assert prompt.digest != ASKING.digest
    assert prompt.digest != replace(prompt, layout=Layout(after="x")).digest


def test_a_fingerprint_does_not_depend_on_the_order_of_keys() -> None:
    assert fingerprint({"a": 1, "b": "ä"}) == fingerprint({"b": "ä", "a": 1})
    assert len(fingerprint({}, length=8)) == 8


def test_usage_adds_up_and_an_unknown_price_stays_unknown() -> None:
    known = Usage(calls=1, input_tokens=10, cost_usd=0.5)
    assert (known + known).cost_usd == 1.0
    assert (known + Usage(cost_usd=None)).cost_usd is None
    assert (known + known).input_tokens == 20
