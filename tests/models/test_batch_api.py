"""BatchModel over real sockets: what is collected, how it is answered, and what is never paid for twice."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_child import FAST
from batch_server import BatchServer, End, Reply
from chat_server import Answer, completion
from hypothesis import given
from hypothesis import strategies as st

from promptlearn.assembly import open_role
from promptlearn.config import ModelConfig
from promptlearn.errors import ConfigError, Interrupted, ModelError, SystemicError
from promptlearn.models.base import Model, Price, Sampling
from promptlearn.models.batch import BatchLog, BatchModel, BatchOptions, BatchProgress
from promptlearn.models.batch.lines import pack, read_line
from promptlearn.models.batch.log import MemoryLog
from promptlearn.models.openai import ChatModel
from promptlearn.records import Message, Usage
from promptlearn.store import open_store

KEY = "my-Secret-key-0123"


def echo(body: Any) -> str:
    return f"<{body['messages'][-1]['content']}>"


def chat(number: object) -> list[Message]:
    return [Message("system", "Be brief."), Message("user", f"{number}")]


class Place:
    """A server, and models that are closed with the test."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def server(self, reply: Reply = echo, end: Callable[[int], End] = lambda number: End()) -> BatchServer:
        return await self._stack.enter_async_context(BatchServer(reply, end))

    def model(self, server: BatchServer, options: BatchOptions = FAST, **others: Any) -> BatchModel:
        direct = ChatModel("openai/small", server.url, api_key=KEY, api_key_env="MY_KEY", price=Price(1.0, 10.0, 0.4))
        model = BatchModel(direct, options, **others)
        self._stack.push_async_callback(model.close)
        return model


@pytest.fixture
async def place() -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        yield Place(stack)


async def ask(model: Model, numbers: Sequence[int]) -> list[str]:
    replies = await asyncio.gather(*(model.complete(chat(number)) for number in numbers))
    return [reply.text for reply in replies]


async def failure(model: Model) -> ModelError:
    with pytest.raises(ModelError) as caught:
        await model.complete(chat(0))
    assert KEY not in str(caught.value), "invariant 10"
    assert "\n" not in str(caught.value)
    return caught.value


def _nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    names = st.sampled_from(["custom_id", "response", "error", "status_code", "body", "code"])
    return st.lists(inner) | st.dictionaries(names, inner)


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.01)
    pytest.fail("it never came to that")


def wanted(numbers: Sequence[int]) -> list[str]:
    return [f"<{number}>" for number in numbers]


async def test_a_call_is_what_the_direct_one_would_be_at_half_the_price(place: Place) -> None:
    usage = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}
    server = await place.server(lambda body: Answer(completion("Hi!", usage=usage)))
    model = place.model(server)
    sampling = Sampling(max_tokens=5, top_p=0.5, seed=7, stop=("\n",), extra={"min_p": 0.1})
    reply = await model.complete(chat("{braces} \ud800"), sampling, schema={"type": "object"})
    assert isinstance(model, Model)
    assert (model.name, model.identity) == (model.direct.name, model.direct.identity)
    assert (reply.text, reply.finish_reason) == ("Hi!", "stop")
    assert reply.usage == Usage(1, 0, 100, 10, 60, reply.usage.cost_usd)
    assert reply.usage.cost_usd == pytest.approx((40 * 1.0 + 60 * 0.4 + 10 * 10.0) / 1e6 / 2)
    assert model.price == Price(0.5, 5.0, 0.2)
    [line] = server.files["file-0"].splitlines()
    request = json.loads(line)
    assert request["body"] == model.direct.request(chat("{braces} \ud800"), sampling, {"type": "object"})
    assert len(request["custom_id"]) <= 64
    assert server.batches["batch_0"].metadata.keys() == {"promptlearn"}
    assert {one.headers["Authorization"] for one in server.requests} == {f"Bearer {KEY}"}
    direct = await model.direct.complete(chat(1))
    assert direct.usage.cost_usd == pytest.approx(2 * (reply.usage.cost_usd or 0))


