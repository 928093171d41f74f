"""Experiments side by side: what they share, what they must not, and what is left when one fails.

Calls go over a real socket to a server with fixed replies.
"""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from chat_server import Answer, Serve
from lab import reply, write_lab

from promptlearn.errors import ConfigError, StoreError
from promptlearn.experiments import BatchReport, open_batch, run_batch
from promptlearn.experiments.outcome import Outcome, Problem, stored
from promptlearn.records import Json, fingerprint

MATRIX = {"prompts": ["prompts/short.md", "prompts/long.md"], "optimizers": ["none", ["rules", "demos"]]}


async def outcomes(path: Path, store: Path, *overrides: str, again: bool = False) -> dict[str, Outcome]:
    with open_batch(path, overrides, store) as batch:
        return {outcome.name: outcome for outcome in await run_batch(batch, again=again)}


def decided(outcome: Outcome) -> Json:
    """What must not depend on neighbours, latency or chance."""
    document = outcome.to_json()
    return [document[key] for key in ("name", "decision", "stop_reason", "before", "after", "delta", "prompt")]


async def test_experiments_share_one_journal_and_pay_for_nothing_twice(tmp_path: Path, serve: Serve) -> None:
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix=MATRIX | {"seeds": [0, 1]})
    found = await outcomes(path, tmp_path / "a.db")
    asked = Counter(fingerprint(request.body) for request in server.requests)
    assert set(asked.values()) == {1}
    assert sum(outcome.total.calls for outcome in found.values()) == len(server.requests)
    assert all(outcome.total.cached_calls for outcome in found.values() if outcome.decision != "measured")
    assert [outcome.decision for outcome in found.values()].count("improved") == 4
    assert [outcome.decision for outcome in found.values()].count("measured") == 2


async def test_one_pool_of_slots_serves_all(tmp_path: Path, serve: Serve) -> None:
    server = await serve(lambda body: Answer(reply(body).body, delay=0.005))
    path = write_lab(tmp_path, server.url, matrix=MATRIX, concurrency=3)
    await outcomes(path, tmp_path / "a.db")
    assert server.at_once <= 3


async def test_neighbours_change_no_decision(tmp_path: Path, serve: Serve) -> None:
    """Invariant 8: one after the other or all at once, few slots or many, alone or in company."""
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix=MATRIX | {"seeds": [0, 1]}, budget={"task_calls": 600})
    first = await outcomes(path, tmp_path / "a.db", "at_once=1", "concurrency=1")
    together = await outcomes(path, tmp_path / "b.db", "at_once=8", "concurrency=16")
    assert list(map(decided, first.values())) == list(map(decided, together.values()))
    with open_batch(path, store=tmp_path / "c.db", only=["long/rules*/seed=1"]) as batch:
        (alone,) = await run_batch(batch)
    assert decided(alone) == decided(first[alone.name])


async def test_all_together_stay_within_the_budget(tmp_path: Path, serve: Serve) -> None:
    """Invariant 1: the caps of all experiments add up to the whole."""
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix={"seeds": [0, 1, 2]}, budget={"calls": 3 * 70})
    found = await outcomes(path, tmp_path / "a.db")
    for outcome in found.values():
        assert outcome.total.calls + outcome.total.cached_calls <= 70
    assert len(server.requests) <= 210


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ({"calls": 40}, "experiment seed=0: budget.calls = 20 is too small"),
        ({"tokens": 900}, "experiment seed=0: its budget.tokens = 450 is too small: it takes at least"),
        ({"usd": 5}, "nobody knows the price of openai/fixed"),
    ],
)
async def test_what_can_not_work_is_said_before_the_first_call(
    tmp_path: Path, serve: Serve, budget: dict[str, Any], message: str
) -> None:
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix={"seeds": [0, 1]}, budget=budget)
    with pytest.raises(ConfigError) as caught:
        await outcomes(path, tmp_path / "a.db")
    assert message in str(caught.value)
    assert "(1 more can not run either)" in str(caught.value)
    assert not server.requests


