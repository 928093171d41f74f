from __future__ import annotations

import json

import pytest
from chat_server import Answer, Serve
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.errors import ModelError
from promptlearn.models.base import Reply
from promptlearn.models.openai import ChatModel
from promptlearn.models.scripted import ScriptedModel
from promptlearn.models.structured import Field, complete_fields, json_schema, parse_tagged, read_fields
from promptlearn.records import Message

FIELDS = (
    Field("explanation", "string", "what is right and what is wrong"),
    Field("label", ("good", "very bad")),
    Field("score", "number"),
    Field("passed", "boolean"),
    Field("suggestion", "string", "what would have helped", required=False),
)
VALUES = {"explanation": "Fine.", "label": "very bad", "score": 0.5, "passed": True, "suggestion": None}
TAGGED = "<explanation>Fine.</explanation>\n<label>Very  bad</label><score> .5 </score>\n<passed>yes</passed>"
ASK = [Message("system", "Judge."), Message("user", "The answer is {x}.")]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(VALUES),
        "Sure!\n```json\n" + json.dumps({**VALUES, "suggestion": ""}, indent=1) + "\n```\nBye {there}",
        'First {"a": 1}, then ' + json.dumps({**VALUES, "label": "VERY BAD.", "score": "0.5", "passed": "true"}),
        '{"explanation": "Fine.", "label": "very bad", "score": 0.5, "passed": true}',
        TAGGED,
        f"<explanation>I thought first</explanation>\nNo, again:\n{TAGGED}\n<suggestion></suggestion>",
    ],
)
def test_reading_is_tolerant(text: str) -> None:
    assert read_fields(text, FIELDS) == VALUES


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"explanation": " "}, "`explanation` is missing"),
        ({"label": "ugly"}, "`label` is 'ugly', which is not one of good, very bad"),
        ({"score": "high"}, "not a number"),
        ({"score": float("nan")}, "not a number"),
        ({"score": True}, "not a number"),
        ({"passed": "perhaps"}, "true or false"),
    ],
)
def test_reading_never_guesses(change: dict[str, object], says: str) -> None:
    """Invariant 4: what is not there is not judged."""
    with pytest.raises(ModelError) as caught:
        read_fields(json.dumps({**VALUES, **change}), FIELDS)
    assert caught.value.kind == "unparseable"
    assert says in str(caught.value)


@given(st.dictionaries(st.sampled_from(["a", "b"]), st.text(), min_size=2), st.text(alphabet="abc .\n"))
def test_json_round_trip(values: dict[str, str], around: str) -> None:
    """Invariant 12."""
    fields = [Field(name, required=False) for name in values]
    read = read_fields(f"{around}\n{json.dumps(values)}{around}", fields)
    assert read == {name: value if value.strip() else None for name, value in values.items()}


@given(st.text(st.characters(exclude_characters="<>")), st.text(st.characters(exclude_characters="<>")))
def test_tags_round_trip(first: str, second: str) -> None:
    """Invariant 12: what stands between tags is the text itself, but for white space around it."""
    text = f"{second}<prompt>{first}</prompt>{first}\n<prompt>\n{second}\n</prompt>"
    assert parse_tagged(text, ["prompt"]) == {"prompt": second.strip()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<p>a</p> then <p>b</p>", "b"),
        ("I write it in <p> tags.\n<p>text</p>", "text"),
        ("I write it in <p> tags. <p>text</p>", "text"),
        ("<p>Use <p> tags</p>", "Use <p> tags"),
        ("< P >x</ p >", "x"),
        ("<p>x</p> The <p> tag is done.", "x"),
        ("<p>{a} {{b}} $c \\n</p>", "{a} {{b}} $c \\n"),
    ],
)
def test_the_last_well_formed_tag_counts(text: str, expected: str) -> None:
    assert parse_tagged(text, ["p"]) == {"p": expected}


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("no tag", "unparseable"),
        ("<p>cut", "truncated"),
        ("<p>first</p>\n<p>second, cut", "truncated"),
        ("only </p>", "unparseable"),
        ("<p>closes </p> twice</p>", "unparseable"),
    ],
)
def test_a_broken_tag_is_a_failed_reply(text: str, kind: str) -> None:
    with pytest.raises(ModelError) as caught:
        parse_tagged(text, ["p"])
    assert caught.value.kind == kind


