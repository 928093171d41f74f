"""The edit proposer: single rules change, every other byte stays, and small models' tags are read."""

import re
from dataclasses import replace

import pytest
from topic_task import TOPICS, accuracy, topic_brief

from promptlearn.errors import ModelError
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing import Brief, open_proposer
from promptlearn.proposing.edit import Edit, EditProposer, edits
from promptlearn.records import Demonstration, Draft, Effect, Interval, Prompt, Review, Rule
from promptlearn.tokens import estimate_tokens


def ruled() -> Brief:
    rules = (
        Rule("Be brief and polite.", ("e1",), Effect(0.1, Interval(0, 0.2), 9)),
        Rule("Never promise a date.", ("e2",)),
    )
    demo = Demonstration({"message": "hi"}, "account", "x")
    parent = replace(Prompt.of("  Answer the {customer}.\r\n\n"), rules=rules, demonstrations=(demo,))
    return replace(topic_brief(), parent=parent)


async def proposed(reply: str, brief: Brief) -> Draft:
    (draft,) = await EditProposer(ScriptedModel([reply])).propose(brief, 1)
    return draft


async def test_rules_for_every_topic_solve_the_task() -> None:
    brief = topic_brief()
    reply = "\n".join(f"<add>Label questions about a {topic} as {answer}.</add>" for topic, answer in TOPICS.items())
    (draft,) = await open_proposer("edit", model=ScriptedModel([reply])).propose(brief, 1)
    assert accuracy(brief.parent, brief.train) == 0
    assert accuracy(draft.prompt, brief.train) == 1


async def test_everything_but_the_touched_rule_stays_as_it_is() -> None:
    brief = ruled()
    draft = await proposed('<change id="2">Promise a date only if you know it.</change>', brief)
    assert draft.prompt.messages == brief.parent.messages
    assert draft.prompt.demonstrations == brief.parent.demonstrations
    assert draft.prompt.rules[0] is brief.parent.rules[0]
    assert draft.prompt.rules[1].text == "Promise a date only if you know it."


async def test_new_and_changed_rules_name_what_they_came_from() -> None:
    """Invariant 11."""
    brief = replace(ruled(), reviews=(Review("r1", "Say hello.", url="https://forge.example/1", state="approved"),))
    draft = await proposed("<add>Say hello to the customer.</add><change id=2>Give no dates at all.</change>", brief)
    examples = tuple(id_ for mode in brief.modes for id_ in mode.examples)
    assert draft.prompt.rules[1].sources == ("e2", *examples)
    assert draft.prompt.rules[2].sources == ("https://forge.example/1",)
    assert draft.prompt.rules[1].effect is None


async def test_a_review_is_a_source_only_of_the_rules_that_say_what_it_says() -> None:
    """Invariant 11."""
    said = ["Never mention prices.", "Use British spelling.", "Sign with the team name.", "Answer with a single word."]
    reviews = tuple(Review(f"r{at}", body, state="approved", sources=(f"s{at}",)) for at, body in enumerate(said))
    modes = topic_brief().modes[:1]
    reply = """<add>Label questions about a parcel as shipping.</add>
    <add>Sign every answer with the team name.</add>
    <add>Never mention any prices, and use British spelling.</add>
    <add>Behave well towards everybody.</add>"""
    draft = await proposed(reply, replace(topic_brief(), modes=modes, reviews=reviews))
    parcel, sign, both, vague = (rule.sources for rule in draft.prompt.rules)
    assert parcel == modes[0].examples
    assert sign == ("r2", "s2")
    assert both == ("r0", "s0", "r1", "s1")
    assert vague == modes[0].examples


async def test_where_only_reviews_were_shown_a_rule_that_fits_none_names_them_all() -> None:
    reviews = tuple(Review(f"r{at}", f"Say {word}.", state="approved") for at, word in enumerate(["hello", "goodbye"]))
    draft = await proposed("<add>Be kind to everybody.</add>", replace(ruled(), modes=(), reviews=reviews))
    assert draft.prompt.rules[-1].sources == ("r0", "r1")


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ('<remove id="3"/>', [Edit("remove", number=3)]),
        ("<REMOVE ID=3>", [Edit("remove", number=3)]),
        ("<remove>3</remove>", [Edit("remove", number=3)]),
        ("<remove rule='#3' />", [Edit("remove", number=3)]),
        ("<remove 3/>", [Edit("remove", number=3)]),
        ("<change id='1'>Say it better now.</change>", [Edit("change", "Say it better now.", 1)]),
        ("<change 1>\nSay it better now.\n</change>", [Edit("change", "Say it better now.", 1)]),
        ("Sure!\n<Add>Be very brief.</Add>\nDone.", [Edit("add", "Be very brief.")]),
    ],
)
def test_tags_are_read_tolerantly(reply: str, found: list[Edit]) -> None:
    assert edits(reply) == found


