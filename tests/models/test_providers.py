"""LiteLLMModel over real sockets, in the protocols of the providers."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, ChatServer, Serve

from promptlearn.errors import ConfigError, ModelError, SystemicError
from promptlearn.models import open_model
from promptlearn.models.base import Model, Price, Sampling
from promptlearn.models.providers import LiteLLMModel
from promptlearn.records import Message

CLAUDE = "anthropic/claude-sonnet-4-5"
KEY = "an-Anthropic-key-0123"
ASK = [Message("system", "Be brief."), Message("user", "Hello {braces}")]


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "MISTRAL_API_KEY", "GROQ_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MY_KEY", KEY)


def claude_says(text: str, stop: str = "end_turn", **usage: Any) -> dict[str, Any]:
    """A reply in Anthropic's protocol: tokens read from the cache stand beside `input_tokens`, not in them."""
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": text}] if text else [],
        "stop_reason": stop,
        "stop_sequence": None,
        "usage": {"input_tokens": 40, "output_tokens": 5, **usage},
    }


def refused(status: int, kind: str, message: str, **headers: str) -> Answer:
    body = {"type": "error", "error": {"type": kind, "message": message}}
    return Answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


@asynccontextmanager
async def opened(server: ChatServer, name: str = CLAUDE, **options: Any) -> AsyncIterator[Model]:
    url = server.url.removesuffix("/v1") if "claude" in name else server.url
    model = open_model(f"litellm/{name}", base_url=url, api_key_env="MY_KEY", **options)
    try:
        yield model
    finally:
        await model.close()


async def test_a_call_in_anthropics_protocol(serve: Serve) -> None:
    usage: dict[str, Any] = {"cache_read_input_tokens": 50, "cache_creation_input_tokens": 10}
    server = await serve([Answer(claude_says("Hi!", **usage))])
    sampling = Sampling(max_tokens=7, temperature=0.0, seed=3, stop=("x",))
    async with opened(server, price=Price(1.0, 10.0, 0.1, 1.25)) as model:
        assert isinstance(model, Model)
        reply = await model.complete(ASK, sampling)
    assert (reply.text, reply.finish_reason) == ("Hi!", "stop")
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (100, 5, 50)
    assert reply.usage.cost_usd == pytest.approx((40 * 1.0 + 50 * 0.1 + 10 * 1.25 + 5 * 10.0) / 1e6)
    [request] = server.requests
    assert request.path == "/v1/messages"
    assert request.headers["x-api-key"] == KEY
    assert (request.body["model"], request.body["max_tokens"]) == ("claude-sonnet-4-5", 7)
    assert request.body["stop_sequences"] == ["x"]
    assert "seed" not in request.body, "Anthropic takes none"
    assert request.body["system"] == [{"type": "text", "text": "Be brief."}]


async def test_a_call_in_geminis_protocol(serve: Serve) -> None:
    reply_body = {
        "candidates": [{"content": {"role": "model", "parts": [{"text": "Hi!"}]}, "finishReason": "STOP"}],
        "usageMetadata": {
            "promptTokenCount": 100,
            "candidatesTokenCount": 5,
            "totalTokenCount": 105,
            "cachedContentTokenCount": 60,
        },
    }
    server = await serve([Answer(reply_body)])
    async with opened(server, "gemini/gemini-2.5-flash") as model:
        reply = await model.complete(ASK)
    assert reply.text == "Hi!"
    assert (reply.usage.input_tokens, reply.usage.output_tokens, reply.usage.cached_tokens) == (100, 5, 60)
    assert server.requests[0].path.endswith("gemini-2.5-flash:generateContent")


