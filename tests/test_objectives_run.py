"""Runs with several objectives: what is chosen, what is proven, and what reports show of it."""

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import synthetic
from typer.testing import CliRunner

import promptlearn
from promptlearn import Budget, RunResult
from promptlearn.cli.main import app
from promptlearn.config import ObjectiveConfig
from promptlearn.errors import ConfigError
from promptlearn.handout import as_document, as_html, as_markdown, handout
from promptlearn.judging import Contains
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing.base import Brief
from promptlearn.records import Candidate, Draft, Failure, Message, Prompt, Rollout, Usage
from promptlearn.report import load_run, tradeoffs
from promptlearn.store import open_store

RULES = " ".join(f"A {topic} is {tag}." for topic, tag in synthetic.TAGS.items())
WORDY = f"{synthetic.SEED} {RULES}"
BRIEF = f"{synthetic.SEED} {RULES} Answer with the tag alone, and leave out whatever else comes to your mind."


def answer(messages: Sequence[Message]) -> str:
    """The tag, in many words unless the prompt asks for few; the seed knows all tags but one."""
    taught, asked = messages[0].content, messages[-1].content
    topic = synthetic.topic_of(asked)
    if topic is None or (topic == "jacket" and topic not in taught):
        return "Who knows?" * 20
    tag = synthetic.TAGS[topic]
    return tag if "tag alone" in taught else f"{tag}, and thank you very much for your kind message! " * 5


class Both:
    """Proposes the wordy and the brief prompt."""

    name = "both"

    async def propose(self, brief: Brief, count: int) -> list[Draft]:
        return [Draft(brief.parent.with_text(text)) for text in (WORDY, BRIEF)]

    async def repair(self, brief: Brief, draft: Draft, violations: Sequence[str]) -> Draft | None:
        return None


def learn(store: Path, *objectives: str | ObjectiveConfig, **changes: Any) -> RunResult:
    arguments: dict[str, Any] = {
        "task": ScriptedModel(answer, identity="wordy"),
        "judges": [Contains()],
        "inputs": ["message"],
        "expected": "tag",
        "proposers": [Both()],
        "budget": Budget(task_calls=2000),
        "rounds": 1,
        "store": store / "store.db",
        "objectives": objectives,
    }
    return promptlearn.optimize(synthetic.SEED, synthetic.rows(240), **(arguments | changes))


def test_among_equals_the_next_objective_chooses(tmp_path: Path) -> None:
    plain, brief = learn(tmp_path / "a"), learn(tmp_path / "b", "length")
    assert plain.decision == brief.decision == "improved"
    assert plain.prompt.text == WORDY
    assert plain.objectives == ()
    assert brief.prompt.text == BRIEF
    [quality, length] = brief.objectives
    assert (quality.name, quality.verdict) == ("quality", "better")
    assert (length.name, length.better, length.verdict) == ("length", "lower", "better")
    assert length.delta is not None
    assert length.delta.score < -100


def rarely_wrong() -> list[dict[str, str]]:
    """Rows of which the seed gets so few wrong that no gain in quality could be proven."""
    rows = synthetic.rows(240)
    wrong = [row for row in rows if row["tag"] == "returns"][:14]
    return [row for row in rows if row["tag"] != "returns" or row in wrong]


def learn_rare(store: Path, *objectives: ObjectiveConfig, concurrency: int = 16) -> RunResult:
    return promptlearn.optimize(
        synthetic.SEED,
        rarely_wrong(),
        task=ScriptedModel(answer, identity="wordy"),
        judges=[Contains()],
        inputs=["message"],
        expected="tag",
        proposers=[Both()],
        budget=Budget(task_calls=2000),
        rounds=4,
        minibatch=32,
        store=store,
        objectives=objectives,
        concurrency=concurrency,
    )


def test_an_objective_that_leads_is_what_has_to_be_proven(tmp_path: Path) -> None:
    """Invariant 7: a prompt that is only shorter ships where the configuration says that this is what counts."""
    assert learn_rare(tmp_path / "plain.db").decision == "not_proven"
    found = []
    for concurrency in (1, 16):  # invariant 8: the same choice at any concurrency
        leads = [ObjectiveConfig(name="length"), ObjectiveConfig(name="quality", may_lose=0.01)]
        result = learn_rare(tmp_path / f"{concurrency}.db", *leads, concurrency=concurrency)
        assert result.decision == "improved"
        assert result.prompt.text == BRIEF
        assert result.objectives[0].verdict == "better"
        with open_store(tmp_path / f"{concurrency}.db") as store:
            report = load_run(store, result.run_id)
        assert report.best == result.best_digest
        [taken] = [one for candidate in report.candidates for one in candidate.decisions if one.outcome == "accepted"]
        assert taken.stage == "race"
        assert "better by length, 2" in taken.reason
        assert taken.difference is not None
        assert "quality changes by" in taken.reason
        found.append((taken, result.best_digest))
    assert found[0] == found[1]


