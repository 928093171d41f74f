"""ChatModel over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from chat_server import Answer, ChatServer, Serve, completion

from promptlearn.errors import ConfigError, ModelError, SystemicError
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


async def failure(server: ChatServer, **options: Any) -> ModelError:
    async with opened(server, **options) as model:
        with pytest.raises(ModelError) as caught:
            await model.complete(ASK)
    message = str(caught.value)
    assert KEY not in message, "invariant 10"
    assert "\n" not in message
    return caught.value


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


@pytest.mark.parametrize(
    ("answer", "kind", "systemic", "says"),
    [
        (Answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401), "auth", True, "MY_KEY"),
        (Answer("<html><h1>Forbidden</h1></html>", 403, content_type="text/html"), "auth", True, "Forbidden"),
        (Answer({"error": {"message": "The model `small` does not exist"}}, 404), "not_found", True, "small"),
        (Answer({"error": {"code": "model_not_found", "message": "no"}}, 400), "not_found", True, "small"),
        (Answer("", 307, {"Location": "https://elsewhere/v1"}), "not_found", True, "https://elsewhere/v1"),
        (
            Answer({"error": {"code": "context_length_exceeded", "message": "maximum context length is 8"}}, 400),
            "context_length",
            False,
            "context window",
        ),
        (Answer({"error": {"code": "content_filter", "message": "no"}}, 400), "content_filter", False, "filter"),
        (Answer({"error": {"message": "temperature is too warm"}}, 400), "bad_request", False, "too warm"),
        (Answer({"detail": [{"msg": "messages: wrong"}]}, 422), "bad_request", False, "messages: wrong"),
        (Answer({"error": {"message": "slow down"}}, 429), "rate_limit", False, "slow down"),
        (Answer({"error": {"code": "insufficient_quota", "message": "pay"}}, 429), "rate_limit", True, "credit"),
        (Answer("", 408), "timeout", False, "408"),
        (Answer("", 409), "server", False, "409"),
        (Answer("", 425), "server", False, "425"),
        (Answer("boom", 500, content_type="text/plain"), "server", False, "boom"),
        (Answer("<html>Bad Gateway</html>", 502, content_type="text/html"), "server", False, "Bad Gateway"),
        (
            Answer({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}}, 529),
            "server",
            False,
            "busy",
        ),
        (Answer({"error": {"code": 503, "message": "upstream is gone"}}), "server", False, "upstream is gone"),
        (Answer({"error": {"code": 429, "message": "slow"}}), "rate_limit", False, "slow"),
        (Answer(completion("cut body"), cut=20), "connection", False, "cut"),
        (Answer('{"choices": [{"mess'), "malformed", False, "not JSON"),
        (Answer("<html>hello</html>", content_type="text/html"), "malformed", False, "text/html"),
        (Answer("data: {}\n\n", content_type="text/event-stream"), "malformed", False, "text/event-stream"),
        (Answer({"choices": []}), "malformed", False, "choices"),
        (Answer([1, 2]), "malformed", False, "choices"),
        (Answer("[" * 100_000), "malformed", False, "not JSON"),
        (Answer(completion("")), "empty", False, "empty"),
        (Answer(completion(None)), "empty", False, "empty"),
        (Answer(completion(" \n\t")), "empty", False, "empty"),
        (Answer(completion("", "length")), "truncated", False, "max_tokens"),
        (Answer(completion("", "content_filter")), "content_filter", False, "refused"),
        (Answer(completion(None, refusal="I can not help")), "content_filter", False, "I can not help"),
        (Answer(completion("<think>well, let me", "length")), "truncated", False, "<think>"),
        (Answer(completion("<think>done</think>\n")), "empty", False, "empty"),
    ],
)
async def test_each_failure_is_classified_once(
    serve: Serve, answer: Answer, kind: str, systemic: bool, says: str
) -> None:
    """Invariant 4: a failure is an error of one kind, never a text."""
    error = await failure(await serve([answer]))
    assert error.kind == kind
    assert isinstance(error, SystemicError) is systemic
    assert says in str(error)


@pytest.mark.parametrize(
    ("headers", "low", "high"),
    [
        ({"Retry-After": "7"}, 7, 7),
        ({"Retry-After": "0.5"}, 0.5, 0.5),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25, 0.25),
        ({"Retry-After": "Fri, 31 Dec 2100 23:59:59 GMT"}, 1e8, 1e10),
        ({"Retry-After": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0, 0),
    ],
)
async def test_retry_after_is_read(serve: Serve, headers: dict[str, str], low: float, high: float) -> None:
    error = await failure(await serve([Answer("", 429, headers)]))
    assert error.retry_after is not None
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("headers", [{}, {"Retry-After": "soon"}, {"Retry-After": "-1"}, {"Retry-After": "nan"}])
async def test_retry_after_may_be_missing(serve: Serve, headers: dict[str, str]) -> None:
    assert (await failure(await serve([Answer("", 429, headers)]))).retry_after is None


async def test_timeout(serve: Serve) -> None:
    started = time.perf_counter()
    error = await failure(await serve([Answer(delay=5)]), timeout=0.1)
    assert error.kind == "timeout"
    assert "0.1 s" in str(error)
    assert time.perf_counter() - started < 2


async def test_unreachable_port(serve: Serve) -> None:
    async with ChatServer() as server:
        url = server.url
    model = ChatModel("openai/small", url, api_key=KEY)
    with pytest.raises(ModelError, match="can not be reached") as caught:
        await model.complete(ASK)
    await model.close()
    assert caught.value.kind == "connection"
    assert caught.value.retryable


async def test_unknown_host() -> None:
    model = ChatModel("openai/small", "http://no-such-host.invalid/v1", timeout=20)
    with pytest.raises(ModelError) as caught:
        await model.complete(ASK)
    await model.close()
    assert caught.value.kind in ("connection", "timeout")


async def test_a_body_without_end_is_not_read_to_its_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptlearn.models.openai.MAX_BODY", 1 << 20)
    error = await failure(await serve([Answer(completion("x" * (3 << 20)))]))
    assert (error.kind, "1 MB" in str(error)) == ("malformed", True)


async def test_thoughts_are_taken_off(serve: Serve) -> None:
    server = await serve(["<think>\nhm {x}\n</think>\n\nblue", "It says <think>x</think>.", "  keep \n"])
    async with opened(server) as model:
        texts = [(await model.complete(ASK)).text for _ in range(3)]
    assert texts == ["blue", "It says <think>x</think>.", "  keep \n"]


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
    assert (await failure(server)).kind == "bad_request"
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
