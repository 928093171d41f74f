"""Proposers in scripts that put no spaces between words."""

from dataclasses import replace

import pytest

from promptlearn.errors import ModelError
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing import open_proposer
from promptlearn.proposing.base import Brief
from promptlearn.records import FailureMode, Prompt, Review, Rule

PARENT = Prompt.of("你是一家商店的客服助手。请回答客户的邮件。")
MODES = (FailureMode("标签错误", ("e1", "e2"), ("消息: 我的包裹在哪里",)),)
REVIEWS = tuple(
    Review(f"r{number}", body, trusted=True, state="approved")
    for number, body in enumerate(["回答时必须先道歉。", "每次回答都要先向客户道歉。", "不要使用感叹号。"], 1)
)
BRIEF = Brief(parent=PARENT, modes=MODES, seed=1)


async def test_a_prompt_in_chinese_is_no_scrap() -> None:
    text = "你是一家商店的客服助手。请把每封邮件归入一个标签，只写标签。"
    (draft,) = await open_proposer("rewrite", model=ScriptedModel([f"<prompt>{text}</prompt>"])).propose(BRIEF, 1)
    assert draft.prompt.text == text
    with pytest.raises(ModelError, match="fewer than 5 words"):
        await open_proposer("rewrite", model=ScriptedModel(["<prompt>请回答。</prompt>"] * 2)).propose(BRIEF, 1)


@pytest.mark.parametrize("rule", ["回答时只写一个标签。", "ラベルを一つだけ書いてください。", "ตอบด้วยป้ายกำกับเดียวเท่านั้น"])
async def test_a_rule_needs_no_spaces(rule: str) -> None:
    (draft,) = await open_proposer("edit", model=ScriptedModel([f"<add>{rule}</add>"])).propose(BRIEF, 1)
    assert draft.prompt.rules == (Rule(rule, ("e1", "e2")),)


async def test_comments_in_chinese_become_general_rules() -> None:
    model = ScriptedModel(['<rule from="1, 2">每次回答都要先道歉。</rule>'])
    (draft,) = await open_proposer("rules", model=model).propose(replace(BRIEF, modes=(), reviews=REVIEWS), 1)
    assert draft.prompt.rules == (Rule("每次回答都要先道歉。", ("r1", "r2")),)
    made_up = ScriptedModel(['<rule from="1, 2">价格一律写成欧元。</rule>'] * 2)
    drafts = await open_proposer("rules", model=made_up).propose(replace(BRIEF, modes=(), reviews=REVIEWS), 4)
    assert not any("欧元" in draft.prompt.learned_text() for draft in drafts)


async def test_rules_in_chinese_are_joined_in_as_many_words_as_they_have() -> None:
    rules = (Rule("不要使用感叹号。", ("a",)), Rule("回答中禁止使用感叹号和表情符号。", ("b",)))
    model = ScriptedModel(['<rule from="1, 2">不要使用感叹号和表情符号。</rule>'])
    parent = replace(PARENT, rules=rules)
    (draft,) = await open_proposer("prune", model=model).propose(replace(BRIEF, parent=parent), 1)
    assert draft.prompt.rules == (Rule("不要使用感叹号和表情符号。", ("a", "b")),)
    assert "at most 12 words" in model.calls[0].messages[-1].content