async def test_a_measurement_has_to_fit_into_its_share(tmp_path: Path) -> None:
    path = write_lab(tmp_path, matrix={"optimizers": ["none"]}, budget={"calls": 5})
    with pytest.raises(ConfigError, match=r"its budget.calls = 5 is too small: it takes at least \d\d"):
        await outcomes(path, tmp_path / "a.db")


async def test_a_budget_alone_makes_no_experiment(tmp_path: Path) -> None:
    path = write_lab(tmp_path, matrix={"budget.task_calls": [200, 400]})
    with pytest.raises(ConfigError, match="task_calls=200 and task_calls=400 differ in their budgets alone"):
        await outcomes(path, tmp_path / "a.db")


async def test_two_files_with_the_same_text_share_a_run(tmp_path: Path, serve: Serve) -> None:
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix={"prompts": ["prompts/long.md", "prompts/copy.md"]})
    (tmp_path / "prompts/copy.md").write_bytes((tmp_path / "prompts/long.md").read_bytes())
    async with reported(path, tmp_path / "a.db") as report:
        first, second = report.outcomes
        assert (first.name, second.name, first.run) == ("long", "copy", second.run)
        assert second.known
        assert report.total.calls == first.total.calls == len(server.requests)
        assert str(report.place("copy")) == "1–2 of 2"


async def test_finished_experiments_are_taken_from_the_store(tmp_path: Path, serve: Serve) -> None:
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix=MATRIX, budget={"task_calls": 4 * 70})
    first = await outcomes(path, tmp_path / "a.db")
    assert first["long/rules+demos"].stop_reason == "budget"
    calls = len(server.requests)
    second = await outcomes(path, tmp_path / "a.db")
    assert {name: one.run for name, one in second.items()} == {name: one.run for name, one in first.items()}
    assert all(outcome.known for outcome in second.values())
    assert list(map(decided, second.values())) == list(map(decided, first.values()))
    more = await outcomes(path, tmp_path / "a.db", "budget.task_calls=4000")
    assert not more["long/rules+demos"].known, "a larger budget lets a search go on that ran out of it"
    assert more["long/none"].known
    calls = len(server.requests)
    fresh = await outcomes(path, tmp_path / "a.db", "budget.task_calls=4000", again=True)
    assert not any(outcome.known for outcome in fresh.values())
    assert len(server.requests) == calls, "the journal answers what was asked before"


async def test_an_evaluation_of_other_rows_is_not_the_measurement(tmp_path: Path, serve: Serve) -> None:
    from promptlearn.job import evaluate_job

    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix={"optimizers": ["none"]})
    with open_batch(path, store=tmp_path / "a.db") as batch:
        await evaluate_job(batch.entries[0].job, "validation")
        assert stored([batch.store], batch.entries[0]).state == "interrupted"
        (outcome,) = await run_batch(batch)
    assert not outcome.known
    assert outcome.before is not None
    assert outcome.before.n == len(batch.entries[0].job.dataset.test)