def test_what_was_to_be_proven_is_named_where_it_was_not_quality(tmp_path: Path) -> None:
    store = tmp_path / "store.db"
    result = learn(tmp_path, "length", ObjectiveConfig(name="quality", may_lose=0.02))
    old, new = (f"{value:.4g}" for value in (result.objectives[0].baseline, result.objectives[0].challenger))
    shown = CliRunner().invoke(app, ["show", "--store", str(store)])
    assert f"improved: length, characters {old} → {new}; test score" in shown.output
    with open_store(store) as opened:
        assert f"Objective to prove: length, characters {old} → {new}. Mean score" in handout(opened).scores
    learn(tmp_path / "plain")
    assert "to prove" not in CliRunner().invoke(app, ["show", "--store", str(tmp_path / "plain" / "store.db")]).output


def test_a_bound_that_is_not_kept_ships_nothing(tmp_path: Path) -> None:
    result = learn(tmp_path, ObjectiveConfig(name="length", at_most=2))
    assert result.decision == "not_proven"
    assert result.prompt.text == synthetic.SEED
    assert any("length is" in warning and "at most 2 is allowed" in warning for warning in result.warnings)


def test_an_unknown_objective_is_refused_before_the_first_call(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'tone' can not be one; possible: quality, cost"):
        learn(tmp_path, "tone")
    with pytest.raises(ConfigError, match="how much quality may be lost"):
        learn(tmp_path, "length", "quality")


def test_reports_show_the_front(tmp_path: Path) -> None:
    result = learn(tmp_path, "length", "contains")
    with open_store(tmp_path / "store.db") as store:
        found = tradeoffs(store, result.run_id)
        told = handout(store, result.run_id)
    assert [one.name for one in found.objectives] == ["quality", "length", "contains"]
    by_role = {one.role: one for one in found.standings}
    assert by_role["best"].on_front
    assert not by_role["baseline"].on_front
    best, baseline = by_role["best"].figures, by_role["baseline"].figures
    assert best[0].mean == 1.0
    assert best[1].mean is not None
    assert best[1].mean < 10
    assert baseline[1].ci95 is not None
    assert best[2].mean == best[0].mean  # the judge's own name
    markdown, page, document = as_markdown(told), as_html(told), as_document(told)
    assert "### Trade-offs" in markdown
    assert "| front |" in markdown
    assert "<h2>Trade-offs</h2>" in page
    assert document["tradeoffs"]["test"][1]["verdict"] == "better"
    json.dumps(document)


def test_show_pareto_prints_what_is_known_and_says_what_decided(tmp_path: Path) -> None:
    learn(tmp_path)
    store = ["--store", str(tmp_path / "store.db")]
    shown = CliRunner().invoke(app, ["show", "--pareto", *store])
    assert shown.exit_code == 0, shown.output
    assert "quality ↑" in shown.output
    assert "latency, s ↓" in shown.output
    assert "cost, US$ ↓" in shown.output
    assert "unknown" in shown.output  # nobody measured how long a script takes
    assert "quality alone decided" in shown.output
    document = json.loads(CliRunner().invoke(app, ["show", "--pareto", "--json", *store]).output)
    assert document["configured"] is False
    assert {one["role"] for one in document["standings"]} >= {"baseline", "best"}


def test_nobody_is_on_the_front_by_failing_and_what_is_unknown_stands_last(tmp_path: Path) -> None:
    """Invariant 4."""
    dearest: dict[str, Any] = {"objectives": [{"name": "cost"}, {"name": "quality", "may_lose": 0.1}]}
    names = ("steady", "failing", "unpriced")
    prompts = {name: Prompt.of(name) for name in names}

    async def seeded() -> str:
        with open_store(tmp_path / "store.db") as store:
            run = await store.start_run(dearest, "digest", {}, 0)
            for number, name in enumerate(names):
                await store.add_candidate(run, Candidate(prompts[name], (), "edit"), number)
                for row in range(20):
                    fails = name == "failing" and row >= 15
                    cost = None if name == "unpriced" else 0.002
                    rollout = Rollout(
                        prompts[name].digest, f"e{row}", "x", usage=Usage(calls=1, cost_usd=cost),
                        error=Failure("timeout", "late") if fails else None,
                    )  # fmt: skip
                    score = None if fails else 1.0 if name == "failing" else 0.9
                    await store.add_row(run, rollout, (), "validation", score)
            return run

    run = asyncio.run(seeded())
    with open_store(tmp_path / "store.db") as store:
        found = tradeoffs(store, run)
    shown = CliRunner().invoke(app, ["show", run, "--pareto", "--store", str(tmp_path / "store.db")]).output
    by_digest = {one.digest: one for one in found.standings}
    failing, steady = by_digest[prompts["failing"].digest], by_digest[prompts["steady"].digest]
    assert (failing.figures[1].mean, failing.figures[1].n, failing.on_front) == (1.0, 15, False)
    assert steady.on_front
    assert [one.digest for one in found.standings if one.on_front][-1] == prompts["unpriced"].digest
    assert "n=15)" in shown
    assert "n=20" not in shown
