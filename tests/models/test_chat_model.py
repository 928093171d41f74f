"""ChatModel over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chat_server import Answer, ChatServer, Serve, completion

from promptlearn.errors import ConfigError, ModelError
from promptlearn.models.base import Model, Price, Sampling
from promptlearn.models.openai import ChatModel
from promptlearn.records import Message

KEY = "my-Secret-key-0123"
ASK = [Message("system", "Be brief."), Message("user", "Hello {braces} \ud800")]


@asynccontextmanager
async def opened(server: ChatServer, **options: Any) -> AsyncIterator[ChatModel]:
    model = ChatModel("openai/small", server.url, api_key=KEY, api_key_env="MY_KEY", **options)
    try:
        yield model
    finally:
        await model.close()


async def test_one_call(serve: Serve) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
    server = await serve([Answer(completion("Hi!", usage=usage))])
    sampling = Sampling(max_tokens=5, top_p=0.5, seed=7, stop=("\n",), extra={"min_p": 0.1})
    async with opened(server, price=Price(1.0, 10.0, 0.5)) as model:
        assert isinstance(model, Model)
        reply = await model.complete(ASK, sampling)
    assert (reply.text, reply.finish_reason) == ("Hi!", "stop")
    assert (reply.usage.calls, reply.usage.input_tokens, reply.usage.output_tokens) == (1, 100, 10)
    assert reply.usage.cached_tokens == 60
    assert reply.usage.cost_usd == pytest.approx((40 * 1.0 + 60 * 0.5 + 10 * 10.0) / 1e6)
    [request] = server.requests
    assert request.path == "/v1/chat/completions"
    assert request.headers["Authorization"] == f"Bearer {KEY}"
    assert request.body == {
        "model": "small",
        "messages": [{"role": m.role, "content": m.content} for m in ASK],
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "seed": 7,
        "stop": ["\n"],
        "min_p": 0.1,
    }


async def test_no_key_no_usage_no_price(serve: Serve) -> None:
    server = await serve([Answer(completion("four words of text", usage=None))])
    model = ChatModel("meta/llama", server.url + "/")
    reply = await model.complete(ASK)
    await model.close()
    assert "Authorization" not in server.requests[0].headers
    assert server.requests[0].body["model"] == "meta/llama"
    assert server.requests[0].path == "/v1/chat/completions"
    assert reply.usage.input_tokens > 0
    assert reply.usage.output_tokens > 0
    assert reply.usage.cost_usd is None


async def test_schema_is_strict_json_schema(serve: Serve) -> None:
    server = await serve(["{}", Answer({"error": {"message": "response_format is not available"}}, status=400)])
    async with opened(server) as model:
        await model.complete(ASK, schema={"type": "object"})
        with pytest.raises(ModelError) as caught:
            await model.complete(ASK, schema={"type": "object"})
    assert server.requests[0].body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "reply", "schema": {"type": "object"}, "strict": True},
    }
    assert caught.value.kind == "bad_request"


async def test_content_in_parts(serve: Serve) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "image"}, {"type": "text", "text": "b"}]
    server = await serve([Answer(completion(parts))])  # type: ignore[arg-type]
    async with opened(server) as model:
        assert (await model.complete(ASK)).text == "ab"


async def test_unknown_parameters_are_left_out_or_renamed_from_then_on(serve: Serve) -> None:
    def picky(request: Any) -> Answer | str:
        for name, advice in (("max_tokens", "Use 'max_completion_tokens' instead."), ("temperature", "")):
            if name in request:
                message = f"Unsupported parameter: '{name}' is not supported with this model. {advice}"
                return Answer({"error": {"message": message, "param": name}}, 400)
        return "ok"

    server = await serve(picky)
    async with opened(server) as model:
        replies = await asyncio.gather(*(model.complete(ASK) for _ in range(4)))
        before = len(server.requests)
        await model.complete(ASK)
    assert [reply.text for reply in replies] == ["ok"] * 4
    assert len(server.requests) == before + 1
    assert server.requests[-1].body["max_completion_tokens"] == 512


async def test_a_parameter_that_stays_refused_ends_the_call(serve: Serve) -> None:
    refusal = Answer({"error": {"message": "Unsupported value: 'temperature' does not support 0"}}, 400)
    server = await serve([refusal] * 10)
    async with opened(server) as model:
        with pytest.raises(ModelError) as caught:
            await model.complete(ASK)
    assert caught.value.kind == "bad_request"
    assert len(server.requests) == 2


async def test_sockets_are_shared_by_calls(serve: Serve) -> None:
    server = await serve(lambda request: Answer(delay=0.02))
    async with opened(server) as model:
        replies = await asyncio.gather(*(model.complete(ASK) for _ in range(20)))
    assert len(replies) == 20
    assert server.at_once == 20


async def test_the_proxy_of_the_environment_is_not_used(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    async with opened(await serve([])) as model:
        assert (await model.complete(ASK)).text == "ok"


def test_one_model_in_two_event_loops() -> None:
    with ChatServer().in_thread() as url:
        model = ChatModel("openai/small", url)

        async def once() -> str:
            text = (await model.complete(ASK)).text
            await model.close()
            return text

        assert [asyncio.run(once()), asyncio.run(once())] == ["ok", "ok"]


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://host/v1", "http://", "", "user:pass-word@host"])
def test_a_base_url_that_is_none(url: str) -> None:
    with pytest.raises(ConfigError, match="base_url") as caught:
        ChatModel("openai/small", url)
    assert "pass-word" not in str(caught.value)


def test_identity_holds_no_secret() -> None:
    model = ChatModel("openai/small", "https://me:pass-word@host/v1/", api_key=KEY)
    assert "pass-word" not in model.identity
    assert model.identity.endswith("@host/v1#small")
    assert ChatModel("small", "http://host/v1").identity == ChatModel("openai/small", "http://host/v1/").identity
