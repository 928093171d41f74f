"""A run obeys what people ask of it while it works, and says what came of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import synthetic
from seeded_store import BEST, seed, working

import promptlearn
from promptlearn import Budget, RunResult, control, report, steering
from promptlearn.errors import Interrupted, UsageError
from promptlearn.examine.labels import run_labels
from promptlearn.ledger import Charge, Ledger, RoleCap
from promptlearn.models.base import Reply
from promptlearn.records import Example, Rollout, Turn
from promptlearn.steering import raised
from promptlearn.store import Store, open_store
from promptlearn.store.judge_rows import HumanLabel, JudgeCheck


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steering, "POLL", 0.02)


async def learn(folder: Path, **changes: Any) -> RunResult:
    arguments: dict[str, Any] = {
        "task": synthetic.task_model(latency=0.005),
        "inputs": ["message"],
        "expected": "tag",
        "reviews": synthetic.house_rules(),
        "proposers": ["rules", "demos"],
        "store": folder / "store.db",
        "budget": Budget(task_calls=2000),
    }
    return await promptlearn.aoptimize(synthetic.SEED, synthetic.rows(90), **(arguments | changes))


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.02)
    raise AssertionError("it never came to that")


async def with_a_run(folder: Path, act: Callable[[Store, str], Awaitable[None]], **changes: Any) -> RunResult:
    """Start a run, and act once it has rows."""
    with open_store(folder / "store.db") as store:
        learning = asyncio.create_task(learn(folder, **changes))
        await until(lambda: learning.done() or any(map(store.views.rows, store.running())))
        await act(store, next(iter(store.running())))
        return await learning


async def test_a_paused_run_begins_no_call_and_goes_on(tmp_path: Path) -> None:
    async def act(store: Store, run: str) -> None:
        control.pause(store, run, "ana")
        await until(lambda: report.overview(store, run).standing == "paused")
        await asyncio.sleep(0.1)
        rows = store.views.rows(run)
        await asyncio.sleep(0.3)
        assert store.views.rows(run) == rows
        assert "paused" in report.overview(store, run).activity
        control.resume(store, run, "ana")

    result = await with_a_run(tmp_path, act)
    assert result.decision == "improved"
    with open_store(tmp_path / "store.db") as store:
        asked = report.requests(store, result.run_id)
        assert [(one.kind, one.who, one.state) for one in asked] == [
            ("resume", "ana", "done"),
            ("pause", "ana", "done"),
        ]
        steered = [event.body["what"] for event in report.events(store, result.run_id) if event.kind == "steered"]
        assert steered == ["pause", "resume"]


async def test_every_stretch_is_counted_to_its_end_and_a_pause_is_not(tmp_path: Path) -> None:
    async def act(store: Store, run: str) -> None:
        control.pause(store, run, "ana")
        await until(lambda: report.overview(store, run).standing == "paused")
        await asyncio.sleep(1)
        control.stop(store, run, "ana")

    began = time.monotonic()
    with pytest.raises(Interrupted):
        await with_a_run(tmp_path, act)
    took = time.monotonic() - began
    with open_store(tmp_path / "store.db") as store:
        [stopped] = report.list_runs(store)
        assert 0 < stopped.active_seconds <= took - 1
        result = await learn(tmp_path)
        [ended] = report.list_runs(store)
        assert ended.active_seconds - stopped.active_seconds > result.wall_s / 2


async def test_a_pause_changes_no_decision(tmp_path: Path) -> None:
    """Invariant 8."""

    async def act(store: Store, run: str) -> None:
        control.pause(store, run, "ana")
        await until(lambda: report.overview(store, run).standing == "paused")
        control.resume(store, run, "ana")

    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    paused, plain = await with_a_run(tmp_path / "a", act), await learn(tmp_path / "b")
    assert (paused.best_digest, paused.delta) == (plain.best_digest, plain.delta)


async def test_a_stopped_run_saves_and_can_go_on(tmp_path: Path) -> None:
    async def act(store: Store, run: str) -> None:
        control.stop(store, run, "ben")

    with pytest.raises(Interrupted):
        await with_a_run(tmp_path, act)
    with open_store(tmp_path / "store.db") as store:
        found = report.overview(store)
        assert (found.standing, found.live) == ("interrupted", False)
    assert (await learn(tmp_path)).run_id == found.summary.id


async def test_a_run_that_is_stopped_in_a_pause_ends(tmp_path: Path) -> None:
    async def act(store: Store, run: str) -> None:
        control.pause(store, run, "ben")
        await until(lambda: report.overview(store, run).standing == "paused")
        control.stop(store, run, "ben")

    with pytest.raises(Interrupted):
        await with_a_run(tmp_path, act)


async def test_a_raised_budget_holds_for_the_run_from_then_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 1: the new cap is a cap."""
    raised, task = asyncio.Event(), synthetic.task_model()
    answer = task.complete

    async def complete(*asked: Any, **options: Any) -> Reply:
        if len(task.calls) >= 8:  # the first round waits for the new budget
            await raised.wait()
        return await answer(*asked, **options)

    async def act(store: Store, run: str) -> None:
        control.raise_budget(store, run, "ana", {"task_calls": 2000, "usd": 5})
        await until(lambda: report.requests(store, run)[0].state == "done")
        raised.set()

    monkeypatch.setattr(task, "complete", complete)
    result = await with_a_run(tmp_path, act, budget=Budget(task_calls=170), task=task)
    used = result.usage["task"].calls + result.usage["task"].cached_calls
    assert result.decision == "improved"
    assert 170 < used <= 2000
    with open_store(tmp_path / "store.db") as store:
        [asked] = report.requests(store, result.run_id)
        assert (asked.state, asked.note) == ("done", "budget.task_calls is 2000 now"), "dollars had no cap"
        assert steering.budget_of(store, result.run_id, Budget(task_calls=170)) == Budget(task_calls=2000)