async def test_the_price_is_that_of_the_table(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve([Answer(claude_says("Bonjour", cache_read_input_tokens=60))] * 2)
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    monkeypatch.setenv("ANTHROPIC_API_BASE", server.url.removesuffix("/v1"))  # LiteLLM reads it by itself
    for name in (CLAUDE, "anthropic/claude-no-such-model"):
        model = open_model(name)
        reply = await model.complete(ASK)
        await model.close()
        assert reply.usage.cached_tokens == 60
        if name == CLAUDE:
            assert model.price == Price(3.0, 15.0, 0.3, 3.75)
            assert reply.usage.cost_usd == pytest.approx(model.price.cost(100, 5, 60))
        else:
            assert (model.price, reply.usage.cost_usd) == (None, None), "unknown is not nothing"


async def test_an_unknown_endpoint_has_an_unknown_price_and_gets_no_key(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ANTHROPIC_API_KEY", KEY)
    server = await serve([Answer(claude_says("Hi!"))])
    model = LiteLLMModel(CLAUDE, base_url=server.url.removesuffix("/v1"))
    reply = await model.complete(ASK)
    await model.close()
    assert (model.price, reply.usage.cost_usd) == (None, None)
    assert KEY not in str(server.requests[0].headers)


async def test_a_long_prefix_that_came_before_is_marked_for_the_cache(serve: Serve) -> None:
    server = await serve([Answer(claude_says("ok"))] * 6)
    rules = Message("system", "Always sort by the first word. " * 200)
    shown = [Message("user", "first"), Message("assistant", "A")]
    marker = {"cache_control": {"type": "ephemeral"}}
    async with opened(server) as model:
        for i in range(2):
            await model.complete([rules, Message("user", f"question {i}")])
        for i in range(2):
            await model.complete([rules, *shown, Message("user", f"question {i}")])
        await model.complete(ASK)
        await model.complete(ASK)
    first, second, third, fourth, *short = (request.body for request in server.requests)
    assert "cache_control" not in str(first)
    assert second["system"][0].items() >= marker.items()
    assert "cache_control" not in str(third)
    assert fourth["messages"][1]["content"][0].items() >= marker.items(), "demonstrations belong to the prefix"
    assert "cache_control" not in str(short)


FAULTS = [
    (refused(429, "rate_limit_error", "slow down", retry_after="7"), "rate_limit", False, 7.0, "slow down"),
    (refused(429, "rate_limit_error", "slow down"), "rate_limit", False, None, "slow down"),
    (refused(529, "overloaded_error", "Overloaded", retry_after="3"), "server", False, 3.0, "Overloaded"),
    (refused(500, "api_error", "boom"), "server", False, None, "answered 500: boom"),
    (Answer("<html>bad gateway", 502, content_type="text/html"), "server", False, None, "bad gateway"),
    (refused(401, "authentication_error", "invalid x-api-key"), "auth", True, None, "MY_KEY"),
    (refused(403, "permission_error", "not for you"), "auth", True, None, "not for you"),
    (refused(404, "not_found_error", "model: claude-x"), "not_found", True, None, "claude-sonnet-4-5"),
    (refused(413, "request_too_large", "too large"), "context_length", False, None, "too large"),
    (
        refused(400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum"),
        "context_length",
        False,
        None,
        "210000",
    ),
    (refused(400, "invalid_request_error", "Your credit balance is too low"), "auth", True, None, "credit"),
    (refused(400, "invalid_request_error", "messages: wrong"), "bad_request", False, None, "messages: wrong"),
    (Answer('{"id": "msg'), "malformed", False, None, "LiteLLM can not read"),
    (Answer("<html>hello</html>", content_type="text/html"), "malformed", False, None, "LiteLLM can not read"),
    (Answer([1, 2]), "malformed", False, None, "LiteLLM can not read"),
    (Answer(claude_says("cut body"), cut=20), "connection", False, None, "in the middle of its answer"),
    (Answer(claude_says("")), "empty", False, None, "empty"),
    (Answer(claude_says("", "max_tokens")), "truncated", False, None, "max_tokens"),
    (Answer(claude_says("I can not", "refusal")), "content_filter", False, None, "refused"),
    (Answer(delay=5), "timeout", False, None, "within 0.4 s"),
]


@pytest.mark.parametrize(
    ("answer", "kind", "systemic", "wait", "says"), FAULTS, ids=[f"{i}-{fault[1]}" for i, fault in enumerate(FAULTS)]
)
async def test_failures_are_of_the_same_kinds_as_everywhere(
    serve: Serve, answer: Answer, kind: str, systemic: bool, wait: float | None, says: str
) -> None:
    """Invariants 4 and 10."""
    server = await serve([answer] * 5)
    async with opened(server, timeout=0.4) as model:
        with pytest.raises(ModelError) as caught:
            await model.complete(ASK)
    error = caught.value
    assert (error.kind, error.retry_after) == (kind, wait)
    assert isinstance(error, SystemicError) is systemic
    assert says in str(error)
    assert KEY not in str(error)
    assert "\n" not in str(error)
    assert len(server.requests) == 1, "LiteLLM's own retries are off"


async def test_an_overloaded_provider_that_speaks_chat_completions(serve: Serve) -> None:
    server = await serve([refused(529, "overloaded_error", "busy", retry_after="2")])
    async with opened(server, "mistral/mistral-large-latest") as model:
        with pytest.raises(ModelError) as caught:
            await model.complete(ASK)
    assert (caught.value.kind, caught.value.retry_after) == ("server", 2.0)


async def test_an_unreachable_provider() -> None:
    async with ChatServer() as server:
        pass
    async with opened(server) as model:
        with pytest.raises(ModelError, match="can not be reached") as caught:
            await model.complete(ASK)
    assert (caught.value.kind, caught.value.billable) == ("connection", False)


async def test_a_parameter_that_the_model_refuses_is_left_out(serve: Serve) -> None:
    def picky(request: Any) -> Answer:
        if "temperature" in request:
            return refused(400, "invalid_request_error", "`temperature` is not supported for this model")
        return Answer(claude_says("ok"))

    server = await serve(picky)
    async with opened(server) as model:
        assert (await model.complete(ASK)).text == "ok"
        assert (await model.complete(ASK)).text == "ok"
    assert len(server.requests) == 3


async def test_a_schema_reaches_the_provider_or_is_refused(serve: Serve) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    server = await serve(['{"a": "b"}'])
    async with opened(server, "mistral/mistral-large-latest") as model:
        await model.complete(ASK, schema=schema)
    assert server.requests[0].body["response_format"]["json_schema"]["schema"] == schema
    model = open_model("bedrock/amazon.titan-text-lite-v1")
    with pytest.raises(ModelError) as caught:
        await model.complete(ASK, schema=schema)
    assert caught.value.kind == "bad_request"


async def test_sockets_are_shared_until_the_last_model_is_closed(serve: Serve) -> None:
    server = await serve([Answer(claude_says("ok"))] * 9)
    async with opened(server) as one:
        await one.complete(ASK)
        async with opened(server) as two:
            await asyncio.gather(*(model.complete(ASK) for model in (one, two)))
        assert (await one.complete(ASK)).text == "ok"
    assert (await one.complete(ASK)).text == "ok", "a closed one opens sockets anew"
    await one.close()


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("antropic/claude", {}, "did you mean anthropic/?"),
        ("litellm/nosuchprovider/x", {}, "knows no provider 'nosuchprovider'"),
        (CLAUDE, {}, "ANTHROPIC_API_KEY"),
        ("groq/llama-3.1-8b-instant", {}, "GROQ_API_KEY"),
        (CLAUDE, {"api_key_env": "NO_KEY"}, "NO_KEY"),
    ],
)
def test_what_can_not_be_opened(name: str, options: dict[str, str], says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_model(name, **options)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_the_extra_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "litellm", None)
    with pytest.raises(ConfigError, match=r"pip install 'promptlearn-optimizer\[litellm\]'"):
        open_model(CLAUDE)


def test_names_with_a_base_url_speak_chat_completions_unless_they_begin_with_litellm() -> None:
    plain = open_model(CLAUDE, base_url="http://127.0.0.1:1/v1")
    native = open_model(f"litellm/{CLAUDE}", base_url="http://127.0.0.1:1")
    assert (type(plain).__name__, type(native).__name__) == ("ChatModel", "LiteLLMModel")
    assert len({plain.identity, native.identity, LiteLLMModel(CLAUDE, api_key_env="MY_KEY").identity}) == 3


ALONE = """
import asyncio, json, os, sys
seen = []

def watch(event, args):
    if event == "socket.connect" and isinstance(args[1], tuple) and not str(args[1][0]).startswith("127."):
        seen.append([event, str(args[1])])
    if event == "socket.getaddrinfo" and not str(args[0]).startswith("127."):
        seen.append([event, str(args[0])])
    if event == "open" and str(args[0]).endswith(".env"):
        seen.append([event, str(args[0])])

sys.addaudithook(watch)
from promptlearn.models import open_model
from promptlearn.records import Message
open_model("openai/gpt-4o-mini")
early = "litellm" in sys.modules
model = open_model("litellm/anthropic/claude-sonnet-4-5", base_url=sys.argv[1])

async def call():
    text = (await model.complete([Message("user", "hello")])).text
    await model.close()
    return text

text = asyncio.run(call())
print(json.dumps([early, seen, text, os.environ.get("LITELLM_MODE"), os.environ.get("FROM_DOTENV")]))
"""


def test_the_first_use_asks_no_network_and_reads_no_dotenv(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("FROM_DOTENV=1\nOPENAI_API_KEY=other\n")
    environment = {**os.environ, "OPENAI_API_KEY": "k", "PYTHONPATH": str(Path(__file__).parents[2])}
    with ChatServer([Answer(claude_says("ok"))]).in_thread() as url:
        done = subprocess.run(
            [sys.executable, "-c", ALONE, url.removesuffix("/v1")],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    assert json.loads(done.stdout) == [False, [], "ok", None, None]
    assert done.stderr == ""
