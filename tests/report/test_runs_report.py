"""Reports say what is in the store, and what exists where somebody asks for something else."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from promptlearn import report
from promptlearn.errors import UsageError
from promptlearn.records import (
    Candidate,
    Decision,
    Demonstration,
    Example,
    Failure,
    Layout,
    Message,
    Prompt,
    Rollout,
    Rule,
    Usage,
    Verdict,
)
from promptlearn.store import Store, open_store
from promptlearn.store.rows import ALIGNS, EVALUATION

SEED = Prompt.of("Name the label of {message}.\n")
RULED = replace(SEED, rules=(Rule("A lost parcel is `shipping`.", ("exact@e1",)),))
SHOWN = replace(RULED, demonstrations=(Demonstration({"message": "hi"}, "other", "e7"),))
OTHER = Prompt.of("Guess.")
RESULT = {
    "decision": "improved",
    "baseline": {"digest": SEED.digest, "test": {"score": 0.1}},
    "best": {"digest": SHOWN.digest, "test": {"score": 0.7}},
    "delta": {"score": 0.6},
    "usage": {"task": {"calls": 40, "cached_calls": 2, "input_tokens": 9, "output_tokens": 8, "cost_usd": None}},
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(tmp_path / "store.db") as opened:
        yield opened


async def write_run(store: Store) -> str:
    run = await store.start_run({"prompt": "a.md"}, "digest", {"promptlearn": "0.1"}, 7)
    made = [(SEED, (), "baseline"), (RULED, (SEED,), "rules"), (OTHER, (SEED,), "rewrite"), (SHOWN, (RULED,), "demos")]
    for number, (prompt, parents, proposer) in enumerate(made):
        digests = tuple(parent.digest for parent in parents)
        await store.add_candidate(run, Candidate(prompt, digests, proposer, "why", Usage(calls=number)), number)
    taken = [
        (RULED, SEED, "gate", "accepted"),
        (RULED, SEED, "race", "accepted"),
        (OTHER, RULED, "race", "rejected"),
        (SHOWN, RULED, "gate", "accepted"),
    ]
    for number, (prompt, incumbent, stage, outcome) in enumerate(taken):
        decision = Decision(prompt.digest, incumbent.digest, stage, outcome, "said")  # type: ignore[arg-type]
        await store.add_decision(run, number, decision)
    await store.add_examples(run, [Example("e1", {"message": "where is my {parcel}?"}, "shipping")], "validation")
    good = Rollout(SEED.digest, "e1", "I am sorry", usage=Usage(calls=1))
    bad = Rollout(SEED.digest, "e2", error=Failure("timeout", "no answer in 30 s"))
    for rollout in (good, bad):
        await store.add_rollout(run, rollout, "validation")
    words = Verdict("exact", good.id, 0.0, explanation="expected `shipping`", usage=Usage(calls=3))
    await store.add_verdicts(run, [words, Verdict("tone", good.id, error=Failure("unparseable", "no score"))])
    await store.add_event(run, "started", {"rows": 2})
    await store.read_test(run, "final")
    return run


@pytest.fixture
def run(store: Store) -> str:
    return asyncio.run(write_run(store))


def test_a_run_that_goes_on(store: Store, run: str) -> None:
    with store.lock_run(run):
        found = report.load_run(store)
    assert (found.id, found.summary.state, found.result) == (run, "running", None)
    assert found.baseline == SEED.digest
    assert found.best == RULED.digest, "a gate makes no incumbent, a race does"
    assert [candidate.number for candidate in found.candidates] == [0, 1, 2, 3]
    assert [candidate.outcome for candidate in found.candidates] == [None, "accepted", "rejected", "accepted"]
    assert found.candidates[1].rules == RULED.rules
    assert found.usage == {"task": Usage(calls=1), "judge": Usage(calls=3), "meta": Usage(calls=6)}
    assert [(event.id, event.kind, event.body) for event in found.events] == [(1, "started", {"rows": 2})]
    assert (found.test_reads, found.summary.decision, found.summary.delta) == (1, None, None)


def test_a_run_that_no_process_has_was_killed(store: Store, run: str) -> None:
    assert report.load_run(store).summary.state == "killed"
    assert report.overview(store, run).standing == "killed"
    [listed] = report.list_runs(store)
    with store.lock_run(run):
        assert (listed.state, report.list_runs(store)[0].state) == ("killed", "running")


def test_a_failure_is_counted_and_is_no_score(store: Store, run: str) -> None:
    """Invariant 4."""
    baseline = report.load_run(store, run).candidates[0]
    assert [(row.judge, row.mean, row.n, row.unscored) for row in baseline.scores] == [
        ("exact", 0.0, 1, 0),
        ("tone", None, 0, 1),
    ]
    assert [(row.rollouts, row.failed) for row in baseline.failures] == [(2, 1)]


def test_a_run_that_is_finished(store: Store, run: str) -> None:
    asyncio.run(store.finish_run(run, "finished", "rounds", RESULT))
    found = report.load_run(store, run[:20])
    assert (found.baseline, found.best) == (SEED.digest, SHOWN.digest)
    assert found.usage["task"] == Usage(40, 2, 9, 8, 0, None)
    assert found.usage["meta"] == Usage()
    assert found.summary == report.list_runs(store)[0]
    assert (found.summary.decision, found.summary.delta) == ("improved", 0.6)
    assert (found.summary.baseline_score, found.summary.best_score) == (0.1, 0.7)


@pytest.mark.parametrize(
    ("version", "expected"),
    [("baseline", SEED), ("best", RULED), (2, OTHER), ("3", SHOWN), (SHOWN.digest[:6], SHOWN), (SEED.digest, SEED)],
)
def test_every_prompt_of_a_run_has_a_name(store: Store, run: str, version: str | int, expected: Prompt) -> None:
    assert report.prompt(store, run, version) == expected


def test_a_prompt_that_is_no_candidate_is_found_by_the_result(store: Store, run: str) -> None:
    pruned = Prompt.of("Pruned.")
    asyncio.run(store.finish_run(run, "finished", "", RESULT | {"best": {"digest": pruned.digest}}))
    with pytest.raises(UsageError, match="does not have its text"):
        report.prompt(store, run)
    asyncio.run(store.add_prompt(pruned))
    assert report.prompt(store, run) == pruned


def test_what_does_not_exist_is_answered_with_what_does(store: Store) -> None:
    with pytest.raises(UsageError, match="has no run yet: start one with `promptlearn run`"):
        report.load_run(store)
    runs = [asyncio.run(write_run(store)) for _ in range(2)]
    with pytest.raises(UsageError, match=f"has no run 'zzz': the newest are {runs[1]}, {runs[0]}; or say `latest`"):
        report.load_run(store, "zzz")
    with pytest.raises(UsageError, match=f"several runs begin with '0': {runs[1]}, {runs[0]}; give more"):
        report.load_run(store, "0")
    with pytest.raises(UsageError, match="has no prompt '9': there are baseline, best, 0, 1, 2 and 1 more"):
        report.prompt(store, runs[0], 9)
    with pytest.raises(UsageError, match="has no prompt ''"):
        report.prompt(store, runs[0], "")
    assert report.load_run(store, "latest").id == runs[1]


def test_a_version_is_found_without_adding_up(store: Store, run: str) -> None:
    assert report.locate(store, run[:20], "best") == report.Version(run, RULED.digest)
    assert report.locate(store, "latest", 3).digest == SHOWN.digest
    assert report.run_config(store, "latest") == {"prompt": "a.md"}
    with pytest.raises(UsageError, match="has no prompt '9': there are baseline"):
        report.locate(store, run, 9)


def test_what_each_prompt_cost(store: Store, run: str) -> None:
    baseline = report.load_run(store, run).candidates[0]
    assert [row.usage.calls for row in baseline.failures] == [1]
    assert {row.judge: row.usage.calls for row in baseline.scores} == {"exact": 3, "tone": 0}


def test_only_the_newest_runs_are_listed(store: Store) -> None:
    runs = [asyncio.run(store.start_run({}, digest, {}, 0)) for digest in ["d"] * 7 + [EVALUATION + "d"]]
    assert [one.id for one in report.list_runs(store, 2)] == runs[:-3:-1]
    assert len(report.list_runs(store)) == 8
    assert report.load_run(store).id == runs[-2], "the newest that learns"
    with pytest.raises(UsageError, match=f"several runs begin with '0': {', '.join(runs[:2:-1])} and older ones; give"):
        report.load_run(store, "0")
    with pytest.raises(UsageError, match=r"has no run '%': the newest are .* and older ones"):
        report.load_run(store, "%")


def test_the_latest_run_learns_the_user_s_prompt_and_no_judge_s(store: Store) -> None:
    aligns = {ALIGNS: "tone@1 openai/judge"}
    alone = asyncio.run(store.start_run(aligns, "a", {}, 0))
    assert report.load_run(store).id == alone
    measured = asyncio.run(store.start_run({"prompt": "a.md"}, EVALUATION + "d", {}, 0))
    asyncio.run(store.start_run(aligns, "a", {}, 0))
    assert report.load_run(store).id == measured
    learned = asyncio.run(store.start_run({"prompt": "a.md"}, "d", {}, 0))
    asyncio.run(store.start_run(aligns, "a", {}, 0))
    asyncio.run(store.start_run({"prompt": "a.md"}, EVALUATION + "d", {}, 0))
    assert report.load_run(store).id == learned
    assert [bool(one.aligns) for one in report.list_runs(store)] == [False, True, False, True, False, True]


def test_rows_come_with_the_words_of_their_verdicts(store: Store, run: str) -> None:
    """Invariants 4 and 11."""
    first, second = report.examples(store, run, "baseline")
    assert (first.id, first.output, first.expected) == ("e1", "I am sorry", "shipping")
    assert first.inputs == {"message": "where is my {parcel}?"}
    assert [(verdict.name, verdict.score) for verdict in first.verdicts] == [("exact", 0.0), ("tone", None)]
    assert first.verdicts[0].explanation == "expected `shipping`"
    assert second.error == Failure("timeout", "no answer in 30 s")
    assert (second.verdicts, second.inputs) == ((), {})
    assert report.examples(store, run, "baseline", "test") == []
    assert report.examples(store, run, "baseline", None) == [first, second]


def test_the_ancestors_of_a_prompt(store: Store, run: str) -> None:
    found = report.load_run(store, run)
    assert [step.number for step in report.lineage(found, 3)] == [0, 1, 3]
    assert [step.proposer for step in report.lineage(found, "baseline")] == ["baseline"]


def test_what_changed_between_two_prompts(store: Store, run: str) -> None:
    assert report.diff(store, run, "baseline", "best") == (
        "--- baseline\n+++ best\n@@ -1 +1,4 @@\n Name the label of {message}.\n"
        "+\n+Rules:\n+- A lost parcel is `shipping`.\n\\ No newline at end of file\n"
    )
    assert report.diff(store, run, "best", "best") == ""
    assert "+[example]\n+message: hi\n+Answer: other\n" in report.diff(store, run, 1, 3)


def test_a_document_says_everything_that_a_prompt_says() -> None:
    chat = replace(SHOWN, messages=(*SEED.messages, Message("user", "Now: {message}")))
    assert report.as_document(chat) == (
        "[system]\nName the label of {message}.\n\nRules:\n- A lost parcel is `shipping`.\n\n"
        "[user]\nNow: {message}\n\n[example]\nmessage: hi\nAnswer: other\n"
    )
    around = replace(SEED, layout=Layout("text", "before\n", "after"))
    assert report.as_document(around) == "before\nName the label of {message}.\nafter"


PIECES = ["a\n", "b\n", "c\r\n", "d\u2028\n", "\x0b", "{x}", "\n", "$"]
documents = st.lists(st.sampled_from(PIECES), max_size=4).map("".join)
"""Short enough that a diff shows every line."""


def side(diff: str, sign: str) -> str:
    """One of the two texts that a diff of all lines was made from."""
    text, taken = "", False
    for line in diff.split("\n")[3:-1]:
        if line.startswith("\\"):
            text = text[:-1] if taken else text
        else:
            taken = line[0] in (" ", sign)
            text += f"{line[1:]}\n" if taken else ""
    return text


@given(documents, documents)
def test_a_diff_holds_both_texts(a: str, b: str) -> None:
    """Invariant 12: no line end is lost or made."""
    diff = report.unified_diff(a, b)
    assert (diff == "") == (a == b)
    if diff:
        assert (side(diff, "-"), side(diff, "+")) == (a, b)


async def test_what_proposers_earned_is_read_from_runs_of_older_versions_too(store: Store) -> None:
    run = await store.start_run({}, "old", {}, seed=0)
    row = {"proposer": "edit", "drafts": 3, "candidates": 2, "gain": 0.2, "calls": 60, "usd": None, "rate": 0.4}
    await store.add_event(run, "credit", {"number": 1, "per": "100 calls", "proposers": [row]})
    await store.add_event(run, "credit", {"number": 2, "per": "100 calls", "proposers": [row, row | {"rate": 0.9}]})
    earned = report.earnings(report.load_run(store, run).events)
    assert [(one.rate, one.drafts, one.asked) for one in earned] == [(0.9, 3, None), (0.4, 3, None)]