def test_caps_are_raised_and_never_lowered() -> None:
    budget = Budget(usd=1.0, task_calls=100, roles={"task": RoleCap(usd=0.5)})
    assert raised(budget, {"caps": {"usd": 2, "task_calls": 50, "minutes": 3}}) == Budget(
        usd=2.0, task_calls=100, roles=budget.roles
    )
    assert raised(budget, {"caps": {"usd": "much"}}) == budget
    assert raised(budget, {"caps": {"task_calls": float("inf"), "usd": float("nan")}}) == budget
    assert raised(budget, None) == budget


async def test_who_waits_for_room_in_the_budget_gets_it() -> None:
    ledger = Ledger(Budget(calls=1))
    await ledger.reserve("task", Charge(1))
    waiting = asyncio.create_task(ledger.reserve("task", Charge(1)))
    await asyncio.sleep(0)
    assert not waiting.done()
    ledger.widen(Budget(calls=2))
    await waiting
    assert ledger.reserved().calls == 2


def test_a_pause_takes_no_minutes(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        one = steering.Steering(store, "run")
        one._pause()
        before = one.clock()
        time.sleep(0.05)
        assert one.clock() == before
        one._resume()
        assert one.clock() - before < 0.04


def test_what_does_not_work_is_asked_for_nothing(tmp_path: Path) -> None:
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        with pytest.raises(UsageError, match="is not at work on this machine: it is finished"):
            control.pause(store, run, "ana")
        with pytest.raises(UsageError, match="euros is no cap to raise: possible are usd"):
            control.raise_budget(store, run, "ana", {"euros": 5})
        with pytest.raises(UsageError, match="task_calls is no cap to raise"):
            control.raise_budget(store, run, "ana", {"task_calls": float("inf")})


def test_a_request_waits_for_the_run(tmp_path: Path) -> None:
    path, run = seed("running", tmp_path)
    with open_store(path) as store, working(store, run):
        assert control.stop(store, run, "ana").state == "waiting"
        found = report.overview(store, run)
        assert (found.standing, found.activity) == ("stopping", "ending the calls under way")
        assert [one.who for one in found.waiting] == ["ana"]


def test_a_label_stands_beside_the_judges_and_replaces_none(tmp_path: Path) -> None:
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        before = report.example_detail(store, run, "v2")
        control.label(store, run, "v2", 0.0, "ana", "too curt")
        control.label(store, run, "v2", 1.0, "ana", "fine after all")
        control.label(store, run, "v2", 0.0, "ben", "wrong")
        after = report.example_detail(store, run, "v2")
        assert after.verdicts == before.verdicts
        assert after.score == before.score
        assert [(one.source, one.score, one.explanation) for one in after.labels] == [
            ("ana", 1.0, "fine after all"),
            ("ben", 0.0, "wrong"),
        ]
        assert [one.body["words"] for one in report.requests(store, run)] == ["wrong", "fine after all", "too curt"]
        assert {one.person for one in store.judges.labels()} <= {"ana", "ben"}
        with pytest.raises(UsageError, match="a number from 0 to 1"):
            control.label(store, run, "v2", 2.0, "ana")
        with pytest.raises(UsageError, match="needs the name"):
            control.label(store, run, "v2", 1.0, " ")
        assert after.digest == BEST.digest


def test_labels_of_one_person_for_two_judges_stand_beside_each_other(tmp_path: Path) -> None:
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        control.label(store, run, "v2", 0.0, "ana", "not that", judge="exact")
        control.label(store, run, "v2", 1.0, "ana", "polite, my key is sk-abcdefgh12345678", judge="tone")
        control.label(store, run, "v2", 0.0, "ana", "useless")
        control.label(store, run, "v2", 1.0, "ana", "well, yes", judge="exact")
        said = {one.about: (one.score, one.explanation) for one in report.example_detail(store, run, "v2").labels}
        assert said == {
            "": (0.0, "useless"),
            "exact": (1.0, "well, yes"),
            "tone": (1.0, "polite, my key is [redacted]"),
        }
        agreement = {one.name: (one.labelled, one.agreed) for one in report.judges(store, run)}
        assert agreement == {"exact": (1, 1), "tone": (2, 1)}, "each by its own question, none by the whole"
        assert "sk-abcdefgh" not in str([*store.requests.items(run), *store.judges.labels()])
        with pytest.raises(UsageError, match="no judge taste judged this answer: possible are exact, tone"):
            control.label(store, run, "v2", 1.0, "ana", judge="taste")


def test_a_label_keeps_its_score_for_the_judge_s_own_mark(tmp_path: Path) -> None:
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        for example, score in (("v1", 1.0), ("v2", 0.5), ("v3", 0.0)):
            control.label(store, run, example, score, "ana", judge="tone")
        kept = [(one.label, one.score) for one in store.judges.labels("tone") if one.person == "ana"]
        assert sorted(kept) == [("fail", 0.0), ("partly", 0.5), ("pass", 1.0)]
        said = [(one.label, one.score) for one in run_labels(store, run, "tone") if one.person == "ana"]
        assert sorted(said) == sorted(kept)


def test_a_label_of_a_judge_s_own_is_kept_as_it_is(tmp_path: Path) -> None:
    """Judges are held against people on their own labels as long as people use nothing else."""
    path, run = seed("improved", tmp_path)
    with open_store(path) as store:
        assert list(report.judge_labels(store, run)["tone"].scores) == ["fitting", "slightly_off", "unfitting"]
        kept = control.label(store, run, "v2", "slightly_off", "ana", "one word is off", judge="tone")
        assert (kept.score, kept.label, kept.passed, kept.about) == (0.5, "slightly_off", True, "tone")
        assert [one.label for one in report.human_labels(store, "tone")] == ["slightly_off"]
        assert "slightly_off" in [one.label for one in run_labels(store, run, "tone")]
        with pytest.raises(UsageError, match="'rude' is no label of judge tone: possible are fitting, slightly_off"):
            control.label(store, run, "v2", "rude", "ana", judge="tone")
        with pytest.raises(UsageError, match="'fitting' is no label of answers: possible are a score"):
            control.label(store, run, "v2", "fitting", "ana")


def test_a_disagreement_is_settled_once_and_seen_as_settled(tmp_path: Path) -> None:
    path, _ = seed("improved", tmp_path)
    with open_store(path) as store:
        [before] = report.examinations(store)
        assert before.agreement is not None
        case = before.agreement.body["disagreements"][0]
        for word in ("slightly_off", "fitting"):
            control.settle(store, "tone", case["item"], word, "ana", "my key is sk-abcdefgh12345678")
        [after] = report.examinations(store)
        [label] = report.human_labels(store, "tone")
        assert after.settled == {case["item"]: label}
        assert (label.item, label.label, label.person) == (case["item"], "fitting", "ana")
        assert (label.rollout.output, label.explanation) == (case["output"], "my key is [redacted]")
        with pytest.raises(UsageError, match="'pass' is no label of this comparison: possible are fitting"):
            control.settle(store, "tone", case["item"], "pass", "ana")
        with pytest.raises(UsageError, match="calibration of judge exact has no disagreement"):
            control.settle(store, "exact", case["item"], "fitting", "ana")
        with pytest.raises(UsageError, match="needs the name"):
            control.settle(store, "tone", case["item"], "fitting", "")


def test_what_an_agent_did_stays_with_its_label_when_that_is_settled(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        agent = Rollout("p", "e", "Done.", evidence={"check": {"exit_code": 1}}, turns=(Turn("assistant", "Done."),))
        label = HumanLabel(Example("e", {"task": "mend it"}), agent, "pass", person="kim", judge="j")
        case = {"item": label.item, "example": "e", "inputs": {"task": "mend it"}, "expected": None, "output": "Done."}
        check = JudgeCheck("agreement", "j", "j@1", {"labels": ["pass", "fail"], "disagreements": [case]})
        control.run_now(store.judges.label([label]))
        control.run_now(store.judges.keep(check))
        control.settle(store, "j", label.item, "fail", "ann", "its check failed")
        [settled] = store.judges.labels("j")
        assert (settled.label, settled.person, settled.rollout) == ("fail", "ann", agent)


async def test_a_label_of_the_whole_answer_counts_for_a_judge_that_is_alone(tmp_path: Path) -> None:
    with open_store(tmp_path / "store.db") as store:
        run = (await learn(tmp_path, rounds=1)).run_id
        example = store.reader.examples(run, "test")[0].example.id
        await asyncio.to_thread(control.label, store, run, example, 1.0, "ana")
        [judge] = report.judges(store, run)
        assert (judge.labelled, judge.agreed) in {(1, 0), (1, 1)}
