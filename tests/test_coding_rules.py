"""The example that learns a repository's rules: its parts open, and it learns what it should."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from promptlearn.assembly import assemble
from promptlearn.cli.main import execute
from promptlearn.config import load_config
from promptlearn.dataset import find_leaks
from promptlearn.job import Job, check_job
from promptlearn.reviews import load_reviews, usable

FOLDER = Path(__file__).parents[1] / "examples/coding_rules"
WORTH_HAVING = ("`print`", "Type hints", "`ValueError`", "whole cents", "a test of its own", "utf-8")
WORTH_NOTHING = ("return None", "Short functions", "delete the failing tests", "Nice one")


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Job]:
    opened = assemble(load_config(FOLDER / "promptlearn.yaml"), store=tmp_path / "store.db")
    yield opened
    opened.store.close()


def test_its_parts_open_and_its_splits_do_not_leak(job: Job) -> None:
    check_job(job)
    assert job.file is not None
    assert job.file.format == "block"
    assert find_leaks(job.dataset) == []
    assert len(job.dataset.test) >= 20


def test_no_task_and_no_seed_tells_a_rule(job: Job) -> None:
    words = " ".join(str(example.inputs["task"]) for example in job.dataset.examples) + job.prompt.text
    for said in ("print(", "logging", "hint", "ValueError", "cents", "utf-8", "None"):
        assert said not in words


def test_its_reviews_are_of_every_kind() -> None:
    reviews = load_reviews(FOLDER / "review.json")
    approved = " ".join(review.body for review in usable(reviews))
    assert len(usable(reviews)) == 8
    assert all(words in approved for words in (*WORTH_HAVING, *WORTH_NOTHING[:2]))
    assert not any(words in approved for words in WORTH_NOTHING[2:])


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_it_learns_the_rules_that_are_worth_having_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "coding_rules"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns(".promptlearn", "__pycache__"))
    monkeypatch.chdir(folder)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert execute(["run", "--json", "-q"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["decision"] == "improved"
    assert result["baseline"]["test"]["score"] < 0.2
    assert result["best"]["test"]["score"] > 0.7
    assert execute(["show", "--prompt"]) == 0
    learned = capsys.readouterr().out
    assert all(words in learned for words in WORTH_HAVING)
    assert not any(words in learned for words in WORTH_NOTHING)
    assert {path: path.read_bytes() for path in before} == before
    assert execute(["run", "--json", "-q"]) == 0  # again: everything from the journal
    again = json.loads(capsys.readouterr().out)
    assert (again["usage"]["task"]["calls"], again["best"]["test"]) == (0, result["best"]["test"])
