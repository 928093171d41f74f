"""A reviewers' rule as a judge: by code where that is certain, by a model where one is there, else not at all."""

from __future__ import annotations

import pytest
from judge_model import JudgeModel

from promptlearn.errors import ConfigError
from promptlearn.judging import NOT_APPLICABLE, LLMJudge, RuleCheck, open_criterion, open_judge
from promptlearn.judging.rule_checks import find_checks
from promptlearn.records import Example, Rollout

EXAMPLE = Example("e1", {"message": "Where is my parcel?"})

CHECKED = [
    ("Never mention Acme.", "It is with Acme now.", "It is on its way."),
    ("Never mention “Acme Corp” or `Foo`.", "Ask foo about it.", "Ask them about it."),
    ("Do not say “sorry”, even if the customer is angry.", "Sorry for that!", "We look into it."),
    ("Use “customers” rather than “users” everywhere.", "Our users like it.", "Our customers like it."),
    ("Always end with “Kind regards”.", "Bye.", "Bye.\nKind regards."),
    ("Say hello and start with “Dear customer”.", "Hello!", "Dear customer, hello!"),
    ("Answer with one word.", "Billing, I think", "Billing"),
    ("Your answer must be one word only.", "It is Billing", "Billing."),
    ("At most three sentences.", "A. B. C. D.", "A. B. C."),
    ("Keep it to two sentences or less.", "One. Two. Three.", "One, e.g. this. Two."),
    ("Use fewer than 5 words.", "one two three four five", "one two three four"),
    ("Write at least 3 words.", "one two", "one two three"),
    ("The answer must be at most 20 characters long.", "x" * 21, "x" * 20),
    ("Use lower case.", "Billing", "billing"),
    ("Answer in upper case.", "Billing", "BILLING 1!"),
    ("Avoid exclamation marks.", "Hi!", "Hi."),
    ("Do not use emoji or exclamation marks.", "Hi 🎉", "Hi."),
    ("Answer in plain text.", "**Hi**", "Hi 2 * 3"),
    ("No bullet points.", "- a\n- b", "a - b"),
    ("No links.", "See https://a.example/x", "See the page"),
    ("Answer in valid JSON.", "{a: 1}", '{"a": 1}'),
    ("No full stop at the end.", "Billing.", "Billing"),
]
UNCHECKED = [
    "Stay friendly.",
    "If the customer is angry, use at most two sentences.",
    "For refunds, answer with one word.",
    "Gift cards go to `Account`.",
    "Broken goods are `Return`, not `Delivery`.",
    "Label refunds `Return` instead of `Delivery`.",
    "Never mention competitors by name.",
    "Keep the greeting short: one line, no emoji.",
    "Begin with one sentence of apology.",
    "At most two sentences per paragraph.",
    "Use lower case for the label.",
    "Answer with one of these labels: `A`, `B`.",
]


def rollout(output: str) -> Rollout:
    return Rollout("p", "e1", output)


@pytest.mark.parametrize(("rule", "broken", "kept"), CHECKED)
async def test_code_sees_what_a_rule_names(rule: str, broken: str, kept: str) -> None:
    judge = open_criterion(rule)
    assert isinstance(judge, RuleCheck)
    bad, good = await judge.judge(EXAMPLE, rollout(broken)), await judge.judge(EXAMPLE, rollout(kept))
    assert (bad.score, bad.label, bad.passed, bad.kind) == (0.0, "broken", False, "code")
    assert (good.score, good.label, good.passed) == (1.0, "kept", True), good.explanation
    assert bad.suggestion == rule
    assert bad.explanation


@pytest.mark.parametrize("rule", UNCHECKED)
def test_code_leaves_alone_what_it_does_not_understand(rule: str) -> None:
    assert find_checks(rule) == ()
    assert open_criterion(rule) is None
    assert isinstance(open_criterion(rule, JudgeModel("")), LLMJudge)
    with pytest.raises(ConfigError, match=r"code can not check .*criterion"):
        RuleCheck(rule)


def test_a_model_is_not_asked_about_what_code_can_check_whole() -> None:
    assert isinstance(open_criterion("Answer with one word.", JudgeModel("")), RuleCheck)
    assert isinstance(open_criterion("Answer with one word, and be kind.", JudgeModel("")), LLMJudge)


async def test_without_a_model_a_part_is_checked_and_the_verdict_says_so() -> None:
    judge = open_criterion("Thank the customer warmly, and avoid exclamation marks.")
    assert judge is not None
    verdict = await judge.judge(EXAMPLE, rollout("Go away."))
    assert verdict.score == 1.0
    assert "as far as code can tell (avoid exclamation marks)" in verdict.explanation


async def test_a_model_may_say_that_a_rule_does_not_apply() -> None:
    model = JudgeModel({"explanation": "no invoice here", "label": NOT_APPLICABLE, "suggestion": None})
    judge = open_criterion("Name the invoice number where there is one.", model, name="guard")
    assert judge is not None
    verdict = await judge.judge(EXAMPLE, rollout("It is on its way."))
    assert (verdict.name, verdict.score, verdict.label) == ("guard", 1.0, NOT_APPLICABLE)
    assert "Name the invoice number where there is one." in model.asked[0][0].content


def test_both_open_by_name() -> None:
    assert open_judge("rule_check", {"rule": "No emoji."}).name == "rule_check"
    assert open_judge("criterion", {"criteria": "Be kind."}, model=JudgeModel("")).name == "criterion"
