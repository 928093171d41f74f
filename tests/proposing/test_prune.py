"""Pruning: each part can go, the least valuable first, and what carries the task shows in the score."""

from dataclasses import replace

from topic_task import TOPICS, accuracy, topic_brief

from promptlearn.proposing import Brief, drops, open_proposer
from promptlearn.records import Demonstration, Effect, Interval, Prompt, Rule


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
