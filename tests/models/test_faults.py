"""Every way in which a call can fail, over a real socket: what it is called, what it costs and what is said of it."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pytest
from chat_server import Answer, ChatServer, Serve, completion

from promptlearn.errors import FAILURE_KINDS, ModelError, SystemicError
from promptlearn.models.openai import ChatModel
from promptlearn.records import Message

KEY = "my-Secret-key-0123"
ASK = [Message("system", "Be brief."), Message("user", "Hello")]
TIMEOUT = 0.3


@dataclass(frozen=True, slots=True)
class Raw:
    """What a server without manners writes, and how it ends."""

    sent: bytes = b""
    then: Literal["close", "reset", "stall"] = "close"


@dataclass(frozen=True, slots=True)
class Case:
    """One fault: what the endpoint does, and what is made of it."""

    name: str
    answer: Answer | Raw
    kind: str
    says: str
    retryable: bool = False
    billable: bool = False
    systemic: bool = False
    wait: float | None = None


def failed(status: int, message: str, code: str | None = None, **headers: str) -> Answer:
    """An error in OpenAI's form."""
    body = {"error": {"message": message, "type": "some_error", "param": None, "code": code}}
    return Answer(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


def html(status: int, text: str) -> Answer:
    return Answer(f"<html><h1>{text}</h1></html>", status, content_type="text/html")


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SLOW_DOWN = {"retryable": True}
PAID = {"retryable": True, "billable": True}
AZURE = {
    "error": {
        "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
        "type": None,
        "param": "prompt",
        "code": "content_filter",
        "status": 400,
        "innererror": {"code": "ResponsibleAIPolicyViolation"},
    }
}
ECHO = {"detail": [{"type": "extra_forbidden", "msg": "Extra inputs", "input": "what is a content filter?"}]}
GEMINI = {"error": {"code": 429, "message": "You exceeded your quota. Please retry in 34.5s.", "status": "X"}}
STREAM = 'data: {"choices": [{"delta": {"content": "Hi"}}]}\n\ndata: [DONE]\n\n'
UPSTREAM = {"choices": [{"error": {"code": 502, "message": "it fell"}, "message": {"content": ""}}]}

CASES = [
    # limits
    Case("429 with seconds", failed(429, "slow", Retry_After="7"), "rate_limit", "slow", wait=7, **SLOW_DOWN),
    Case("429 with milliseconds", failed(429, "slow", retry_after_ms="250"), "rate_limit", "", wait=0.25, **SLOW_DOWN),
    Case("429 in words", failed(429, "Please try again in 20s."), "rate_limit", "20s", wait=20, **SLOW_DOWN),
    Case("429 in fractions", failed(429, "Please try again in 340ms."), "rate_limit", "", wait=0.34, **SLOW_DOWN),
    Case("429 of Azure", failed(429, "Please retry after 6 seconds."), "rate_limit", "", wait=6, **SLOW_DOWN),
    Case("429 of Gemini", Answer(GEMINI, 429), "rate_limit", "quota", wait=34.5, **SLOW_DOWN),
    Case("429 without a word", Answer("", 429), "rate_limit", "lower the concurrency", **SLOW_DOWN),
    Case("no quota", failed(429, "pay", "insufficient_quota"), "rate_limit", "add credit", systemic=True),
    Case("no credit", failed(402, "Insufficient Balance"), "auth", "add credit", systemic=True),
    Case("no credit, as Anthropic says", failed(400, "credit balance is too low"), "auth", "credit", systemic=True),
    # the provider's side
    Case("500", Answer("boom", 500, content_type="text/plain"), "server", "boom", **SLOW_DOWN),
    Case("500 without a word", Answer("", 500), "server", "provider’s side", **SLOW_DOWN),
    Case("502", html(502, "Bad Gateway"), "server", "Bad Gateway", **SLOW_DOWN),
    Case("503 with a wait", failed(503, "warming up", Retry_After="3"), "server", "warming up", wait=3, **SLOW_DOWN),
    Case("529", failed(529, "Overloaded", Retry_After="2"), "server", "Overloaded", wait=2, **SLOW_DOWN),
    Case("409", Answer("", 409), "server", "409", **SLOW_DOWN),
    Case("425", Answer("", 425), "server", "425", **SLOW_DOWN),
    Case("503 inside a 200", Answer({"error": {"code": 503, "message": "gone"}}), "server", "gone", **SLOW_DOWN),
    Case("429 inside a 200", Answer({"error": {"code": 429, "message": "slow"}}), "rate_limit", "slow", **SLOW_DOWN),
    Case("502 inside a choice", Answer(UPSTREAM), "server", "it fell", **SLOW_DOWN),
    # time
    Case("408", Answer("", 408), "timeout", "408", **PAID),
    Case("never answers", Answer(delay=5), "timeout", "did not answer within 0.3 s", **PAID),
    Case("accepts and is silent", Raw(then="stall"), "timeout", "did not answer within 0.3 s", **PAID),
    Case(
        "stalls behind its headers",
        Raw(HEAD + b"Content-Length: 500\r\n\r\n", "stall"),
        "timeout",
        "did not finish its answer within 0.3 s",
        **PAID,
    ),
    Case(
        "stalls in the middle",
        Raw(HEAD + b'Content-Length: 500\r\n\r\n{"choices": [', "stall"),
        "timeout",
        "did not finish its answer",
        **PAID,
    ),
    # sockets
    Case("closed at once", Raw(), "connection", "cut the connection", **SLOW_DOWN),
    Case("reset at once", Raw(then="reset"), "connection", "cut the connection", **SLOW_DOWN),
    Case("cut in the middle", Answer(completion("x" * 99), cut=20), "connection", "in the middle", **PAID),
    Case(
        "reset in the middle",
        Raw(HEAD + b'Content-Length: 500\r\n\r\n{"choices": [', "reset"),
        "connection",
        "in the middle of its answer",
        **PAID,
    ),
    Case(
        "cut between chunks",
        Raw(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{\"cho\r\n"),
        "connection",
        "in the middle of its answer",
        **PAID,
    ),
    Case("cut in its headers", Raw(b"HTTP/1.1 200 OK\r\nContent-Ty"), "connection", "cut the connection", **SLOW_DOWN),
    Case("no HTTP at all", Raw(b"SSH-2.0-OpenSSH_9.6\r\n"), "malformed", "does not speak HTTP", **PAID),
    # bodies
    Case("cut JSON", Answer('{"choices": [{"mess'), "malformed", "cut off or not JSON", **PAID),
    Case("JSON with a slip", Answer('{"choices": [,]}'), "malformed", "cut off or not JSON", **PAID),
    Case("empty body", Answer(""), "malformed", "not JSON", **PAID),
    Case("a page with 200", html(200, "Welcome"), "malformed", "text/html that is not JSON", **PAID),
    Case("a stream", Answer(STREAM, content_type="text/event-stream"), "malformed", "stream of events", **PAID),
    Case("a stream that says JSON", Answer(STREAM), "malformed", "switch off streaming", **PAID),
    Case("no choices", Answer({"choices": []}), "malformed", "choices[0].message", **PAID),
    Case("a choice without message", Answer({"choices": [{"text": "hi"}]}), "malformed", "message", **PAID),
    Case("another shape", Answer([1, 2]), "malformed", "choices[0].message", **PAID),
    Case("bottomless", Answer("[" * 100_000), "malformed", "not JSON", **PAID),
    # texts
    Case("empty content", Answer(completion("")), "empty", "empty text", **PAID),
    Case("null content", Answer(completion(None)), "empty", "empty text", **PAID),
    Case("white space", Answer(completion(" \n\t")), "empty", "empty text", **PAID),
    Case("nothing within the limit", Answer(completion("", "length")), "truncated", "max_tokens", billable=True),
    Case("a tool call", Answer(completion(None, "tool_calls", tool_calls=[{}])), "empty", "tool_calls", **PAID),
    # thoughts
    Case("cut thought", Answer(completion("<think>well,", "length")), "truncated", "inside <think>", billable=True),
    Case("open thought", Answer(completion("<think>well")), "truncated", "inside <think>", billable=True),
    Case("only a thought", Answer(completion("<think>hm</think>\n")), "empty", "thoughts and no text", **PAID),
    Case("a second one", Answer(completion("<think>a</think><think>b")), "truncated", "<think>", billable=True),
    Case("thought without opening tag", Answer(completion("hm\n</think>\n\n")), "empty", "thoughts", **PAID),
    Case(
        "thought in a field of its own",
        Answer(completion(None, "length", reasoning_content="well,")),
        "truncated",
        "thoughts and no text within 512 tokens",
        billable=True,
    ),
    # filters
    Case("prompt filtered by Azure", Answer(AZURE, 400), "content_filter", "refused the prompt", billable=True),
    Case("prompt flagged", failed(403, "Your input was flagged"), "content_filter", "flagged", billable=True),
    Case("answer filtered", Answer(completion("", "content_filter")), "content_filter", "refused", billable=True),
    Case("answer cut by a filter", Answer(completion("It is", "content_filter")), "content_filter", "", billable=True),
    Case("refusal", Answer(completion(None, refusal="I can not")), "content_filter", "I can not", billable=True),
    # length
    Case(
        "too long for OpenAI",
        failed(400, "This model's maximum context length is 8192 tokens.", "context_length_exceeded"),
        "context_length",
        "longer than small's context window",
    ),
    Case("too long for o-models", failed(400, "Your input exceeds the context window"), "context_length", "window"),
    Case(
        "too long for vLLM",
        failed(400, "The decoder prompt (length 5000) is longer than the maximum model length of 4096."),
        "context_length",
        "4096",
    ),
    Case(
        "no room for the answer in vLLM",
        failed(400, "'max_tokens' is too large: 900. This model's maximum context length is 512 tokens"),
        "context_length",
        "900",
    ),
    Case(
        "too long for llama.cpp",
        failed(400, "the request exceeds the available context size (4096 tokens)", "exceed_context_size_error"),
        "context_length",
        "4096",
    ),
    Case("too long for an old llama.cpp", failed(500, "the request exceeds the context size"), "context_length", ""),
    Case("too long for Anthropic", failed(400, "prompt is too long: 9 tokens > 8 maximum"), "context_length", "9"),
    Case("no room in Anthropic", failed(400, "input and `max_tokens` exceed context limit"), "context_length", ""),
    Case("too long for Gemini", failed(400, "The input token count (9) exceeds the maximum"), "context_length", "9"),
    Case("too long for TGI", failed(422, "`inputs` tokens + `max_new_tokens` must be <= 4097"), "context_length", ""),
    Case("too large for a proxy", html(413, "Request Entity Too Large"), "context_length", "Too Large"),
    # what no retry mends
    Case("wrong key", failed(401, f"Incorrect API key provided: {KEY}"), "auth", "MY_KEY", systemic=True),
    Case("wrong key with 400", failed(400, "API key not valid."), "auth", "MY_KEY", systemic=True),
    Case("no permission", failed(403, "not for you"), "auth", "check that the key in MY_KEY may", systemic=True),
    Case("unknown model", failed(404, "The model `small` does not exist"), "not_found", "small", systemic=True),
    Case("unknown model with 400", failed(400, "no", "model_not_found"), "not_found", "small", systemic=True),
    Case("wrong path", html(404, "Not Found"), "not_found", "base_url", systemic=True),
    Case("moved", Answer("", 307, {"Location": "https://elsewhere/v1"}), "not_found", "elsewhere", systemic=True),
    Case("wrong parameter", failed(400, "temperature is too warm"), "bad_request", "too warm"),
    Case("wrong message", Answer({"detail": [{"msg": "messages: wrong"}]}, 422), "bad_request", "messages: wrong"),
    Case("echo of the prompt", Answer(ECHO, 422), "bad_request", "Extra inputs"),
    Case("refused without a word", Answer("", 400), "bad_request", "without a reason"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_each_failure_is_classified_once(serve: Serve, case: Case) -> None:
    """Invariant 4: a failure is an error of one kind, never a text; invariant 10: its words hold no key."""
    if isinstance(case.answer, Raw):
        async with raw_server(case.answer) as url:
            error = await failure(url)
    else:
        error = await failure((await serve([case.answer] * 4)).url)
    assert error.kind in FAILURE_KINDS
    assert (error.kind, error.retryable, error.billable) == (case.kind, case.retryable, case.billable), str(error)
    assert isinstance(error, SystemicError) is case.systemic
    assert error.retry_after == (None if case.wait is None else pytest.approx(case.wait))
    assert case.says in str(error)
    assert KEY not in str(error)
    assert "\n" not in str(error)
    assert len(str(error)) < 600


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("0.5", 0.5, 0.5),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 1e8, 1e10),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 0, 0),
    ],
)
async def test_retry_after_in_all_its_forms(serve: Serve, header: str, low: float, high: float) -> None:
    error = await failure((await serve([failed(429, "slow", Retry_After=header)])).url)
    assert error.retry_after is not None
    assert low <= error.retry_after <= high


