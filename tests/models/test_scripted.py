from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from promptlearn.errors import ConfigError, ModelError, SystemicError
from promptlearn.models import open_model
from promptlearn.models.base import Model, Price, Reply, Sampling
from promptlearn.models.scripted import ScriptedModel
from promptlearn.records import Message

RULES = [(r"^user: .*refund", "billing"), (r"(?i)PARCEL", "shipping")]


def ask(text: str) -> list[Message]:
    return [Message("system", "Classify."), Message("user", text)]


async def test_a_list_answers_in_order_and_ends() -> None:
    model = ScriptedModel(["one", Reply("two", "length"), ModelError("server", "three")])
    assert isinstance(model, Model)
    assert (await model.complete(ask("a"))).text == "one"
    assert (await model.complete(ask("b"), Sampling(seed=1), {"type": "object"}, 4)).finish_reason == "length"
    with pytest.raises(ModelError, match="three"):
        await model.complete(ask("c"))
    with pytest.raises(SystemicError, match="3 replies and was asked for number 4: add replies"):
        await model.complete(ask("d"))
    assert [call.messages[-1].content for call in model.calls] == ["a", "b", "c", "d"]
    assert (model.calls[1].sampling.seed, model.calls[1].repeat) == (1, 4)
    assert model.calls[1].schema == {"type": "object"}


async def test_a_function_answers_alike_at_any_concurrency() -> None:
    """Invariant 8."""

    def latency(messages: object) -> float:
        return 0.001 * (hash(str(messages)) % 7)

    model = ScriptedModel(lambda messages: messages[-1].content[::-1], latency=latency)
    replies = await asyncio.gather(*(model.complete(ask(f"text {i}")) for i in range(50)))
    assert [reply.text for reply in replies] == [f"text {i}"[::-1] for i in range(50)]


async def test_the_first_rule_that_is_found_wins() -> None:
    model = ScriptedModel(RULES, default="other")
    texts = [(await model.complete(ask(text))).text for text in ("a refund for a parcel", "my parcel?", "Refund")]
    assert texts == ["billing", "shipping", "other"]


async def test_a_chat_that_no_rule_knows() -> None:
    with pytest.raises(SystemicError, match=r"no rule of scripted matches the chat that ends .*hello"):
        await ScriptedModel(RULES).complete(ask("hello"))


async def test_an_empty_reply_is_a_failure() -> None:
    """Invariant 4."""
    with pytest.raises(ModelError, match="empty") as caught:
        await ScriptedModel(["  \n"]).complete(ask("a"))
    assert caught.value.kind == "empty"


async def test_usage_is_estimated_and_free() -> None:
    usage = (await ScriptedModel(["some words"]).complete(ask("a"))).usage
    assert (usage.calls, usage.cost_usd) == (1, 0.0)
    assert min(usage.input_tokens, usage.output_tokens) > 0


async def test_a_price_that_is_given_counts(tmp_path: Path) -> None:
    """Replies that the journal kept when they were free are none of this model."""
    path = tmp_path / "rules.yaml"
    path.write_text("default: 'some words'\n", encoding="utf-8")
    price = Price(1_000_000, 2_000_000)
    model = open_model(f"scripted/{path}", price=price)
    usage = (await model.complete(ask("a"))).usage
    assert model.price == price
    assert usage.cost_usd == usage.input_tokens + 2 * usage.output_tokens > 0
    assert model.identity != open_model(f"scripted/{path}").identity


def test_identity_follows_the_script() -> None:
    assert ScriptedModel(RULES).identity == ScriptedModel(list(RULES)).identity
    others = [ScriptedModel(RULES, default="x"), ScriptedModel(RULES[:1]), ScriptedModel(["a"]), ScriptedModel(str)]
    assert len({model.identity for model in [ScriptedModel(RULES), *others]}) == 5


async def test_a_script_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n  - {when: 'refund', reply: billing}\ndefault: 'other'\n", encoding="utf-8")
    model = open_model(f"scripted/{path}", sampling=Sampling(max_tokens=3))
    assert (await model.complete(ask("refund"))).text == "billing"
    assert (await model.complete(ask("hm"))).text == "other"
    assert (model.name, model.sampling.max_tokens) == ("scripted/rules.yaml", 3)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("rules: [{when: a, answer: b}]", "rules.0"),
        ("rule: []", "`rule`"),
        ("rules: [{when: '(', reply: b}]", "not a regular expression"),
        ("rules: [", "can not be read"),
        ("- a", "rules.yaml"),
        (None, "no script at"),
    ],
)
def test_a_script_file_that_is_wrong(tmp_path: Path, content: str | None, says: str) -> None:
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_text(content, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        open_model(f"scripted/{path}")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