async def test_a_local_server_wants_no_key(place: Place) -> None:
    server = await place.server()
    model = BatchModel(ChatModel("small", server.url), FAST)
    assert (await model.complete(chat(1))).usage.cost_usd is None
    assert model.price is None
    await model.close()
    assert {one.headers["Authorization"] for one in server.requests} == {"Bearer none"}


async def test_a_thousand_calls_in_two_batches_answered_in_any_order(place: Place) -> None:
    """Lines come shuffled, twice, broken, and for calls that nobody made; each call gets its own reply."""
    server = await place.server()

    def disorder(lines: list[bytes]) -> list[bytes]:
        strange = [b"", b"{", b"[]", b"null", b"[" * 100_000, b'{"custom_id": 3}', b'{"custom_id": "unknown"}', b"\xff"]
        return random.Random(3).sample([*lines, *lines[:50], *strange], len(lines) + 50 + len(strange))

    server.rewrite = disorder
    seen: list[BatchProgress] = []
    model = place.model(server, replace(FAST, size=500), on_progress=seen.append)
    numbers = range(1000)
    assert await ask(model, numbers) == wanted(numbers)
    assert [len(batch.requests) for batch in server.batches.values()] == [500, 500]
    assert set(server.paid.values()) == {1}
    assert [(one.state, one.total, one.completed) for one in seen if one.batch == "batch_0"] == [
        ("validating", 500, 0),
        ("in_progress", 500, 0),
        ("finalizing", 500, 0),
        ("completed", 500, 500),
    ]


async def test_texts_are_not_cut_at_other_line_ends(place: Place) -> None:
    text = "one\u2028two\x85three\x0bfour\rfive\u2029 {x} $y"
    server = await place.server(lambda body: text)
    server.rewrite = lambda lines: [json.dumps(json.loads(line), ensure_ascii=False).encode() for line in lines]
    assert (await place.model(server).complete(chat(1))).text == text


async def test_what_is_sent_together(place: Place) -> None:
    server = await place.server()
    model = place.model(server, replace(FAST, send_delay_s=0.15))
    first = asyncio.gather(*(model.complete(chat(number)) for number in (1, 2)))
    await asyncio.sleep(0.1)
    second = asyncio.gather(*(model.complete(chat(number)) for number in (2, 3)))
    shared = (await first)[1].usage, (await second)[0].usage
    assert shared[1] == Usage(cached_calls=1), "one call that two wait for is paid for once"
    assert shared[0].calls == 1
    await model.complete(chat(4))
    assert [len(batch.requests) for batch in server.batches.values()] == [3, 1]


async def test_calls_that_keep_coming_do_not_hold_up_the_first(place: Place) -> None:
    server = await place.server()
    model = place.model(server, replace(FAST, send_delay_s=0.05))
    tasks: list[asyncio.Task[Any]] = []
    while not server.batches:
        tasks.append(asyncio.create_task(model.complete(chat(len(tasks)))))
        await asyncio.sleep(0.02)
        assert len(tasks) < 200
    replies = await asyncio.gather(*tasks)
    assert [reply.text for reply in replies] == wanted(range(len(tasks)))


async def test_files_stay_below_the_providers_limit(place: Place) -> None:
    server = await place.server()
    model = place.model(server, replace(FAST, most_bytes=1000))
    assert await ask(model, range(10)) == wanted(range(10))
    assert len(server.batches) > 1
    assert max(len(server.files[batch.file]) for batch in server.batches.values()) <= 1000


@given(st.lists(st.integers(1, 30)), st.integers(1, 5), st.integers(1, 60))
def test_groups_hold_every_line_and_keep_their_limits(lengths: list[int], requests: int, size: int) -> None:
    lines = [b"%d" % (10 ** (length - 1)) for length in lengths]
    groups = list(pack(lines, requests, size))
    assert [line for group in groups for line in group] == lines
    assert all(len(group) <= requests and (sum(map(len, group)) <= size or len(group) == 1) for group in groups)


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), _nested).map(lambda x: json.dumps(x).encode()))
def test_any_line_can_be_read(raw: bytes) -> None:
    answer = read_line(raw)
    assert answer is None or isinstance(answer.key, str)