@pytest.mark.parametrize("header", ["soon", "-1", "nan", "inf", ""])
async def test_a_retry_after_that_says_nothing(serve: Serve, header: str) -> None:
    assert (await failure((await serve([failed(429, "slow", Retry_After=header)])).url)).retry_after is None


async def test_milliseconds_come_before_seconds(serve: Serve) -> None:
    answer = failed(429, "slow", Retry_After="9", Retry_After_Ms="250")
    assert (await failure((await serve([answer])).url)).retry_after == 0.25


async def test_a_timeout_ends_in_time(serve: Serve) -> None:
    started = time.perf_counter()
    await failure((await serve([Answer(delay=5)])).url)
    assert time.perf_counter() - started < 2


async def test_an_unreachable_port() -> None:
    async with ChatServer() as server:
        pass
    error = await failure(server.url)
    assert (error.kind, error.retryable, error.billable) == ("connection", True, False)
    assert "can not be reached" in str(error)


async def test_an_unknown_host() -> None:
    assert (await failure("http://no-such-host.invalid/v1", within=20)).kind in ("connection", "timeout")


async def test_a_body_without_end_is_not_read_to_its_end(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("promptlearn.models.openai.MAX_BODY", 1 << 20)
    error = await failure((await serve([Answer(completion("x" * (3 << 20)))])).url, within=20)
    assert (error.kind, "1 MB" in str(error)) == ("malformed", True)


async def test_a_key_across_the_edge_of_a_quotation_is_not_shown(serve: Serve) -> None:
    """Invariant 10."""
    for size in range(170, 200):
        error = await failure((await serve([html(200, "x" * size + KEY)])).url)
        assert KEY[:8] not in str(error)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<think>\nhm {x}\n</think>\n\nblue", "blue"),
        ("hm, <b>\n</think>\n\nblue", "blue"),
        ("It says <think>x</think>.", "It says <think>x</think>."),
        ("The tag </think> ends it.", "The tag </think> ends it."),
        ("  keep \n", "  keep \n"),
    ],
)
async def test_closed_thoughts_are_no_failure(serve: Serve, content: str, text: str) -> None:
    model = ChatModel("small", (await serve([content])).url)
    assert (await model.complete(ASK)).text == text
    await model.close()


async def failure(url: str, within: float = TIMEOUT) -> ModelError:
    model = ChatModel("openai/small", url, api_key=KEY, api_key_env="MY_KEY", timeout=within)
    with pytest.raises(ModelError) as caught:
        await model.complete(ASK)
    await model.close()
    return caught.value


@asynccontextmanager
async def raw_server(answer: Raw) -> AsyncIterator[str]:
    """Reads one request, writes bytes, and ends as it is told."""
    done = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await reader.read(1 << 16)
        writer.write(answer.sent)
        await writer.drain()
        if answer.then == "stall":
            await done.wait()
        if answer.then == "reset":
            await asyncio.sleep(0.02)  # what was written has to arrive first
            connection: Any = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    finally:
        done.set()
        server.close()
        await server.wait_closed()
