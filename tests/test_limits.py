"""How fast one endpoint may be called. All in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from virtual_time import now, run

from promptlearn.errors import ModelError
from promptlearn.limits import Limiter, Limits, Permit, Unlimited, limiter_for
from promptlearn.limits.circuit import FAILURES, FIRST_PROBE, LAST_PROBE
from promptlearn.limits.latency import ENOUGH, Latencies
from promptlearn.limits.limiter import REMEMBERED
from promptlearn.limits.window import PAUSE, SHRINK, START

REFUSED = ModelError("rate_limit", "slow down")
BROKEN = ModelError("server", "503", unavailable=True)
CRASHED = ModelError("server", "500")


def limiter(limits: Limits | None = None) -> Limiter:
    made = Limiter()
    made.tighten(limits or Limits())
    return made


async def enter(gate: Limiter, caller: object = None, tokens: int = 100) -> Permit:
    """A permit whose call is sent at once."""
    permit = await gate.enter(tokens, caller or object())
    assert permit is not None
    gate.begin(permit)
    return permit


async def call(gate: Limiter, seconds: float = 1.0, tokens: int = 100) -> None:
    permit = await enter(gate, tokens=tokens)
    await asyncio.sleep(seconds)
    gate.answered(permit, tokens)


async def fail(gate: Limiter, error: ModelError, caller: object = None) -> None:
    gate.failed(await enter(gate, caller), error)


async def prove(gate: Limiter) -> None:
    """One call that is answered."""
    gate.answered(await enter(gate), 100)


async def crowd(gate: Limiter, callers: int, serve: Callable[[], Awaitable[None]], until: float) -> None:
    """So many callers who call again and again."""

    async def caller() -> None:
        while now() < until:
            await serve()

    await asyncio.gather(*(caller() for _ in range(callers)))


class Capped:
    """An endpoint that refuses what goes beyond a number of calls at the same time."""

    def __init__(self, gate: Limiter, most: int) -> None:
        self.gate = gate
        self.most = most
        self.open = self.answered = self.refused = self.highest = 0

    async def call(self) -> None:
        permit = await enter(self.gate)
        self.open += 1
        self.highest = max(self.highest, self.open)
        refuse = self.open > self.most
        await asyncio.sleep(0.05 if refuse else 1)
        self.open -= 1
        if refuse:
            self.refused += 1
            self.gate.failed(permit, REFUSED)
            await asyncio.sleep(0.5)
        else:
            self.answered += 1
            self.gate.answered(permit, 100)


def test_a_healthy_endpoint_is_not_slowed_down() -> None:
    """64 callers are all served at the same time after two rounds of calls."""

    async def main() -> None:
        gate = limiter()
        endpoint = Capped(gate, 10_000)
        work = asyncio.create_task(crowd(gate, 64, endpoint.call, 10))
        await asyncio.sleep(0.5)
        assert endpoint.open == START
        await asyncio.sleep(2)
        assert endpoint.open == 64
        await work

    run(main())


def test_the_number_of_calls_in_flight_finds_what_the_endpoint_bears() -> None:
    async def main() -> None:
        gate = limiter()
        endpoint = Capped(gate, 30)
        await crowd(gate, 64, endpoint.call, 300)
        assert endpoint.answered > 0.75 * 30 * 300
        assert endpoint.refused < 0.02 * endpoint.answered

    run(main())


def test_one_burst_of_refusals_counts_once() -> None:
    async def main() -> None:
        gate = limiter()
        burst = [await enter(gate) for _ in range(20)]
        for permit in burst[:10]:
            gate.failed(permit, REFUSED)
        assert gate.window.limit == SHRINK * START
        late = await asyncio.wait_for(asyncio.gather(*(enter(gate) for _ in range(4))), 1)
        gate.failed(late[0], REFUSED)
        assert gate.window.limit == SHRINK * SHRINK * START

    run(main())


def test_a_window_that_is_not_full_does_not_grow() -> None:
    async def main() -> None:
        gate = limiter()
        await crowd(gate, 8, lambda: call(gate), 60)
        assert gate.window.limit == START

    run(main())


def test_failures_of_the_server_only_pause_growth() -> None:
    async def main() -> None:
        gate = limiter()
        await prove(gate)
        await fail(gate, CRASHED)
        await crowd(gate, 32, lambda: call(gate), PAUSE - 1)
        assert gate.window.limit == START
        await crowd(gate, 32, lambda: call(gate), PAUSE + 3)
        assert gate.window.limit > START

    run(main())


def test_nobody_calls_before_retry_after_is_over() -> None:
    async def main() -> None:
        gate = limiter()
        first = [await enter(gate) for _ in range(int(START))]
        queued = asyncio.create_task(gate.enter(100, object()))
        await asyncio.sleep(0)
        gate.failed(first[0], ModelError("rate_limit", "slow down", 7.0))
        assert await queued is None
        assert await gate.enter(100, object()) is None
        assert gate.spare(100, object()) is None
        assert gate.closed_for() == pytest.approx(7)
        while gate.closed:
            await gate.reopened(60)
        assert now() == pytest.approx(7)

    run(main())


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.integers(0, 10_000))
def test_no_minute_sees_more_calls_than_its_cap(rpm: int, seed: int) -> None:
    """Any 60 seconds, at whatever times the calls come; and where they come in plenty, nothing is wasted."""
    rng = random.Random(seed)
    sent: list[float] = []

    async def one(gate: Limiter, at: float) -> None:
        await asyncio.sleep(at)
        permit = await enter(gate)
        sent.append(now())
        await asyncio.sleep(rng.random())
        gate.answered(permit, 100)

    async def main() -> None:
        gate = limiter(Limits(rpm=rpm))
        await asyncio.gather(*(one(gate, rng.choice((0.0, rng.random() * 30))) for _ in range(min(2 * rpm, 300))))

    run(main())
    for first, last in zip(sent, sent[rpm:], strict=False):
        assert last - first >= 60 - 1e-3
    assert sent[-1] <= 30 + 60 * len(sent) / rpm * 1.1 + 5


def test_tokens_per_minute_are_those_that_were_used() -> None:
    """Calls reserve four times what they turn out to take; the cap is met by what they took, within one call."""

    async def main() -> float:
        gate = limiter(Limits(tpm=60_000))
        used: list[tuple[float, int]] = []

        async def one() -> None:
            permit = await enter(gate, tokens=2000)
            await asyncio.sleep(1)
            gate.answered(permit, 500)
            used.append((now(), 500))

        await crowd(gate, 64, one, 180)
        return sum(tokens for at, tokens in used if at > 60) / (now() - 60) * 60

    per_minute = run(main())
    assert 0.9 * 60_000 < per_minute < 62_000


def test_a_call_larger_than_the_cap_goes_alone() -> None:
    async def main() -> None:
        gate = limiter(Limits(tpm=100))
        await call(gate, tokens=1000)
        await call(gate, tokens=1000)
        assert now() > 500

    run(main())


def test_an_endpoint_that_fails_again_and_again_is_left_alone_but_for_probes() -> None:
    async def main() -> None:
        gate = limiter()
        await prove(gate)
        for _ in range(FAILURES):
            await fail(gate, BROKEN)
        assert gate.closed
        probes: list[float] = []
        while now() < 120:
            while gate.closed:
                await gate.reopened(60)
            probe = await enter(gate)
            assert probe.probe
            assert await gate.enter(100, object()) is None  # one at a time
            probes.append(now())
            await asyncio.sleep(0.1)
            gate.failed(probe, BROKEN)
        waits = [later - earlier for earlier, later in pairwise(probes)]
        assert probes[0] == pytest.approx(FIRST_PROBE)
        assert waits == pytest.approx([2.1, 4.1, 8.1, *[LAST_PROBE + 0.1] * (len(waits) - 3)])
        assert gate.down_for() == pytest.approx(now())
        while gate.closed:
            await gate.reopened(60)
        gate.answered(await enter(gate), 100)
        assert not gate.closed
        assert gate.down_for() == 0

    run(main())


def test_those_who_wait_for_an_endpoint_are_woken_by_its_first_answer() -> None:
    async def main() -> None:
        gate = limiter()
        await prove(gate)
        slow = await enter(gate)
        for _ in range(FAILURES):
            await fail(gate, BROKEN)
        waiting = asyncio.create_task(gate.reopened(60))
        await asyncio.sleep(0.25)
        gate.answered(slow, 100)  # sent before it went down
        await waiting
        assert now() == 0.25

    run(main())


@pytest.mark.parametrize(
    ("error", "callers", "proven", "opens"),
    [
        (CRASHED, 2, True, True),
        (CRASHED, 1, True, False),  # as well its own fault
        (ModelError("timeout", "no answer"), 1, True, False),
        (BROKEN, 1, True, True),
        (ModelError("connection", "refused"), 1, True, True),
        (ModelError("connection", "cut", answered=True), 1, True, False),
        (CRASHED, 2, False, False),  # an endpoint that never answered fails at once instead
        (ModelError("connection", "refused"), 2, False, False),
        (BROKEN, 2, False, True),  # unless it says itself that it is one, and down
        (REFUSED, 2, True, False),
        (ModelError("bad_request", "no"), 2, True, False),
    ],
)
def test_what_shows_that_an_endpoint_is_down(error: ModelError, callers: int, proven: bool, opens: bool) -> None:
    async def main() -> None:
        gate = limiter()
        if proven:
            await prove(gate)
        who = [object() for _ in range(callers)]
        for attempt in range(3 * FAILURES):
            if not gate.closed:
                await fail(gate, error, who[attempt % callers])
        assert (gate.circuit.opened is not None) == opens

    run(main())


def test_one_answer_in_between_keeps_the_circuit_closed() -> None:
    async def main() -> None:
        gate = limiter()
        for _ in range(4 * FAILURES):
            await prove(gate)
            await fail(gate, BROKEN)
        assert not gate.closed

    run(main())


def test_a_probe_that_is_given_up_lets_another_one_go() -> None:
    async def main() -> None:
        gate = limiter()
        await prove(gate)
        for _ in range(FAILURES):
            await fail(gate, BROKEN)
        await asyncio.sleep(FIRST_PROBE)
        gate.dropped(await enter(gate))
        assert (await enter(gate)).probe

    run(main())


def test_a_caller_that_is_cancelled_gives_its_place_to_the_next() -> None:
    async def main() -> None:
        gate = limiter()
        inside = [await enter(gate) for _ in range(int(START))]
        waiting = [asyncio.create_task(gate.enter(100, object())) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        gate.dropped(inside[0])
        waiting[1].cancel()  # when its turn had come
        assert await waiting[2] is not None

    run(main())


def test_room_is_spare_only_where_nobody_waits_and_nothing_went_wrong() -> None:
    async def main() -> None:
        gate = limiter()
        spare = gate.spare(100, object())
        assert spare is not None
        gate.dropped(spare)
        inside = [await enter(gate) for _ in range(int(START))]
        assert gate.spare(100, object()) is None
        for permit in inside:
            gate.answered(permit, 100)
        await fail(gate, REFUSED)
        assert gate.spare(100, object()) is None
        await asyncio.sleep(PAUSE)
        assert gate.spare(100, object()) is not None

    run(main())


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=300), st.sampled_from((0.5, 0.9, 0.95)))
def test_what_is_slow_lies_above_the_quantile_and_the_median(seconds: list[float], quantile: float) -> None:
    known = Latencies()
    for one in seconds:
        known.note(500, one)
    slow = known.slow(512, quantile) if len(seconds) >= ENOUGH else None
    assert known.slow(5000, quantile) is None
    if len(seconds) < ENOUGH:
        assert known.slow(500, quantile) is None
        return
    assert known.slow(500, quantile) is not None
    assert slow is None  # 512 is of the next length


def test_where_all_are_alike_none_is_slow() -> None:
    known = Latencies()
    for _ in range(ENOUGH):
        known.note(512, 2.0)
    assert known.slow(600, 0.95) == 3.0


def test_a_straggler_is_slow() -> None:
    known = Latencies()
    for at in range(100):
        known.note(512, 20.0 if at % 50 == 0 else 1 + at / 1000)
    slow = known.slow(512, 0.95)
    assert slow is not None
    assert 1.5 <= slow < 2


def test_one_limiter_for_all_who_call_a_model_on_a_loop() -> None:
    async def main() -> Limiter:
        first = limiter_for("http://x#m", Limits(rpm=600))
        assert limiter_for("http://x#m", Limits(rpm=6)) is first
        assert limiter_for("http://x#other", Limits()) is not first
        await call(first)
        await call(first)
        assert now() == pytest.approx(11)  # the lower cap counts
        return first

    assert run(main()) is not run(main())


def test_a_model_in_this_process_waits_for_nobody() -> None:
    async def main() -> None:
        gate = Unlimited()
        permits = [await enter(gate) for _ in range(1000)]
        for permit in permits:
            gate.failed(permit, BROKEN)
        assert not gate.closed

    run(main())


def test_an_endpoint_that_nobody_reached_is_waited_for_once_and_again_after_a_while() -> None:
    unreached = ModelError("connection", "nobody answers")

    async def main() -> None:
        gate = limiter()
        await fail(gate, unreached)
        assert not gate.hopeless(unreached)
        gate.give_up()
        assert gate.hopeless(unreached)
        assert not gate.hopeless(CRASHED)
        await asyncio.sleep(REMEMBERED)
        assert not gate.hopeless(unreached)
        gate.give_up()
        await prove(gate)
        assert not gate.hopeless(unreached)

    run(main())
