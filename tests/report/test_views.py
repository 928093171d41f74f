"""Each view of a run, on stores as runs leave them."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from seeded_store import BASELINE, BEST, KINDS, RULED, Kind, improved, seed, working

from promptlearn import report
from promptlearn.errors import UsageError
from promptlearn.records import Verdict
from promptlearn.report.bands import band
from promptlearn.report.comparing import BreakEven, break_even
from promptlearn.report.specialists import specialists
from promptlearn.selection.stats import mean_interval
from promptlearn.store import Store, open_store
from promptlearn.store.request_rows import TotalRow


@pytest.fixture
def run(tmp_path: Path) -> str:
    return seed("improved", tmp_path)[1]


@pytest.fixture
def store(tmp_path: Path, run: str) -> Iterator[Store]:
    with open_store(tmp_path / "store.db", create=False) as opened:
        yield opened


def test_every_score_of_a_run_stands_with_its_band(store: Store, run: str) -> None:
    points = report.overview(store, run).points
    assert [(one.step, one.number, one.outcome) for one in points] == [
        (0, 0, "baseline"),
        (1, 1, "accepted"),
        (2, 2, "rejected"),
        (3, 3, "accepted"),
    ]
    first = points[0].validation
    assert first is not None
    assert first.mean == pytest.approx(8 / 19)
    assert (first.n, first.not_judged) == (19, 1), "invariant 4"
    assert 0 < first.low < 8 / 19 < first.high < 1
    assert [one.incumbent.mean for one in points if one.incumbent] == pytest.approx([8 / 19, 12 / 19, 12 / 19, 15 / 19])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=60))
def test_a_band_of_zeros_and_ones_is_wilsons(scores: list[float]) -> None:
    found = band(TotalRow("p", "test", len(scores), 0, len(scores), sum(scores), sum(scores)))
    exact = mean_interval(scores)
    assert [found.low, found.high] == pytest.approx([exact.low, exact.high], abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=60))
def test_a_band_holds_its_mean(scores: list[float]) -> None:
    found = band(TotalRow("p", "test", len(scores), 0, len(scores), sum(scores), sum(s * s for s in scores)))
    assert found.mean is not None
    assert 0 <= found.low <= found.mean + 1e-9
    assert found.mean - 1e-9 <= found.high <= 1


def test_what_is_spent_stands_beside_what_may_be(store: Store, run: str) -> None:
    found = report.overview(store, run)
    assert [(line.name, line.spent, line.cap) for line in found.budget] == [
        ("task_calls", 94, 400),
        ("minutes", 1.5, 30.0),
    ]
    assert found.cost_usd == pytest.approx(0.046)
    assert (found.standing, found.live, found.activity, found.rows_per_second) == ("finished", False, "", None)
    assert found.latest_rule.startswith("An invoice")


def test_a_run_says_itself_how_it_is_getting_on(tmp_path: Path) -> None:
    path, run = seed("running", tmp_path)
    with open_store(path) as store:
        assert report.overview(store, run).standing == "killed", "nobody has its lock"
        with working(store, run):
            found = report.overview(store, run)
            assert (found.standing, found.live, found.in_flight, found.rows_per_second) == ("running", True, 8, 4.5)
            assert found.activity == "round 2: criticising a parent"
            assert next(line.spent for line in found.budget if line.name == "task_calls") == 120
        with working(store, run, paused=True):
            assert report.overview(store, run).standing == "paused"
        assert report.events(store, run, found.last_event) == []
        assert [event.kind for event in report.events(store, run, 1)] == ["round", "round"]


def test_the_family_of_a_run(store: Store, run: str) -> None:
    found = report.family(store, run)
    assert [(node.number, node.generation, node.outcome, node.is_best) for node in found.nodes] == [
        (0, 0, "", False),
        (1, 1, "accepted", False),
        (2, 2, "rejected", False),
        (3, 3, "accepted", True),
    ]
    assert [(edge.parent, edge.child) for edge in found.edges] == [(0, 1), (1, 2), (2, 3)]


def test_a_page_of_examples(store: Store, run: str) -> None:
    everything = report.matrix(store, run, ("baseline", 1, "best"))
    assert everything.digests == (BASELINE.digest, RULED.digest, BEST.digest)
    assert everything.counts == {"improved": 7, "regressed": 0, "unchanged": 12, "not_judged": 1, "not_run": 0}
    pages = [report.matrix(store, run, ("baseline", 1, "best"), offset=at, limit=7) for at in (0, 7, 14)]
    assert [row for page in pages for row in page.rows] == list(everything.rows)
    assert [page.has_more for page in pages] == [True, True, False]
    better = report.matrix(store, run, change="improved").rows
    assert {row.change for row in better} == {"improved"}
    assert len(better) == 7
    assert [row.example for row in report.matrix(store, run, contains="ticket 13 ").rows] == ["v13"]
    assert report.matrix(store, run, contains="100%").rows == ()
    assert report.matrix(store, run, split=None).counts["improved"] == sum(
        report.matrix(store, run, split=split).counts["improved"] for split in ("train", "validation", "test")
    )


def test_one_example_with_everything_that_was_said(store: Store, run: str) -> None:
    found = report.example_detail(store, run, "v1")
    assert found.rollout is not None
    assert found.rollout.turns[0].tool_calls[0].name == "find_parcel"
    assert [(verdict.name, verdict.score) for verdict in found.verdicts] == [("exact", 1.0), ("tone", 1.0)]
    assert [(label.name, label.score, label.kind) for label in found.labels] == [("human:ana@tone", 0.0, "human")]
    assert [attempt.number for attempt in found.history] == [0, 1, 2, 3]
    assert found.score == 1.0, "a person's label is no part of what the judges gave"
    with pytest.raises(UsageError, match="has no example 'nope'"):
        report.example_detail(store, run, "nope")


def test_a_label_is_no_verdict_of_a_judge(store: Store, run: str) -> None:
    rows = report.examples(store, run, "best")
    assert {verdict.name for row in rows for verdict in row.verdicts} == {"exact", "tone"}
    scored = [score.judge for one in report.load_run(store, run).candidates for score in one.scores]
    assert set(scored) == {"exact", "tone"}


def test_failures_and_what_answered_them(store: Store, run: str) -> None:
    found = report.failure_modes(store, run, "baseline", "train")
    assert found.failing == 6
    [one] = found.modes
    assert len(one.mode.examples) == 6
    assert one.mode.evidence
    assert [part.kind for part in one.answered_by] == ["demonstration"], "it was taken from one of them"
    assert one.rerun == 6
    assert one.fixed > 0
    assert report.critiques(store, run)[0].titles == ("exact: wrong label (6)",)


def test_judges_beside_each_other_and_beside_people(store: Store, run: str) -> None:
    exact, tone = report.judges(store, run)
    assert (exact.name, exact.errors, exact.labelled, exact.agreement) == ("exact", 0, 0, None)
    assert (tone.name, tone.errors, tone.labelled, tone.agreement) == ("tone", 10, 1, 0.0)
    assert {one.skipped for one in tone.by_version} == {0}
    assert {one.pass_rate for one in tone.by_version} == {1.0}, "of what it judged"
    unjudged = report.judge_errors(store, run, "tone")
    assert {verdict.error.kind for verdict in unjudged if verdict.error} == {"unparseable"}
    apart = report.disagreements(store, run, "baseline")
    assert {(one.first.name, one.second.name) for one in apart} == {("exact", "tone")}
    assert all(abs((one.first.score or 0) - (one.second.score or 0)) >= 0.5 for one in apart)
    people = report.disagreements(store, run, with_people=True)
    assert {(one.first.name, one.second.name, one.example) for one in people} == {
        ("tone", "human:ana@tone", "v1"),
    }


def test_remarks_with_their_trust_and_what_became_of_them(store: Store, run: str) -> None:
    found = report.remarks(store)
    assert found.counts == {"pending": 2, "approved": 1, "dismissed": 0}
    stranger, waiting, learned = found.items
    assert (stranger.trusted, stranger.distrust, stranger.usable) == (False, "no write permission", False)
    assert (waiting.state, waiting.became) == ("pending", ())
    assert [(one.run, one.rule[:10]) for one in learned.became] == [(run, "An invoice")]
    assert (learned.decided_by, learned.note, learned.usable) == ("ana", "agreed", True)
    assert [remark.ref for remark in report.remarks(store, "pending", offset=1).items] == [waiting.ref]
    assert [event.kind for event in report.remark_history(store, learned.ref)] == ["approved"]


async def test_runs_are_compared_on_the_examples_they_share(store: Store, run: str) -> None:
    other = await improved(store)
    found = report.compare_runs(store, [run, other])
    [pair] = found.pairs
    assert (pair.n, pair.difference, pair.better, pair.worse) == (19, 0.0, 0, 0)
    curve = found.arms[0].curve
    assert [point.number for point in curve] == [0, 1, 3]
    assert [point.calls for point in curve] == sorted(point.calls for point in curve)
    with pytest.raises(UsageError, match="two runs at least"):
        report.compare_runs(store, [run, run])


def test_which_run_is_best_at_what() -> None:
    rows: dict[str, dict[str, Any]] = {
        **{f"s{n}": {"domain": "shipping"} for n in range(3)},
        **{f"b{n}": {"domain": "billing"} for n in range(2)},
        "unshared": {"domain": "other"},
    }
    first = {"s0": 1.0, "s1": 1.0, "s2": 1.0, "b0": 0.0, "b1": 0.0, "unshared": 1.0}
    second = {"s0": 1.0, "s1": 0.0, "s2": 0.0, "b0": 1.0, "b1": 0.0, "unshared": None}
    found = specialists([first, second], rows)
    assert (found.by, found.n, found.alone) == ("domain", 5, (2, 1))
    assert [(kind.name, kind.n, kind.winner) for kind in found.kinds] == [("shipping", 3, 0), ("billing", 2, 1)]
    assert list(found.kinds[0].means) == pytest.approx([1, 1 / 3])
    labelled: dict[str, dict[str, Any]] = {id_: {"expected": id_[0]} for id_ in first}
    assert specialists([first, second], labelled).by == "right answer"
    assert specialists([first, second], {}).kinds == ()
    assert specialists([first, {}], rows).n == 0


async def test_cheaper_answers_pay_for_learning_after_a_while(store: Store, run: str) -> None:
    other = await improved(store)
    one, two = report.compare_runs(store, [run, other]).arms
    assert break_even(one, two) is None, "an answer costs the same"
    cheap = replace(two, usage=replace(two.usage, cost_usd=1.046), answer=replace(two.answer, cost_usd=0.00005))
    found = break_even(one, cheap)
    assert found == break_even(cheap, one)
    assert found == BreakEven(other, run, 20_000, "dollars")
    unpriced = replace(cheap, usage=replace(cheap.usage, cost_usd=None), answer=replace(cheap.answer, input_tokens=0))
    assert break_even(one, unpriced) == BreakEven(other, run, 0, "tokens")


def test_a_set_up_says_whether_keys_are_there_and_shows_none(
    store: Store, run: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 10."""
    assert report.setup(store, run).models[1].key_is_set is False
    monkeypatch.setenv("PROMPTLEARN_TEST_KEY", "sk-very-secret-1")
    found = report.setup(store, run)
    assert found.models[1].key_is_set is True
    assert "very-secret" not in repr(found)


