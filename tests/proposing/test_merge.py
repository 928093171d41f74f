"""The merge proposer: by code where it can, by a model where both sides wrote the text anew."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from topic_task import accuracy, topic_brief

from promptlearn.errors import ModelError
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing import open_proposer
from promptlearn.proposing.base import Brief, Partner
from promptlearn.proposing.merge import MergeProposer
from promptlearn.records import Message, Prompt, Rule

TWO = "Label a parcel as shipping, a password as account."
OTHERS = "Label an invoice as billing, a crash as technical."


def brief_of(first: Prompt, second: Prompt) -> Brief:
    brief = topic_brief()
    partner = Partner(second, brief.parent, better=12, worse=12, rows=24)
    return replace(brief, parent=first, partners=(partner,))


def ruled(*texts: str) -> Prompt:
    return replace(topic_brief().parent, rules=tuple(Rule(text, (f"e{i}",)) for i, text in enumerate(texts)))


async def test_two_specialists_become_one_that_is_good_at_everything() -> None:
    brief = brief_of(ruled(TWO), ruled(OTHERS))
    (draft,) = await open_proposer("merge", model=None).propose(brief, 3)
    assert accuracy(brief.parent, brief.train) == accuracy(brief.partners[0].prompt, brief.train) == 0.5
    assert accuracy(draft.prompt, brief.train) == 1
    assert draft.parents == (brief.partners[0].prompt.digest,)
    assert "better on 12 of 24 rows" in draft.rationale
    assert draft.usage.calls == 0


async def test_without_a_partner_it_has_nothing_to_say() -> None:
    assert await MergeProposer().propose(topic_brief(), 2) == []


async def test_what_the_parent_says_already_makes_no_draft() -> None:
    assert await MergeProposer().propose(brief_of(ruled(TWO, OTHERS), ruled(TWO)), 1) == []


def rewritten() -> Brief:
    parent = topic_brief().parent
    return brief_of(parent.with_text(f"You sort mail. {TWO}"), parent.with_text(f"Sort all mail. {OTHERS}"))


def joining(messages: Sequence[Message]) -> str:
    asked = messages[-1].content
    return f"<prompt>\nYou sort mail. {' '.join(text for text in (TWO, OTHERS) if text in asked)}\n</prompt>"


async def test_two_texts_are_joined_by_the_model() -> None:
    brief, model = rewritten(), ScriptedModel(joining)
    (draft,) = await MergeProposer(model).propose(brief, 1)
    assert accuracy(draft.prompt, brief.train) == 1
    assert draft.parents == (brief.partners[0].prompt.digest,)
    assert draft.usage.calls == 1
    assert model.calls[0].messages[-1].content.count("<<<DATA") >= 2


async def test_without_a_model_the_parents_text_stays_and_nothing_is_proposed() -> None:
    assert await MergeProposer().propose(rewritten(), 1) == []


@pytest.mark.parametrize(
    "bad",
    ["<prompt>Sure, here is the new prompt for you.</prompt>", "no tags at all", '<prompt>{"a": 1, "b": 2}</prompt>'],
)
async def test_a_reply_that_is_no_prompt_is_complained_about_once(bad: str) -> None:
    model = ScriptedModel([bad, joining(rewritten_request())])
    (draft,) = await MergeProposer(model).propose(rewritten(), 1)
    assert draft.usage.calls == 2
    assert "can not be used" in model.calls[1].messages[-1].content
    with pytest.raises(ModelError):
        await MergeProposer(ScriptedModel([bad, bad])).propose(rewritten(), 1)


def rewritten_request() -> list[Message]:
    return [Message("user", f"{TWO} {OTHERS}")]


async def test_a_broken_contract_is_repaired_by_the_model_only() -> None:
    brief, model = (
        rewritten(),
        ScriptedModel([f"<prompt>Ask {TWO} at www.evil.example</prompt>", joining(rewritten_request())]),
    )
    proposer = MergeProposer(model)
    (draft,) = await proposer.propose(brief, 1)
    repaired = await proposer.repair(brief, draft, ["a new host name: 'www.evil.example'"])
    assert repaired is not None
    assert repaired.parents == draft.parents
    assert "www" not in repaired.prompt.text
    plain = brief_of(ruled(TWO), ruled(OTHERS))
    (joined,) = await proposer.propose(plain, 1)
    assert await proposer.repair(plain, joined, ["anything"]) is None