async def test_repeats_are_calls_of_their_own(place: Place) -> None:
    server = await place.server()
    model = place.model(server)
    await asyncio.gather(*(model.complete(chat(1), repeat=repeat) for repeat in range(3)))
    assert len(server.batches["batch_0"].requests) == 3


async def test_a_call_that_nobody_waits_for_is_not_sent(place: Place) -> None:
    server = await place.server()
    model = place.model(server, replace(FAST, send_delay_s=0.1))
    calls = [asyncio.create_task(model.complete(chat(number))) for number in range(2)]
    await asyncio.sleep(0.01)
    calls[0].cancel()
    assert (await calls[1]).text == "<1>"
    assert len(server.batches["batch_0"].requests) == 1


@pytest.mark.parametrize(
    ("answer", "kind", "systemic"),
    [
        (Answer({"error": {"message": "temperature is too warm"}}, 400), "bad_request", False),
        (
            Answer({"error": {"code": "context_length_exceeded", "message": "maximum context"}}, 400),
            "context_length",
            0,
        ),
        (Answer({"error": {"code": "content_filter", "message": "no"}}, 400), "content_filter", False),
        (Answer({"error": {"message": "The model `small` does not exist"}}, 404), "not_found", True),
        (Answer({"error": {"message": f"Incorrect API key: {KEY}"}}, 401), "auth", True),
        (Answer({"error": {"message": "slow down"}}, 429), "rate_limit", False),
        (Answer({"error": {"message": "boom"}}, 500), "server", False),
        (Answer({"error": {"message": "upstream", "code": 503}}), "server", False),
        (Answer({"choices": []}), "malformed", False),
        (Answer("text"), "malformed", False),
        (Answer(completion("")), "empty", False),
        (Answer(completion("", "length")), "truncated", False),
        (Answer(completion(None, refusal="I can not")), "content_filter", False),
    ],
)
async def test_each_line_fails_as_a_direct_call_would(place: Place, answer: Answer, kind: str, systemic: bool) -> None:
    """Invariant 4; and what failed is sent anew when it is asked for again."""
    server = await place.server(lambda body: answer if "0" in echo(body) else echo(body))
    model = place.model(server)
    error, text = await asyncio.gather(failure(model), model.complete(chat(1)))
    assert (error.kind, isinstance(error, SystemicError), text.text) == (kind, bool(systemic), "<1>")
    with pytest.raises(ModelError) as direct:
        await model.direct.complete(chat(0))
    assert (direct.value.kind, str(direct.value)) == (error.kind, str(error))
    answer = Answer(completion("better"))
    assert (await model.complete(chat(0))).text == "better"


async def test_an_expired_batch_keeps_what_it_did(place: Place) -> None:
    """Only the rest is sent again, and only that is paid for again."""
    server = await place.server(end=lambda number: End("expired", 30) if number == 0 else End())
    assert await ask(place.model(server), range(50)) == wanted(range(50))
    assert [len(batch.requests) for batch in server.batches.values()] == [50, 20]
    assert set(server.paid.values()) == {1}


async def test_calls_that_no_batch_gets_to_fail_after_a_while(place: Place) -> None:
    server = await place.server(end=lambda number: End("expired", 0))
    error = await failure(place.model(server))
    assert (error.kind, error.retryable, error.billable) == ("server", True, False)
    assert "expired" in str(error)
    assert len(server.batches) == 3


async def test_a_batch_that_somebody_cancels(place: Place) -> None:
    server = await place.server(end=lambda number: End("cancelled", 1) if number == 0 else End())
    assert await ask(place.model(server), range(3)) == wanted(range(3))
    assert [len(batch.requests) for batch in server.batches.values()] == [3, 2]