def test_sides_tell_both_texts(store: Store, run: str) -> None:
    lines = report.side_by_side(store, run)
    assert "\n".join(line.old for line in lines if line.old_number) + "\n" == report.as_document(BASELINE)
    assert {line.kind for line in lines} <= {"same", "changed", "added", "removed"}


@settings(deadline=None, max_examples=30)
@given(st.text("ab\n", max_size=30), st.text("ab\n", max_size=30))
def test_side_by_side_loses_no_line(old: str, new: str) -> None:
    lines = report.sides(old, new)
    assert [line.old_number for line in lines if line.old_number] == list(
        range(1, 1 + sum(line.old_number is not None for line in lines))
    )
    assert "\n".join(line.new for line in lines if line.new_number is not None) in (new, new.removesuffix("\n"))


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_every_view_of_every_store(kind: Kind, tmp_path: Path) -> None:
    path, run = seed(kind, tmp_path)
    with open_store(path) as store:
        assert report.remarks(store).offset == 0
        if not run:
            with pytest.raises(UsageError, match="no run yet"):
                report.overview(store)
            return
        assert report.overview(store, run).summary.id == run
        assert report.family(store, run).nodes[0].is_baseline
        assert report.matrix(store, run).rows
        assert report.failure_modes(store, run).run == run
        assert isinstance(report.judges(store, run), tuple)
        assert all(isinstance(verdict, Verdict) for verdict in report.judge_errors(store, run, "tone"))
        assert report.parts(store, run) is not None