async def test_one_failure_stops_no_other(tmp_path: Path, serve: Serve) -> None:
    """Those that would ask the same model are not begun once it turned one away."""

    def script(body: dict[str, Any]) -> Answer | str:
        if body["model"] == "gone":
            return Answer({"error": {"message": "no such model"}}, status=404)
        return reply(body)

    server = await serve(script)
    gone = {"model": "openai/gone", "base_url": server.url}
    matrix = {"models": {"here": "openai/fixed", "gone": gone}, "seeds": [0, 1]}
    path = write_lab(tmp_path, server.url, matrix=matrix, at_once=1)
    inline = path.read_text().replace("here: openai/fixed", f"here: {{model: openai/fixed, base_url: '{server.url}'}}")
    path.write_text(inline)
    found = await outcomes(path, tmp_path / "a.db")
    assert [found[f"here/seed={seed}"].decision for seed in (0, 1)] == ["improved", "improved"]
    first, second = found["gone/seed=0"], found["gone/seed=1"]
    assert first.error is not None
    assert second.error is not None
    assert (first.state, first.error.type, first.error.exit_code) == ("failed", "SystemicError", 1)
    assert second.error.message.startswith("not begun, because gone/seed=0 asks the same models and failed: ")
    assert sum(request.body["model"] == "gone" for request in server.requests) <= 16
    with open_batch(path, store=tmp_path / "a.db", create=False) as batch:
        kept = {entry.name: stored([batch.store], entry) for entry in batch.entries}
    assert (kept["gone/seed=0"].state, kept["gone/seed=1"].state) == ("failed", "missing")
    assert kept["here/seed=0"].known


async def test_a_stop_ends_those_at_work_and_begins_no_other(tmp_path: Path, serve: Serve) -> None:
    """Invariant 3: afterwards the same command goes on, and pays for nothing twice."""
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix={"seeds": [0, 1, 2]}, at_once=2)
    with open_batch(path, store=tmp_path / "a.db") as batch:
        stopped = await run_batch(batch, stopping=lambda: len(server.requests) > 30)
    assert [outcome.state for outcome in stopped] == ["interrupted"] * 3
    assert [outcome.run is None for outcome in stopped] == [False, False, True]
    found = await outcomes(path, tmp_path / "a.db")
    assert {outcome.state for outcome in found.values()} == {"finished"}
    assert found["seed=0"].run == stopped[0].run
    assert set(Counter(fingerprint(request.body) for request in server.requests).values()) == {1}


@asynccontextmanager
async def reported(path: Path, store: Path, fail_on: Sequence[str] | None = None) -> AsyncIterator[BatchReport]:
    with open_batch(path, store=store) as batch:
        yield BatchReport.of(batch, await run_batch(batch), fail_on)


async def test_ranks_compare_what_was_judged_alike_on_the_same_rows(tmp_path: Path, serve: Serve) -> None:
    server = await serve(reply)
    matrix = {"optimizers": ["none", "rules"], "judges": ["exact_match", "label_set"]}
    path = write_lab(tmp_path, server.url, matrix=matrix)
    async with reported(path, tmp_path / "a.db") as report:
        assert [sorted(ranking.places) for ranking in report.rankings] == [
            ["none/exact_match", "rules/exact_match"],
            ["none/label_set", "rules/label_set"],
        ]
        assert str(report.place("rules/exact_match")) == "1 of 2"
        assert str(report.place("none/exact_match")) == "2 of 2"
        assert report.ranked()[0].name == "rules/exact_match"


@pytest.mark.parametrize(
    ("fail_on", "code"), [((), 0), (("failed",), 0), (("not_proven",), 3), (("not_proven", "failed"), 3)]
)
async def test_the_exit_code_says_what_is_unwanted(
    tmp_path: Path, serve: Serve, fail_on: tuple[str, ...], code: int
) -> None:
    server = await serve(reply)
    path = write_lab(tmp_path, server.url, matrix={"optimizers": ["none", "demos"]}, budget={"calls": 2 * 72})
    async with reported(path, tmp_path / "a.db", fail_on) as report:
        assert report.counts() == {"measured": 1, "not_proven": 1}
        assert report.exit_code == code


def test_a_problem_shows_no_key() -> None:
    """Invariant 10."""
    problem = Problem.of(RuntimeError("the key is\n hush-hush-123, sorry"), ("hush-hush-123",))
    assert (problem.type, problem.exit_code) == ("RuntimeError", 1)
    assert "hush" not in problem.message
    assert problem.message.startswith("the key is ")


async def test_looking_needs_a_store(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="there is no store"):
        open_batch(write_lab(tmp_path), store=tmp_path / "none.db", create=False)