@pytest.mark.parametrize(
    ("errors", "kind", "systemic", "batches"),
    [
        ({"code": "model_not_found", "message": "The provided model is not supported."}, "not_found", True, 1),
        ({"code": "billing_hard_limit_reached", "message": "Billing hard limit"}, "rate_limit", True, 1),
        ({"code": "invalid_json_line", "message": "This line is not parseable."}, "bad_request", False, 3),
        (None, "server", False, 3),
    ],
)
async def test_a_batch_that_fails_as_a_whole(
    place: Place, errors: Any, kind: str, systemic: bool, batches: int
) -> None:
    server = await place.server(end=lambda number: End("failed", errors=(errors,) if errors else ()))
    error = await failure(place.model(server))
    assert (error.kind, isinstance(error, SystemicError)) == (kind, systemic)
    assert "batch_" in str(error)
    assert len(server.batches) == batches
    assert not server.paid


async def test_a_full_queue_is_waited_for_and_then_filled_less(place: Place) -> None:
    """80 calls in batches of 50 where 30 may be under way: halved until they fit, one batch after the other."""
    server = await place.server()
    server.room = 30
    assert await ask(place.model(server), range(80)) == wanted(range(80))
    done = [len(batch.requests) for batch in server.batches.values() if batch.state == "completed"]
    assert sum(done) == 80
    assert max(done) <= 30
    assert set(server.paid.values()) == {1}


async def test_a_queue_without_any_room_is_a_rate_limit(place: Place) -> None:
    server = await place.server()
    server.room = 0
    error = await failure(place.model(server))
    assert (error.kind, error.retryable) == ("rate_limit", True)


async def test_troubles_on_the_way_are_waited_out(place: Place) -> None:
    """Restarts, 5xx and 429 of the server between any two steps lose nothing."""
    server = await place.server()
    server.fail("POST", "/v1/files", 500, 503, Answer("", cut=0))
    server.fail("POST", "/v1/batches", Answer({"error": {"message": "slow"}}, 429, {"Retry-After": "0"}))
    busy = Answer("<html>Bad Gateway</html>", 502, content_type="text/html")
    server.fail("GET", "/v1/batches/", 503, 429, busy, Answer("", cut=0), Answer("{"), 529)
    server.fail("GET", "/v1/files/", 500, 429)
    server.cuts = [0, 300]
    assert await ask(place.model(server), range(50)) == wanted(range(50))
    assert len(server.batches) == 1
    assert set(server.paid.values()) == {1}


@pytest.mark.parametrize("marks", [True, False])
@pytest.mark.parametrize("answer", [Answer("", cut=0), Answer("", 504, cut=None)])
async def test_a_batch_whose_creation_was_not_answered_is_found(place: Place, marks: bool, answer: Answer) -> None:
    """By our own id in its metadata, or by its file; a server that did not create it is asked again."""
    server = await place.server()
    server.marks = marks
    server.fail("POST", "/v1/batches", answer)
    assert await ask(place.model(server), range(5)) == wanted(range(5))
    assert server.count("GET", "/v1/batches") > 0
    assert len(server.batches) == 1
    assert set(server.paid.values()) == {1}


async def test_an_endpoint_that_stays_away(place: Place) -> None:
    server = await place.server()
    model = place.model(server, replace(FAST, outage_s=0.2))
    server.fail("POST", "/v1/files", *[503] * 1000)
    assert (await failure(model)).kind == "server"
    server.faults.clear()
    server.fail("GET", "/v1/batches/", *[503] * 1000)
    assert (await failure(model)).kind == "server"
    server.faults.clear()
    assert (await model.complete(chat(0))).text == "<0>"
    assert set(server.paid.values()) == {1}, "the batch that was not followed to its end is not sent again"


@pytest.mark.parametrize(
    ("answer", "kind", "says"),
    [
        (Answer({"error": {"message": f"Incorrect API key provided: {KEY}"}}, 401), "auth", "MY_KEY"),
        (Answer({"detail": "Not Found"}, 404), "not_found", "leave `batch` out"),
        (Answer("", 405), "not_found", "leave `batch` out"),
        (Answer({"error": {"message": "purpose is wrong"}}, 400), "bad_request", "purpose is wrong"),
        (Answer("<html>hello</html>", content_type="text/html"), "malformed", "batch API"),
        (Answer({"object": "file"}), "malformed", "without an id"),
        (Answer("{"), "malformed", "batch API"),
    ],
)
async def test_an_endpoint_that_takes_no_batches(place: Place, answer: Answer, kind: str, says: str) -> None:
    server = await place.server()
    server.fail("POST", "/v1/files", *[answer] * 5)
    error = await failure(place.model(server))
    assert error.kind == kind
    assert says in str(error)
    assert isinstance(error, SystemicError) is (kind in ("auth", "not_found"))


