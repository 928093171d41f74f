"""One paid call: journal first, every attempt on the ledger, failures never kept."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from chat_server import Answer, ChatServer

from promptlearn.errors import BudgetSpent, ModelError, StoreError, SystemicError
from promptlearn.ledger import Budget, Ledger
from promptlearn.metered import MeteredModel
from promptlearn.models.base import Model, Price, Reply, Sampling
from promptlearn.models.openai import ChatModel
from promptlearn.models.retries import RetryPolicy
from promptlearn.models.scripted import Script, Scripted, ScriptedModel
from promptlearn.records import Json, Message, Usage
from promptlearn.store import Store, open_store

ASK = [Message("user", "Where is my parcel?")]
AT_ONCE = RetryPolicy(first=0.0, longest=0.0)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


@pytest.fixture
def meter(store: Store) -> Callable[..., MeteredModel]:
    def make(model: Model, ledger: Ledger, retries: RetryPolicy = AT_ONCE) -> MeteredModel:
        return MeteredModel(model, "task", store.journal, ledger, asyncio.Semaphore(4), retries)

    return make


def scripted(script: Script) -> ScriptedModel:
    return ScriptedModel(script, identity="scripted/test")


async def test_a_known_reply_is_not_paid_for_again(meter: Callable[..., MeteredModel]) -> None:
    """Invariant 2: it is in the journal before its caller sees it."""
    model, ledger = scripted(lambda messages: "shipping"), Ledger()
    first = await meter(model, ledger).complete(ASK)
    again = await meter(model, ledger).complete(ASK)
    assert first.text == again.text == "shipping"
    assert len(model.calls) == 1
    assert (ledger.usage("task").calls, ledger.usage("task").cached_calls) == (1, 1)
    assert ledger.spent("task").calls == 2


async def test_equal_calls_at_the_same_time_are_paid_for_once(meter: Callable[..., MeteredModel]) -> None:
    model, ledger = ScriptedModel(lambda messages: "ok", identity="x", latency=0.01), Ledger()
    metered = meter(model, ledger)
    replies = await asyncio.gather(*(metered.complete(ASK) for _ in range(8)))
    assert {reply.text for reply in replies} == {"ok"}
    assert len(model.calls) == 1


async def test_sampling_schema_and_repeat_tell_calls_apart(meter: Callable[..., MeteredModel]) -> None:
    model = scripted(lambda messages: "ok")
    metered = meter(model, Ledger())
    await metered.complete(ASK)
    await metered.complete(ASK, Sampling(temperature=1))
    await metered.complete(ASK, schema={"type": "object"})
    await metered.complete(ASK, repeat=1)
    assert len(model.calls) == 4


async def test_transient_failures_are_retried_and_not_kept(meter: Callable[..., MeteredModel], store: Store) -> None:
    """Invariant 4. A 429 costs nothing; a time-out may have, so it counts as a call."""
    script: list[Scripted] = [ModelError("rate_limit", "slow down"), ModelError("timeout", "no answer"), "at last"]
    model, ledger = scripted(script), Ledger()
    reply = await meter(model, ledger).complete(ASK)
    assert reply.text == "at last"
    assert ledger.spent("task").calls == 2


async def test_what_fails_for_good_is_raised_and_can_be_asked_again(meter: Callable[..., MeteredModel]) -> None:
    script: list[Scripted] = [ModelError("bad_request", "no"), "yes"]
    model = scripted(script)
    metered = meter(model, Ledger())
    with pytest.raises(ModelError, match="no"):
        await metered.complete(ASK)
    assert (await metered.complete(ASK)).text == "yes"


async def test_systemic_failures_are_not_retried(meter: Callable[..., MeteredModel]) -> None:
    script: list[Scripted] = [SystemicError("auth", "wrong key"), "never"]
    model = scripted(script)
    with pytest.raises(SystemicError):
        await meter(model, Ledger()).complete(ASK)
    assert len(model.calls) == 1


async def test_an_endpoint_that_was_never_reached_stops_the_run(meter: Callable[..., MeteredModel]) -> None:
    model = scripted(lambda messages: ModelError("connection", "refused"))
    with pytest.raises(SystemicError, match="refused"):
        await meter(model, Ledger()).complete(ASK)


async def test_only_one_call_waits_for_an_endpoint_that_was_never_reached(meter: Callable[..., MeteredModel]) -> None:
    model = scripted(lambda messages: ModelError("connection", "refused"))
    metered = meter(model, Ledger())
    with pytest.raises(SystemicError, match="refused"):
        await metered.complete(ASK)
    attempts = len(model.calls)
    with pytest.raises(SystemicError, match="refused"):
        await metered.complete(ASK, repeat=1)
    assert attempts > 1
    assert len(model.calls) == attempts + 1


async def test_an_endpoint_that_came_up_later_is_tried_again_and_again(meter: Callable[..., MeteredModel]) -> None:
    answers: list[Scripted] = ["up"]
    model = scripted(lambda messages: answers.pop() if answers and asked > 0 else ModelError("connection", "refused"))
    metered, asked = meter(model, Ledger()), 0
    with pytest.raises(SystemicError):
        await metered.complete(ASK)
    asked, before = 1, len(model.calls)
    assert (await metered.complete(ASK, repeat=1)).text == "up"
    with pytest.raises(ModelError, match="refused"):
        await metered.complete(ASK, repeat=2)
    assert len(model.calls) > before + 2


async def test_retries_stay_within_the_budget(meter: Callable[..., MeteredModel]) -> None:
    """Invariant 1: an attempt that may have been billed is on the ledger before the next one is made."""
    model, ledger = scripted(lambda messages: ModelError("timeout", "no answer")), Ledger(Budget(calls=2))
    with pytest.raises(BudgetSpent):
        await meter(model, ledger).complete(ASK)
    assert len(model.calls) == 2


async def test_a_reply_costs_what_its_usage_says(meter: Callable[..., MeteredModel]) -> None:
    class Paid(ScriptedModel):
        price = Price(1.0, 2.0)

    usage = Usage(calls=1, input_tokens=10, output_tokens=5, cost_usd=0.00002)
    ledger = Ledger(Budget(usd=1))
    await meter(Paid([Reply("ok", usage=usage)], identity="paid"), ledger).complete(ASK)
    assert ledger.spent("task").usd == pytest.approx(0.00002)
    assert ledger.usage("task").cost_usd == pytest.approx(0.00002)


async def cut_short(model: Model, meter: Callable[..., MeteredModel]) -> Ledger:
    """A call that is cancelled while it is under way."""
    ledger = Ledger(Budget(calls=1))
    call = asyncio.create_task(meter(model, ledger).complete(ASK))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ledger.reserved().calls == 0
    return ledger


async def test_a_cancelled_call_to_a_model_in_this_process_costs_nothing(meter: Callable[..., MeteredModel]) -> None:
    model = ScriptedModel(lambda messages: "late", identity="slow", latency=5)
    assert (await cut_short(model, meter)).spent("task").calls == 0


async def test_a_cancelled_call_to_an_endpoint_may_have_been_billed(meter: Callable[..., MeteredModel]) -> None:
    """Invariant 1: the endpoint goes on answering, and charges for it."""
    async with ChatServer(lambda request: Answer(delay=5)) as server:
        model = ChatModel("openai/m", server.url)
        assert (await cut_short(model, meter)).spent("task").calls == 1
        await model.close()


async def test_an_equal_call_goes_on_when_the_first_one_is_given_up(meter: Callable[..., MeteredModel]) -> None:
    model, ledger = ScriptedModel(lambda messages: "ok", identity="given-up", latency=0.02), Ledger()
    metered = meter(model, ledger)
    first, second = asyncio.create_task(metered.complete(ASK)), asyncio.create_task(metered.complete(ASK))
    await asyncio.sleep(0.005)
    first.cancel()
    assert (await second).text == "ok"
    assert first.cancelled()
    assert len(model.calls) == 2


async def test_runs_that_share_a_journal_do_not_pay_twice_at_the_same_time(meter: Callable[..., MeteredModel]) -> None:
    """And the budget of one is no reason to stop the other."""
    model = ScriptedModel(lambda messages: "ok", identity="shared", latency=0.01)
    rich, poor = meter(model, Ledger()), meter(model, Ledger(Budget(tokens=1)))
    replies = await asyncio.gather(*(rich.complete(ASK) for _ in range(3)), meter(model, Ledger()).complete(ASK))
    assert [reply.text for reply in replies] == ["ok"] * 4
    assert len(model.calls) == 1
    other = [Message("user", "Another question")]
    refused, reply = await asyncio.gather(poor.complete(other), rich.complete(other), return_exceptions=True)
    assert isinstance(refused, BudgetSpent)
    assert isinstance(reply, Reply)


async def test_faults_of_a_real_endpoint_are_survived(meter: Callable[..., MeteredModel]) -> None:
    """503, 429 with Retry-After, a body that is cut and a time-out, over a socket; then the answer."""
    faults: list[Answer | str] = [
        Answer("", 503),
        Answer("", 429, {"Retry-After": "0"}),
        Answer("x" * 99, cut=9),
        Answer(delay=1),
        "at last",
    ]
    ledger = Ledger()
    async with ChatServer(faults) as server:
        model = meter(ChatModel("openai/m", server.url, timeout=0.3), ledger)
        reply = await model.complete(ASK)
        await model.close()
    assert reply.text == "at last"
    assert ledger.spent("task").calls >= 2


async def test_equal_calls_under_a_tight_cap_do_not_wait_for_each_other(meter: Callable[..., MeteredModel]) -> None:
    """Invariant 1: a caller that waits for its twin promises nothing that the twin's retry needs."""
    script: list[Scripted] = [ModelError("timeout", "no answer"), "at last", "at last"]
    model, ledger = ScriptedModel(script, identity="twins", latency=0.01), Ledger(Budget(calls=2))
    metered = meter(model, ledger)
    calls = (metered.complete(ASK), metered.complete(ASK))
    first, second = await asyncio.wait_for(asyncio.gather(*calls, return_exceptions=True), 5)
    assert isinstance(first, Reply)
    assert isinstance(second, BudgetSpent)
    assert ledger.spent("task").calls == 2