async def test_the_schema_asks_in_order(serve: Serve) -> None:
    server = await serve([json.dumps(VALUES)])
    model = ChatModel("openai/m", server.url)
    reply = await complete_fields(model, ASK, FIELDS)
    await model.close()
    assert list(reply.values.items()) == list(VALUES.items())
    body = server.requests[0].body
    assert body["response_format"]["json_schema"]["schema"] == json_schema(FIELDS)
    assert list(json_schema(FIELDS)["properties"]) == [field.name for field in FIELDS]
    assert json_schema(FIELDS)["properties"]["suggestion"]["type"] == ["string", "null"]
    assert body["messages"][0] == {"role": "system", "content": "Judge."}
    assert body["messages"][1]["content"].startswith("The answer is {x}.\n\n")


async def test_a_refused_rung_is_skipped_and_never_tried_again(serve: Serve) -> None:
    def picky(request: dict[str, object]) -> Answer | str:
        if "response_format" in request:
            return Answer({"error": {"message": "response_format is not available"}}, 400)
        return TAGGED

    server = await serve(picky)
    model = ChatModel("openai/m", server.url)
    first = await complete_fields(model, ASK, FIELDS)
    assert [request.body.get("response_format", {}).get("type") for request in server.requests] == [
        "json_schema",
        "json_object",
        None,
    ]
    assert "<label>" in server.requests[-1].body["messages"][-1]["content"]
    second = await complete_fields(model, ASK, FIELDS)
    await model.close()
    assert len(server.requests) == 4
    assert first.values == second.values == VALUES
    assert first.usage.calls == 1


async def test_every_rung_refused(serve: Serve) -> None:
    server = await serve([Answer({"error": {"message": "no"}}, 400)] * 3)
    model = ChatModel("openai/m", server.url)
    with pytest.raises(ModelError) as caught:
        await complete_fields(model, ASK, FIELDS)
    await model.close()
    assert (caught.value.kind, len(server.requests)) == ("bad_request", 3)


async def test_one_repair_that_says_what_was_wrong() -> None:
    broken = json.dumps({**VALUES, "label": "ugly"})
    model = ScriptedModel([broken, json.dumps(VALUES)])
    reply = await complete_fields(model, ASK, FIELDS)
    assert reply.values == VALUES
    assert reply.usage.calls == 2
    [*_, said, complaint] = model.calls[1].messages
    assert said == Message("assistant", broken)
    assert "`label` is 'ugly'" in complaint.content


async def test_two_unreadable_replies_are_a_failure() -> None:
    """Invariant 4."""
    model = ScriptedModel(["I think it is good."] * 3)
    with pytest.raises(ModelError) as caught:
        await complete_fields(model, ASK, FIELDS)
    assert (caught.value.kind, len(model.calls)) == ("unparseable", 2)


async def test_a_reply_at_the_token_limit_is_a_failure() -> None:
    """Invariant 4: even where what is there could be read."""
    with pytest.raises(ModelError) as caught:
        await complete_fields(ScriptedModel([Reply(TAGGED, "length")]), ASK, FIELDS)
    assert caught.value.kind == "truncated"


async def test_a_chat_that_ends_with_the_assistant_gets_a_question() -> None:
    model = ScriptedModel([json.dumps(VALUES)])
    await complete_fields(model, [Message("system", "Judge.")], FIELDS)
    assert [message.role for message in model.calls[0].messages] == ["system", "user"]