async def test_unreachable(place: Place) -> None:
    server = await place.server()
    model = place.model(server)
    await server.__aexit__()
    error = await failure(model)
    assert isinstance(error, SystemicError)
    assert (error.kind, "can not be reached" in str(error)) == ("connection", True)


async def test_unknown_parameters_are_left_out_of_the_next_batch(place: Place) -> None:
    def picky(body: Any) -> Answer | str:
        for name, advice in (("max_tokens", "Use 'max_completion_tokens' instead."), ("temperature", "")):
            if name in body:
                message = f"Unsupported parameter: '{name}' is not supported with this model. {advice}"
                return Answer({"error": {"message": message}}, 400)
        return echo(body)

    server = await place.server(picky)
    model = place.model(server)
    assert await ask(model, range(20)) == wanted(range(20))
    assert [len(batch.requests) for batch in server.batches.values()] == [20, 20, 20]
    assert await ask(model, range(20, 40)) == wanted(range(20, 40))
    assert len(server.batches) == 4


async def test_a_call_that_a_completed_batch_says_nothing_of(place: Place) -> None:
    server = await place.server()
    server.rewrite = lambda lines: [line for line in lines if b"<0>" not in line]
    model = place.model(server)
    error, reply = await asyncio.gather(failure(model), model.complete(chat(1)))
    assert (error.kind, reply.text) == ("malformed", "<1>")


async def test_a_file_that_is_written_late_or_thrown_away(place: Place) -> None:
    server = await place.server()
    shown = {"id": "batch_0", "object": "batch", "status": "completed", "output_file_id": None}
    server.fail("GET", "/v1/batches/batch_0", Answer(shown), Answer(shown))
    server.fail("GET", "/v1/files/", 404)
    assert await ask(place.model(server), range(3)) == wanted(range(3))
    assert len(server.batches) == 2, "what was thrown away is asked for again"


async def test_a_batch_that_the_provider_forgot(place: Place) -> None:
    server = await place.server()
    server.fail("GET", "/v1/batches/batch_0", 404, 404, 404)
    assert await ask(place.model(server), range(3)) == wanted(range(3))
    assert len(server.batches) == 2


@pytest.mark.parametrize("kept", ["memory", "store"])
async def test_a_stop_leaves_the_batch_and_the_same_calls_go_on_with_it(
    place: Place, tmp_path: Path, kept: str
) -> None:
    """Invariant 3, and it says so."""
    server = await place.server()
    server.fail("GET", "/v1/batches/", *[503] * 1000)
    with open_store(tmp_path / "store.db") as store:
        log: BatchLog = store.batches if kept == "store" else MemoryLog()
        stop: list[bool] = []
        model = place.model(server, log=log, stopping=lambda: bool(stop))
        calls = asyncio.gather(*(model.complete(chat(number)) for number in range(5)), return_exceptions=True)
        await until(lambda: server.count("GET", "/v1/batches/") > 0)
        stop.append(True)
        late = asyncio.create_task(model.complete(chat(9)))
        errors = await calls
        assert {type(error) for error in errors} == {Interrupted}
        assert "batch_0" in str(errors[0])
        assert "the same command goes on from it" in str(errors[0])
        with pytest.raises(Interrupted):
            await late
        await model.close()

        server.faults.clear()
        again = place.model(server, log=log)
        assert await ask(again, range(10)) == wanted(range(10))
    assert [len(batch.requests) for batch in server.batches.values()] == [5, 5]
    assert set(server.paid.values()) == {1}