@pytest.mark.parametrize(
    "reply",
    [
        "You should add a rule about parcels.",
        "<add>Be very brief and",
        "<add>Be very brief.</add><add>And then",
        "<add></add>",
        "<add>brief</add>",
        "<add>the text of a new rule</add>",
        '<change id="9">There is no such rule.</change>',
        '<remove id="0"/>',
    ],
)
async def test_garbage_is_complained_about_once_and_never_adopted(reply: str) -> None:
    """P21, P22."""
    good = "<add>Label questions about a parcel as shipping.</add>"
    (draft,) = await EditProposer(ScriptedModel([reply, good])).propose(ruled(), 1)
    assert draft.prompt.rules[-1].text == "Label questions about a parcel as shipping."
    assert draft.usage.calls == 2
    with pytest.raises(ModelError):
        await EditProposer(ScriptedModel([reply, reply])).propose(ruled(), 1)


async def test_a_rule_that_is_there_already_is_not_added() -> None:
    reply = "<add>be brief, and polite</add>"
    assert await EditProposer(ScriptedModel([reply])).propose(ruled(), 1) == []


async def test_rules_lose_markup_and_hidden_characters() -> None:
    draft = await proposed("<add>- Be <b>kind</b>\u200b to [them](https://evil.example).</add>", topic_brief())
    assert draft.prompt.rules[-1].text == "Be kind to them."


async def test_a_repair_shows_the_new_rules_and_the_violations() -> None:
    """Invariant 6: one repair."""
    model = ScriptedModel(["<add>Write to shop.example first.</add>", "<add>Write to the shop first.</add>"])
    proposer, brief = EditProposer(model), ruled()
    (draft,) = await proposer.propose(brief, 1)
    repaired = await proposer.repair(brief, draft, ["a new host name: 'shop.example'"])
    assert repaired is not None
    assert [rule.text for rule in repaired.prompt.rules[2:]] == ["Write to the shop first."]
    asked = model.calls[1].messages[-1].content
    assert "a new host name: 'shop.example'" in asked
    assert "- Write to shop.example first." in asked


async def test_many_reviews_are_dealt_out_to_requests_within_the_budget_and_none_is_dropped() -> None:
    said = [f"Remark {number}: never mention product{number} to a customer who is angry." for number in range(300)]
    reviews = tuple(Review(f"r{at}", body, state="approved") for at, body in enumerate(said))
    model = ScriptedModel(
        lambda messages: f"<add>{re.findall('never mention product[0-9]+', messages[-1].content)[0]}</add>"
    )
    heard: set[str] = set()
    for seed in range(12):
        brief = replace(topic_brief(), modes=topic_brief().modes[:1], reviews=reviews, feedback_tokens=1000, seed=seed)
        for draft in await EditProposer(model).propose(brief, 2):
            [rule] = draft.prompt.rules
            [source] = rule.sources
            assert rule.text.endswith(f"product{source.removeprefix('r')}")
    for messages in (call.messages for call in model.calls):
        found = re.findall(r"- (Remark \d+: .*)", messages[-1].content)
        assert estimate_tokens("\n".join(f"- {text}" for text in found)) <= 1000
        assert f"[+{len(said) - len(found)} more comments, not shown here]" in messages[-1].content
        heard.update(found)
    assert heard == {*said}


async def test_reviews_that_fit_one_request_are_all_shown() -> None:
    reviews = tuple(Review(f"r{at}", f"Say word{at} first.", state="approved") for at in range(20))
    model = ScriptedModel(["<add>Say hello to the customer.</add>"])
    await EditProposer(model).propose(replace(ruled(), reviews=reviews), 1)
    assert all(review.body in model.calls[0].messages[-1].content for review in reviews)
    assert "more comments" not in model.calls[0].messages[-1].content