async def test_a_model_that_does_not_count_is_counted(meter: Callable[..., MeteredModel]) -> None:
    class Careless(ScriptedModel):
        price = Price(10.0, 10.0)

    model, ledger = Careless(lambda messages: Reply("ok", usage=Usage()), identity="careless"), Ledger(Budget(calls=1))
    metered = meter(model, ledger)
    await metered.complete(ASK)
    assert (ledger.spent("task").usd or 0) > 0
    assert ledger.spent("task").tokens > 0
    with pytest.raises(BudgetSpent):
        await metered.complete(ASK, repeat=1)


async def test_a_failed_attempt_that_may_be_billed_costs_its_whole_bound(meter: Callable[..., MeteredModel]) -> None:
    script: list[Scripted] = [ModelError("truncated", "cut")]
    ledger = Ledger(Budget(tokens=10_000))
    with pytest.raises(ModelError):
        await meter(scripted(script), ledger).complete(ASK)
    assert ledger.spent("task").tokens >= 512


async def test_a_journal_that_can_not_be_read_leaves_no_promise() -> None:
    class Unreadable:
        def find(self, key: str) -> Json | None:
            raise StoreError("the store can not be read")

        async def record(self, key: str, model: str, request: Json, reply: Json) -> None:
            raise StoreError("the store can not be written")

    ledger = Ledger()
    metered = MeteredModel(scripted(lambda messages: "ok"), "task", Unreadable(), ledger, asyncio.Semaphore(1))
    with pytest.raises(StoreError):
        await metered.complete(ASK)
    assert ledger.reserved().calls == 0