async def test_calls_that_come_while_their_batch_is_being_read(place: Place) -> None:
    server, log = await place.server(), MemoryLog()
    assert await ask(place.model(server, log=log), range(10)) == wanted(range(10))
    server.slow = 0.2
    model = place.model(server, log=log)
    before = server.count("GET", "/v1/files/")
    early = asyncio.create_task(ask(model, range(5)))
    await until(lambda: server.count("GET", "/v1/files/") > before)
    assert await ask(model, range(5, 10)) == wanted(range(5, 10))
    assert await early == wanted(range(5))
    assert len(server.batches) == 1


async def test_closing_leaves_nobody_waiting(place: Place) -> None:
    server = await place.server()
    model = place.model(server, replace(FAST, poll_s=60.0))
    call = asyncio.create_task(model.complete(chat(1)))
    await until(lambda: server.count("GET", "/v1/batches/batch_0") > 0)
    await model.close()
    with pytest.raises(Interrupted, match="batch_0"):
        await call


async def test_a_model_that_is_told_later_whom_to_tell(place: Place) -> None:
    server = await place.server()
    model, log, seen = place.model(server), MemoryLog(), list[BatchProgress]()
    model.attach(log, seen.append, lambda: False)
    await model.complete(chat(1))
    assert [one.state for one in seen] == ["validating", "in_progress", "finalizing", "completed"]
    assert len(log.holders([request["custom_id"] for request in server.batches["batch_0"].requests])) == 1


def test_one_model_in_two_event_loops() -> None:
    server = BatchServer(echo)
    with server.in_thread() as url:
        model = BatchModel(ChatModel("openai/small", url), FAST)

        async def once(number: int) -> str:
            try:
                return (await model.complete(chat(number))).text
            finally:
                await model.close()

        assert [asyncio.run(once(number)) for number in range(2)] == wanted(range(2))


def test_from_the_configuration(tmp_path: Path) -> None:
    entry = {"model": "openai/small", "base_url": "http://127.0.0.1:9/v1", "price": {"input": 2, "output": 4}}
    batch = open_role("task", ModelConfig.model_validate({**entry, "batch": True}), 16)
    cheap = open_role("task", ModelConfig.model_validate({**entry, "batch": {"discount": 0.25, "size": 7}}), 16)
    direct = open_role("task", ModelConfig.model_validate({**entry, "batch": False}), 16)
    assert isinstance(batch, BatchModel)
    assert isinstance(direct, ChatModel)
    assert batch.identity == direct.identity
    assert (batch.price, cheap.price, direct.price) == (Price(1, 2), Price(0.5, 1), Price(2, 4))
    script = tmp_path / "script.yaml"
    script.write_text("default: hello\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="no batch API"):
        open_role("task", ModelConfig.model_validate({"model": f"scripted/{script}", "batch": True}), 16)


CALLS = 120
"""In batches of 50."""
STEPS = ("upload", "uploaded", "create", "created", "poll", "content")


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_process_that_is_killed_at_any_step_pays_for_nothing_twice(tmp_path: Path) -> None:
    """Invariant 3: SIGKILL at each step of a batch, and between two replies, each followed by the same command."""
    server, store = BatchServer(echo), str(tmp_path / "store.db")
    with server.in_thread() as url:
        for step in STEPS:
            server.held.clear()
            server.hold = step
            killed = start(url, store)
            assert server.held.wait(30), step
            killed.kill()
            killed.communicate()
        dying = start(url, store, "1")
        dying.communicate(timeout=60)
        assert dying.returncode == -signal.SIGKILL
        assert replies(start(url, store)) == [f"<call {number}>" for number in range(CALLS)]
        uploads = server.count("POST", "/v1/files")
        assert replies(start(url, store)) == [f"<call {number}>" for number in range(CALLS)]
    assert len(server.paid) == CALLS
    assert set(server.paid.values()) == {1}
    assert server.count("POST", "/v1/files") == uploads


def start(url: str, store: str, *more: str) -> subprocess.Popen[str]:
    root = Path(__file__).parents[2]
    command = [sys.executable, str(root / "tests" / "batch_child.py"), url, store, str(CALLS), *more]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)


def replies(process: subprocess.Popen[str]) -> list[str]:
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    texts: list[str] = json.loads(output)
    return texts
