"""Searches in which another objective than quality leads: what they find, and what they say of it."""

from pathlib import Path
from random import Random
from typing import Any

import pytest
import synthetic
from typer.testing import CliRunner

import promptlearn
from promptlearn import Budget, RunResult
from promptlearn.cli.main import app
from promptlearn.config import ObjectiveConfig
from promptlearn.judging import Contains
from promptlearn.models.scripted import ScriptedModel
from promptlearn.proposing import Brief, open_proposer
from promptlearn.records import Prompt
from promptlearn.report import load_run
from promptlearn.store import open_store
from promptlearn.tokens import estimate_tokens

NEEDED = [f"A message about a {topic} is {tag}." for topic, tag in synthetic.TAGS.items()]
IDLE = [
    "We have been in business for many years, and our customers value us for our patience and our good humour.",
    "Remember that every message was written by a person who took the time to tell us something.",
    "Our founder always said that a shop is only as good as its last conversation.",
    "Think about the weather, the season and the mood of the day before you begin.",
    "There is no need to hurry, and there is no need to be slow either.",
    "Many teams have worked on these instructions, and each of them has left its mark.",
    "The office is closed on public holidays, and the canteen opens at noon.",
    "A good answer is like a good cup of tea: neither too hot nor too cold.",
    "If you were a colour, you would be a calm one.",
    "Keep in mind that these instructions were printed on recycled paper.",
]
LEADS = (ObjectiveConfig(name="tokens"), ObjectiveConfig(name="quality", may_lose=0.01))


def swollen(seed: int) -> str:
    """What is needed, in the midst of what is not."""
    lines = [*NEEDED, *IDLE]
    Random(seed).shuffle(lines)
    return "\n".join([synthetic.SEED, *lines])


def learn(store: Path, seed: int, *objectives: ObjectiveConfig, **changes: Any) -> RunResult:
    arguments: dict[str, Any] = {
        "task": ScriptedModel(synthetic.answer, identity="swollen"),
        "judges": [Contains()],
        "inputs": ["message"],
        "expected": "tag",
        "budget": Budget(task_calls=1500),
        "rounds": 12,
        "patience": 6,
        "seed": seed,
        "store": store,
        "objectives": objectives,
    }
    return promptlearn.optimize(swollen(seed), synthetic.rows(240), **(arguments | changes))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
def test_a_search_led_by_tokens_finds_a_short_prompt_of_equal_quality(tmp_path: Path, seed: int) -> None:
    result = learn(tmp_path / "store.db", seed, *LEADS)
    assert result.decision == "improved"
    old, new = swollen(seed), result.prompt.learned_text()
    assert estimate_tokens(new) <= 0.6 * estimate_tokens(old)
    assert result.best.score == result.baseline.score == 1.0


def test_with_quality_first_nothing_is_proposed_where_nothing_is_wrong(tmp_path: Path) -> None:
    result = learn(tmp_path / "store.db", 0, ObjectiveConfig(name="quality"), ObjectiveConfig(name="tokens"))
    assert result.decision == "not_proven"
    assert result.prompt.text == swollen(0)
    assert result.candidates.proposed == 0


def test_a_search_in_pursuit_decides_the_same_at_any_concurrency(tmp_path: Path) -> None:
    """Invariant 8."""
    found = []
    for concurrency in (1, 16):
        path = tmp_path / f"{concurrency}.db"
        result = learn(path, 1, *LEADS, concurrency=concurrency, rounds=4)
        with open_store(path) as store:
            taken = [one for each in load_run(store, result.run_id).candidates for one in each.decisions]
        found.append((result.best_digest, taken))
    assert found[0] == found[1]


def test_decisions_say_what_was_gained_and_claim_nothing_of_quality(tmp_path: Path) -> None:
    """Invariant 7."""
    result = learn(tmp_path / "store.db", 0, *LEADS, rounds=3)
    with open_store(tmp_path / "store.db") as store:
        taken = [one for each in load_run(store, result.run_id).candidates for one in each.decisions]
    accepted = [one for one in taken if one.stage == "race" and one.outcome == "accepted"]
    assert accepted
    for one in accepted:
        assert one.difference == 0.0
        assert one.reason.startswith("better by tokens, ")
        assert "quality changes by +0.000, as measured on all rows it loses no more than 0.01" in one.reason
    assert any(one.stage == "gate" and "and 0.01 may be lost" in one.reason for one in taken)
    shown = CliRunner().invoke(app, ["show", "--store", str(tmp_path / "store.db")])
    assert shown.exit_code == 0, shown.output


async def test_a_model_is_told_what_counts_only_where_quality_does_not_lead() -> None:
    reply = "<rationale>shorter</rationale><prompt>\nAnswer with the tag of the message alone.\n</prompt>"
    for wish in ("", "The prompt must become shorter."):
        model = ScriptedModel(lambda messages: reply, identity="writer")
        drafts = await open_proposer("rewrite", model=model).propose(Brief(Prompt.of(swollen(0)), (), wish=wish), 1)
        assert len(drafts) == len(model.calls) == bool(wish)
        if wish:
            asked = model.calls[0].messages[-1].content
            assert f"This counts most now:\n\n{wish}" in asked
            assert "mistakes:" not in asked
