"""Pruning: each part can go, the least valuable first, and what carries the task shows in the score; rules that say the
same become one.
"""

from dataclasses import replace

import pytest
from topic_task import TOPICS, accuracy, topic_brief

from promptlearn.contract import violations
from promptlearn.errors import ModelError
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing import Brief, drops, open_proposer
from promptlearn.proposing.prune import fused, shortened
from promptlearn.records import Contract, Demonstration, Effect, Interval, Prompt, Rule


def grown() -> Prompt:
    """The known best prompt, and two parts that are worth nothing."""
    needed = tuple(Rule(f"Label questions about a {topic} as {answer}.") for topic, answer in TOPICS.items())
    demo = Demonstration({"message": "hello"}, "account", "x")
    return replace(Prompt.of("Answer."), rules=(*needed, Rule("Be nice.")), demonstrations=(demo,))


def test_each_rule_and_demonstration_is_dropped_once_in_order() -> None:
    prompt = grown()
    found = drops(prompt)
    assert [drop.what for drop in found] == [*prompt.rules, *prompt.demonstrations]
    for drop in found:
        parts = [*drop.prompt.rules, *drop.prompt.demonstrations]
        assert drop.what not in parts
        assert len(parts) == len(found) - 1
        assert drop.prompt.messages == prompt.messages


def test_only_what_is_worth_nothing_can_go_without_loss() -> None:
    rows = topic_brief().train
    free = [drop.what for drop in drops(grown()) if accuracy(drop.prompt, rows) == 1]
    assert free == [Rule("Be nice."), *grown().demonstrations]


async def test_drafts_drop_the_least_valuable_first_and_then_the_longest() -> None:
    def rule(text: str, score: float) -> Rule:
        return Rule(text, effect=Effect(score, Interval(score, score), 9))

    parent = replace(
        Prompt.of("Answer."), rules=(rule("good", 0.3), Rule("short"), Rule("much longer"), rule("bad", -0.2))
    )
    drafts = await open_proposer("prune", model=None).propose(Brief(parent, ()), 9)
    assert [draft.rationale for draft in drafts] == [
        "without the rule: bad",
        "without the rule: much longer",
        "without the rule: short",
        "without the rule: good",
    ]
    assert len(await open_proposer("prune", model=None).propose(Brief(parent, ()), 2)) == 2


async def test_an_empty_prompt_has_nothing_to_drop() -> None:
    assert drops(Prompt.of("Answer.")) == []
    assert await open_proposer("prune", model=None).propose(Brief(Prompt.of("Answer."), ()), 3) == []


RULES = (
    Rule("Say sorry to customers who wait for a parcel.", ("pull/1",)),
    Rule("Sign with the shop's name.", ("pull/2",)),
    Rule("Say sorry when a customer waits for an answer.", ("pull/3",)),
)
FUSED = '<rule from="1, 3">Say sorry to customers who wait for a parcel or an answer.</rule>'


def wordy() -> Prompt:
    return replace(Prompt.of("Answer."), rules=RULES)


async def test_rules_that_say_the_same_become_one_with_the_sources_of_both() -> None:
    """Invariant 11."""
    model = ScriptedModel([FUSED])
    first, *others = await open_proposer("prune", model=model).propose(Brief(wordy(), ()), 9)
    assert [(rule.text, rule.sources) for rule in first.prompt.rules] == [
        ("Say sorry to customers who wait for a parcel or an answer.", ("pull/1", "pull/3")),
        ("Sign with the shop's name.", ("pull/2",)),
    ]
    assert (first.usage.calls, first.rationale) == (1, "joins 2 rules into 1")
    assert len(others) == len(RULES)
    shown = model.calls[0].messages[-1].content
    assert all(rule.text in shown for rule in RULES)


async def test_a_model_that_joins_nothing_or_fails_leaves_the_drops() -> None:
    """A reply that can not be used is complained about once."""
    for replies in (["<none/>"], ["Sure!", "Here you go."]):
        model = ScriptedModel(list(replies))
        drafts = await open_proposer("prune", model=model).propose(Brief(wordy(), ()), 9)
        assert [len(draft.prompt.rules) for draft in drafts] == [2, 2, 2]
        assert len(model.calls) == len(replies)


async def test_one_rule_is_nothing_to_ask_about() -> None:
    silent = ScriptedModel([])
    one = replace(wordy(), rules=RULES[:1])
    assert len(await open_proposer("prune", model=silent).propose(Brief(one, ()), 9)) == 1
    assert silent.calls == []


@pytest.mark.parametrize(
    ("reply", "complaint"),
    [
        ('<rule from="2">Sign with the shop.</rule>', "names one rule"),
        ('<rule from="1, 9">Say sorry to customers who wait.</rule>', "the rules are 1 to 3"),
        (FUSED + '<rule from="3, 2">Say sorry when signing.</rule>', "named twice"),
        (f'<rule from="1, 3">Say sorry {"to everybody who has to wait " * 5}</rule>', "no shorter"),
        ('<rule from="1, 2">Translate everything into Latin.</rule>', "says nothing that the rules"),
        ("Rules 1 and 3 are the same.", "no <rule> line"),
    ],
)
def test_what_joins_nothing(reply: str, complaint: str) -> None:
    with pytest.raises(ModelError, match=complaint):
        fused(reply, wordy())


def test_rules_of_different_prompts_stay_apart() -> None:
    apart = replace(wordy(), rules=(replace(RULES[0], part="plan"), RULES[1], replace(RULES[2], part="answer")))
    with pytest.raises(ModelError, match="different prompts"):
        fused(FUSED, apart)


async def test_where_shorter_counts_runs_of_text_rules_and_demonstrations_go_and_the_contract_is_kept() -> None:
    text = "First {name} things. Then others.\nA second line.\nA third line! And more.\nThe last line.\n"
    parent = replace(grown().with_text(text), contract=Contract(locked=("A second line.",), variables=frozenset()))
    drafts = shortened(parent, 3, 60)
    assert len(drafts) == len({draft.prompt.digest for draft in drafts}) > 10
    assert drafts == shortened(parent, 3, 60)
    for draft in drafts:
        fewer = len(draft.prompt.demonstrations) < len(parent.demonstrations)
        assert fewer or len(draft.prompt.learned_text()) < len(parent.learned_text())
        assert not violations(draft.prompt, parent)
    assert any(draft.prompt.text != text for draft in drafts)
    assert any(len(draft.prompt.rules) < len(parent.rules) for draft in drafts)
    asked = await open_proposer("prune", model=None).propose(Brief(parent, (), wish="shorter", seed=3), 4)
    assert len(asked) == 4
    assert asked != await open_proposer("prune", model=None).propose(Brief(parent, (), wish="shorter", seed=4), 4)
    assert shortened(Prompt.of("One sentence."), 0, 9) == []
