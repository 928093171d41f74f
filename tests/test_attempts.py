"""Outages and slow calls: what one reply takes, in virtual time, and once over a real socket."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import pytest
from chat_server import Answer, ChatServer, completion
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import now, run

from promptlearn.errors import BudgetSpent, Interrupted, ModelError, SystemicError
from promptlearn.ledger import Budget, Charge, Ledger
from promptlearn.limits import Limits, circuit, limiter_for
from promptlearn.limits.latency import ENOUGH
from promptlearn.metered import MeteredModel
from promptlearn.models.base import ModelBase, Price, Reply, Sampling
from promptlearn.models.openai import ChatModel
from promptlearn.models.retries import RetryPolicy
from promptlearn.records import Json, Message, Usage

WORDS = ModelError("server", "the endpoint answered 503", unavailable=True)
CRASHED = ModelError("server", "the endpoint answered 500")
REFUSED = ModelError("connection", "the endpoint can not be reached")
USAGE = Usage(1, 0, 100, 10, 0, 0.001)

Act = tuple[float, Reply | ModelError]


class MemoryJournal:
    """Keeps replies as JSON, and counts how often."""

    def __init__(self) -> None:
        self.replies: dict[str, str] = {}
        self.records = 0

    def find(self, key: str) -> Json | None:
        return json.loads(self.replies[key]) if key in self.replies else None

    async def record(self, key: str, model: str, request: Json, reply: Json) -> None:
        self.records += 1
        self.replies[key] = json.dumps(reply)


class Endpoint(ModelBase):
    """A model somewhere else: takes so many seconds for its n-th call, then answers or fails."""

    def __init__(self, act: Callable[[int], Act]) -> None:
        super().__init__("openai/far", "http://far#m", Sampling(), Price(1.0, 10.0))
        self._act = act
        self.sent: list[float] = []
        self.open = self.at_once = 0

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        self.sent.append(now())
        self.open += 1
        self.at_once = max(self.at_once, self.open)
        try:
            seconds, outcome = self._act(len(self.sent))
            await asyncio.sleep(seconds)
        finally:
            self.open -= 1
        if isinstance(outcome, ModelError):
            raise outcome
        return outcome

    async def close(self) -> None:
        pass


def ok(seconds: float = 1.0, text: str = "ok") -> Act:
    return seconds, Reply(text, usage=USAGE)


def down_between(start: float, end: float, error: ModelError, seconds: float = 0.01) -> Callable[[int], Act]:
    return lambda call: (seconds, error) if start <= now() < end else ok()


class Bench:
    """A metered model and what stands around it."""

    def __init__(
        self,
        act: Callable[[int], Act] | Endpoint,
        budget: Budget | None = None,
        limits: Limits | None = None,
        width: int = 16,
        stopping: Callable[[], bool] = lambda: False,
        may_hedge: Callable[[], bool] = lambda: True,
        journal: MemoryJournal | None = None,
    ) -> None:
        self.model = act if isinstance(act, Endpoint) else Endpoint(act)
        self.ledger = Ledger(budget, clock=now)
        self.journal = journal or MemoryJournal()
        self.notices: list[str] = []
        self.metered = MeteredModel(
            self.model,
            "task",
            self.journal,
            self.ledger,
            asyncio.Semaphore(width),
            RetryPolicy(jitter=random.Random(0).uniform),
            stopping,
            limits=limits or Limits(),
            may_hedge=may_hedge,
            notice=self.notices.append,
        )

    async def ask(self, number: int) -> Reply:
        return await self.metered.complete([Message("user", f"question {number}")])

    async def ask_all(self, count: int, workers: int) -> None:
        numbers = iter(range(count))

        async def worker() -> None:
            for number in numbers:
                await self.ask(number)

        await asyncio.gather(*(worker() for _ in range(workers)))

    async def know_latency(self) -> None:
        """Calls enough to tell what is slow."""
        for number in range(ENOUGH):
            await self.ask(-1 - number)

    def check_closed(self) -> None:
        """Nothing is left behind: no promise and no permit."""
        assert self.ledger.reserved() == Charge(0, 0, 0.0)
        assert limiter_for(self.model.identity, Limits()).granted == 0


@pytest.mark.parametrize("error", [WORDS, REFUSED])
@pytest.mark.parametrize("workers", [1, 16])
def test_two_minutes_of_outage_fail_no_call_and_cost_nothing(error: ModelError, workers: int) -> None:
    """Nor do they take part of the budget away from others while they last."""

    async def main() -> None:
        bench = Bench(down_between(5, 125, error), Budget(calls=400))
        work = asyncio.create_task(bench.ask_all(25 * workers, workers))
        await asyncio.sleep(60)
        assert bench.ledger.reserved().calls == 0
        await work
        assert bench.ledger.spent().calls == bench.journal.records == 25 * workers
        tries = [at for at in bench.model.sent if 5 <= at < 125]
        assert len(tries) <= 2 * workers + 16
        assert next(at for at in bench.model.sent if at >= 125) < 125 + circuit.LAST_PROBE + 1
        assert 1 <= len(bench.notices) <= 3
        assert str(error) in bench.notices[0]
        bench.check_closed()

    run(main())


def test_an_outage_of_time_outs_is_paid_for_once_and_not_by_every_attempt() -> None:
    async def main() -> None:
        bench = Bench(down_between(5, 600, ModelError("timeout", "no answer"), seconds=60), Budget(calls=1000))
        await bench.ask_all(200, 16)
        assert bench.ledger.spent().calls < 200 + 16 + 14  # those in flight, and probes
        bench.check_closed()

    run(main())


def test_patience_ends_and_says_so() -> None:
    async def main() -> None:
        bench = Bench(down_between(5, 10_000, WORDS), limits=Limits(outage_minutes=3))
        with pytest.raises(SystemicError, match=r"503.*models\.task\.outage_minutes = 3"):
            await bench.ask_all(1000, 16)
        assert 5 + 180 <= now() < 5 + 180 + 20
        began = now()
        with pytest.raises(SystemicError):
            await bench.ask(5000)
        assert now() - began < circuit.LAST_PROBE + 1

    run(main())


def test_the_runs_minutes_end_waiting_too() -> None:
    async def main() -> None:
        bench = Bench(down_between(5, 10_000, WORDS), Budget(minutes=1))
        with pytest.raises(BudgetSpent, match=r"budget\.minutes"):
            await bench.ask_all(1000, 16)
        assert 60 <= now() <= 62

    run(main())


def test_a_stop_ends_waiting() -> None:
    async def main() -> None:
        bench = Bench(down_between(5, 10_000, WORDS), stopping=lambda: now() > 30)
        with pytest.raises(Interrupted):
            await bench.ask_all(1000, 4)
        assert now() <= 32

    run(main())


def test_an_endpoint_that_never_answered_is_not_waited_for() -> None:
    async def main() -> None:
        bench = Bench(lambda call: (0.01, CRASHED))
        with pytest.raises(ModelError, match="500"):
            await bench.ask(0)
        assert len(bench.model.sent) == RetryPolicy().attempts
        assert now() < 30

    run(main())


@pytest.mark.parametrize("error", [WORDS, ModelError("rate_limit", "the endpoint answered 429")])
def test_an_outage_that_is_there_from_the_start_is_waited_for(error: ModelError) -> None:
    async def main() -> None:
        bench = Bench(down_between(0, 120, error), Budget(calls=400))
        await bench.ask_all(50, 16)
        assert bench.ledger.spent().calls == 50
        assert 1 <= len(bench.notices) <= 3
        bench.check_closed()

    run(main())


def test_a_run_that_goes_on_waits_for_an_endpoint_that_answered_before() -> None:
    async def main() -> None:
        journal = MemoryJournal()
        await Bench(lambda call: ok(), journal=journal).ask(0)
        again = Bench(down_between(0, 1e9, REFUSED), journal=journal)
        await again.ask(0)  # from the journal
        waiting = asyncio.create_task(again.ask(1))
        await asyncio.sleep(120)
        assert not waiting.done()
        assert "can not be reached" in again.notices[0]
        waiting.cancel()

    run(main())


def test_a_call_that_breaks_the_server_is_given_up_while_others_go_on() -> None:
    crash = ModelError("server", "the endpoint answered 500")

    class Poisoned(Endpoint):
        async def complete(
            self,
            messages: Sequence[Message],
            sampling: Sampling | None = None,
            schema: Mapping[str, Json] | None = None,
            repeat: int = 0,
        ) -> Reply:
            reply = await super().complete(messages, sampling, schema, repeat)
            if messages[-1].content == "question 7":
                raise crash
            return reply

    async def main() -> None:
        bench = Bench(Poisoned(lambda call: ok()))
        await bench.ask(1)
        with pytest.raises(ModelError, match="500"):
            await bench.ask(7)
        assert len(bench.model.sent) == 1 + RetryPolicy().attempts
        assert now() < 30

    run(main())


def test_refusals_of_a_working_endpoint_are_no_attempts() -> None:
    """Twenty 429s in a row, and then the reply."""
    slow_down = ModelError("rate_limit", "slow down")

    async def main() -> None:
        bench = Bench(lambda call: (0.01, slow_down) if 1 < call <= 21 else ok())
        await bench.ask(0)
        assert (await bench.ask(1)).text == "ok"
        assert bench.ledger.spent().calls == 2

    run(main())


def test_nobody_calls_before_retry_after_is_over() -> None:
    wait = ModelError("rate_limit", "slow down", 40.0)

    async def main() -> None:
        bench = Bench(lambda call: (0.5, wait) if call == 20 else ok())
        await bench.ask_all(64, 16)
        told = bench.model.sent[19] + 0.5
        assert not [at for at in bench.model.sent if told < at < told + 40]
        assert bench.ledger.spent().calls == 64

    run(main())


def test_an_endpoint_that_wants_to_be_left_alone_for_longer_than_patience_lasts() -> None:
    tomorrow = ModelError("rate_limit", "come back tomorrow", 86_400.0)

    async def main() -> None:
        bench = Bench(lambda call: ok() if call == 1 else (0.01, tomorrow))
        await bench.ask(0)
        for number in (1, 2):
            with pytest.raises(ModelError, match=r"tomorrow.*outage_minutes = 10"):
                await bench.ask(number)
        assert now() < 5

    run(main())


def test_a_limit_is_not_what_slows_a_healthy_run() -> None:
    async def main() -> None:
        bench = Bench(lambda call: ok(0.5), width=64)
        await bench.ask_all(2000, 64)
        assert bench.model.at_once == 64
        assert now() < 1.1 * 2000 * 0.5 / 64

    run(main())


def test_slots_bound_the_calls_in_flight() -> None:
    async def main() -> None:
        bench = Bench(lambda call: ok(5.0 if call % 10 == 0 else 0.5), width=8)
        await bench.ask_all(200, 32)
        assert bench.model.at_once == 8
        bench.check_closed()

    run(main())


def straggling(number: int, act: Act, then: Act | None = None) -> Callable[[int], Act]:
    """All calls take a second, but for one and the one after it."""
    second = then or ok(1.0, "second")
    return lambda call: act if call == number else second if call == number + 1 else ok()


SLOW = ENOUGH + 1
"""The number of the call that is slow."""


def test_a_straggler_is_sent_again_and_both_are_paid_for() -> None:
    async def main() -> None:
        bench = Bench(straggling(SLOW, ok(20.0, "first")), Budget(usd=1, tokens=10**6))
        await bench.know_latency()
        before, began = bench.ledger.spent(), now()
        with bench.ledger.watch() as account:
            reply = await bench.ask(0)
        assert reply.text == "second"
        assert now() - began == pytest.approx(1.5 + 1.0)
        cost = bench.ledger.spent() - before
        assert cost.calls == 2
        assert cost.tokens > 110 + 512  # the copy that was given up, at its bound
        assert account.charge.tokens == cost.tokens
        assert account.lost.tokens == cost.tokens - 110
        assert bench.journal.records == ENOUGH + 1
        bench.check_closed()

        again = Bench(bench.model, Budget(usd=1), journal=bench.journal)
        assert (await again.ask(0)).text == "second"  # what a repeated run reads costs what it did
        charged = again.ledger.spent()
        assert (charged.calls, charged.tokens) == (cost.calls, cost.tokens)
        assert charged.usd == pytest.approx(cost.usd)
        assert again.ledger.usage("task") == Usage(cached_calls=2)

    run(main())


def test_the_first_copy_may_still_win() -> None:
    async def main() -> None:
        bench = Bench(straggling(SLOW, ok(3.0, "first"), ok(9.0, "second")))
        await bench.know_latency()
        assert (await bench.ask(0)).text == "first"
        assert bench.model.open == 0
        assert bench.ledger.spent().calls == ENOUGH + 2
        bench.check_closed()

    run(main())


def test_copies_that_end_together_are_paid_for_as_they_were_used() -> None:
    async def main() -> None:
        bench = Bench(straggling(SLOW, ok(2.5, "first"), ok(1.0, "second")))
        await bench.know_latency()
        with bench.ledger.watch() as account:
            assert (await bench.ask(0)).text in {"first", "second"}
        assert account.charge.tokens == 220
        assert account.lost.tokens == 110
        bench.check_closed()

    run(main())


@pytest.mark.parametrize("error", [ModelError("server", "500"), ModelError("bad_request", "no"), REFUSED])
def test_a_copy_that_fails_is_not_the_calls_failure(error: ModelError) -> None:
    async def main() -> None:
        for acts in (straggling(SLOW, ok(4.0, "good"), (1.0, error)), straggling(SLOW, (2.0, error), ok(2.0, "good"))):
            bench = Bench(acts)
            await bench.know_latency()
            assert (await bench.ask(0)).text == "good"
            assert bench.ledger.spent().calls <= ENOUGH + 2  # a third copy may have been sent
            bench.check_closed()
            await asyncio.sleep(60)

    run(main())


def test_a_call_whose_copies_both_fail_is_tried_again() -> None:
    async def main() -> None:
        broken = ModelError("timeout", "no answer")
        bench = Bench(straggling(SLOW, (3.0, broken), (3.0, broken)))
        await bench.know_latency()
        assert (await bench.ask(0)).text == "ok"
        assert bench.ledger.spent().calls == ENOUGH + 3
        bench.check_closed()

    run(main())


@pytest.mark.parametrize("why", ["not allowed", "switched off", "ledger", "slots", "in process", "refused lately"])
def test_no_second_copy_is_sent_where_it_is_not_free(why: str) -> None:
    async def main() -> None:
        bench = Bench(
            straggling(SLOW, ok(5.0, "first")),
            Budget(calls=ENOUGH + 1 if why == "ledger" else 1000),
            Limits(hedge=None if why == "switched off" else 0.95),
            width=1 if why == "slots" else 16,
            may_hedge=lambda: why != "not allowed",
        )
        if why == "in process":
            bench.model.in_process = True  # type: ignore[attr-defined]
        await bench.know_latency()
        if why == "refused lately":
            limiter_for(bench.model.identity, Limits()).window.pause(now())
        assert (await bench.ask(0)).text == "first"
        assert len(bench.model.sent) == SLOW
        assert bench.ledger.spent().calls == SLOW

    run(main())


def test_a_second_copy_takes_the_slot_that_becomes_free_later() -> None:
    async def main() -> None:
        bench = Bench(straggling(SLOW, ok(60.0, "first"), ok(4.0)), width=2)
        await bench.know_latency()
        slow, other = asyncio.create_task(bench.ask(0)), asyncio.create_task(bench.ask(1))
        await other
        assert (await slow).text == "ok"
        assert now() == pytest.approx(ENOUGH + 4 + 1, abs=0.5)

    run(main())


@pytest.mark.parametrize("at", [0.0, 0.5, 1.5, 2.0])
def test_a_hedged_call_that_is_given_up_leaves_nothing_behind(at: float) -> None:
    async def main() -> None:
        bench = Bench(straggling(SLOW, ok(20.0), ok(20.0)))
        await bench.know_latency()
        call = asyncio.create_task(bench.ask(0))
        await asyncio.sleep(at)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        copies = len(bench.model.sent) - ENOUGH
        assert bench.ledger.spent().calls == ENOUGH + copies
        bench.check_closed()

    run(main())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 150), st.floats(0.01, 0.6), st.booleans())
def test_no_cap_is_exceeded_whatever_happens_to_the_calls(seed: int, calls: int, usd: float, impatient: bool) -> None:
    """Invariant 1, with 64 slots: stragglers and their second copies, failures, outages, callers that give up."""
    rng = random.Random(seed)

    def act(call: int) -> Act:
        if 20 < now() < 40 and seed % 3 == 0:
            return 0.05, WORDS
        outcomes = [ModelError(kind, "no", rng.choice((None, 2.0))) for kind in ("rate_limit", "timeout", "server")]
        good = Reply("ok", usage=Usage(1, 0, 20, rng.randrange(1, 512)))
        return rng.lognormvariate(0, 1.2), rng.choice(outcomes) if rng.random() < 0.2 else good

    async def main() -> None:
        bench = Bench(act, Budget(usd=usd, calls=calls), width=64)
        numbers = iter(range(10_000))

        async def worker() -> None:
            for number in numbers:
                with suppress(ModelError, TimeoutError):
                    await asyncio.wait_for(bench.ask(number), 3 if impatient and rng.random() < 0.2 else None)

        async def watch() -> None:
            while True:
                taken = bench.ledger.spent() + bench.ledger.reserved()
                assert taken.calls <= calls
                assert (taken.usd or 0) <= usd + 1e-15
                await asyncio.sleep(0.1)

        watcher = asyncio.create_task(watch())
        ends = await asyncio.gather(*(worker() for _ in range(64)), return_exceptions=True)
        watcher.cancel()
        assert {type(end) for end in ends} == {BudgetSpent}
        assert bench.model.at_once <= 64
        assert bench.model.open == 0
        assert bench.ledger.spent().calls <= calls
        bench.check_closed()
        with suppress(asyncio.CancelledError):
            await watcher

    run(main())


async def test_an_outage_over_a_real_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second of 503 for eight callers who have little patience with a single call."""
    monkeypatch.setattr(circuit, "FIRST_PROBE", 0.05)
    monkeypatch.setattr(circuit, "LAST_PROBE", 0.2)
    began = time.monotonic()

    def answer(request: Json) -> Answer:
        down = 0.1 < time.monotonic() - began < 1.1
        return Answer("", 503) if down else Answer(completion("ok"), delay=0.01)

    ledger, journal = Ledger(), MemoryJournal()
    async with ChatServer(answer) as server:
        model = ChatModel("openai/m", server.url)
        metered = MeteredModel(
            model, "task", journal, ledger, asyncio.Semaphore(8), RetryPolicy(first=0.01, longest=0.05)
        )
        numbers = iter(range(400))

        async def worker() -> None:
            for number in numbers:
                await metered.complete([Message("user", f"question {number}")])

        await asyncio.gather(*(worker() for _ in range(8)))
        await metered.close()
    assert time.monotonic() - began > 1.1
    assert ledger.spent().calls == journal.records == 400
    assert len(server.requests) < 400 + 50
