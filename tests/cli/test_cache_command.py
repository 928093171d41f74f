"""`cache ls`, `prune` and `clear`: what they say, what they ask, and what they refuse."""

import asyncio
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from promptlearn.cli.cache import as_bytes, as_size
from promptlearn.cli.main import execute
from promptlearn.errors import UsageError
from promptlearn.store import open_store


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store with three replies, named by a configuration that is not finished yet."""
    monkeypatch.chdir(tmp_path)

    async def fill() -> None:
        with open_store(tmp_path / "own.db") as store:
            for number, model in enumerate(("openai/a", "openai/a", "openai/b")):
                usage = {"input_tokens": 100, "output_tokens": 5, "cost_usd": 0.25}
                await store.journal.record(f"{number}", model, {}, {"text": "x" * 1000, "usage": usage})

    asyncio.run(fill())
    (tmp_path / "promptlearn.yaml").write_text("store: own.db\nnonsense: 1\n")
    return tmp_path / "own.db"


def begin_run(store: Path, state: str) -> str:
    async def begin() -> str:
        with open_store(store) as opened:
            run = await opened.start_run({}, "digest", {}, 0)
            await opened.finish_run(run, state, "")  # type: ignore[arg-type]
            return run

    return asyncio.run(begin())


def document(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    execute([*arguments, "--json"])
    return json.loads(capsys.readouterr().out)


def test_ls_shows_each_model(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["cache", "ls"]) == 0
    out = capsys.readouterr().out
    assert "openai/a" in out
    assert "$0.5000" in out
    assert f"store: {kept}" in out
    found = document(capsys, "cache", "ls")
    assert [(one["model"], one["replies"], one["cost_usd"]) for one in found["models"]] == [
        ("openai/a", 2, 0.5),
        ("openai/b", 1, 0.25),
    ]
    assert found["store_bytes"] > sum(one["bytes"] for one in found["models"]) > 3000


def test_a_dry_run_removes_nothing(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin_run(kept, "budget")
    assert execute(["cache", "prune", "--model", "openai/a", "--dry-run"]) == 0
    said = capsys.readouterr()
    assert said.out == "would remove 2 replies (2.2 kB, 210 tokens for $0.5000)\n"
    assert f"{run} can still go on, and would pay again" in said.err
    found = document(capsys, "cache", "clear", "--dry-run")
    assert (found["replies"], found["dry_run"], found["unfinished_runs"]) == (3, True, [run])
    assert len(document(capsys, "cache", "ls")["models"]) == 2


def test_prune_removes_what_was_named(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["cache", "prune", "--model", "openai/a", "--max-size", "1.2kB", "--older-than", "0m", "--yes"]) == 0
    assert "removed 1 reply (1.1 kB, 105 tokens for $0.2500)" in capsys.readouterr().out
    assert [one["replies"] for one in document(capsys, "cache", "ls")["models"]] == [1, 1]
    assert execute(["cache", "prune", "--older-than", "1d", "--yes"]) == 0
    assert "there is nothing to remove" in capsys.readouterr().out


def test_clear_removes_everything(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = document(capsys, "cache", "clear", "--yes")
    assert (found["replies"], found["dry_run"]) == (3, False)
    assert document(capsys, "cache", "ls")["models"] == []
    execute(["cache", "ls"])
    assert "no reply is kept yet" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prune"], "say what to remove: --older-than 30d, --model NAME or --max-size 500MB"),
        (["prune", "--older-than", "soon"], "'soon' is no age: write a whole number and m, h, d or w, such as 30d"),
        (["prune", "--older-than", "9999999w"], "longer ago than any reply"),
        (["prune", "--older-than", "9" * 20 + "w"], "longer ago than any reply"),
        (["prune", "--max-size", "1XB"], "'1XB' is no size: write a number and kB, MB, GB or TB"),
        (["prune", "--model", "openai/c"], "no reply of 'openai/c' is kept: there are openai/a, openai/b"),
        (["clear"], "nobody is there to answer `remove 3 replies"),
        (["clear", "--json"], "nobody is there to answer"),
    ],
)
def test_what_is_refused_says_what_is_possible(
    kept: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["cache", *arguments]) == 2
    assert message in capsys.readouterr().err
    assert len(document(capsys, "cache", "ls")["models"]) == 2


def test_a_run_at_work_keeps_its_replies(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = begin_run(kept, "running")
    with open_store(kept) as store, store.lock_run(run):
        assert execute(["cache", "clear", "--yes"]) == 2
        assert f"while a run is at work, which may need them: {run} (process {os.getpid()})" in capsys.readouterr().err
        assert execute(["cache", "clear", "--dry-run"]) == 0
    assert execute(["cache", "clear", "--yes"]) == 0


@pytest.mark.parametrize(("answer", "code", "left"), [("y", 0, 0), ("n", 1, 2)])
def test_a_person_is_asked(kept: Path, answer: str, code: int, left: int, capsys: pytest.CaptureFixture[str]) -> None:
    master, slave = pty.openpty()
    os.write(master, f"{answer}\n".encode())
    done = subprocess.run(
        [sys.executable, "-m", "promptlearn", "cache", "clear", "--store", str(kept)],
        stdin=slave,
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    os.close(slave)
    os.close(master)
    assert done.returncode == code, done.stderr
    assert "remove 3 replies (3.2 kB, 315 tokens for $0.7500)? [y/N]" in done.stderr
    assert ("nothing was removed" in done.stderr) == (answer == "n")
    assert len(document(capsys, "cache", "ls")["models"]) == left


@pytest.mark.parametrize(
    ("text", "size"),
    [("500MB", 500_000_000), ("1.5 GiB", 1_610_612_736), ("1000", 1000), ("2k", 2000), ("7 b", 7), ("0", 0)],
)
def test_sizes(text: str, size: int) -> None:
    assert as_bytes(text) == size


@pytest.mark.parametrize("text", ["", "MB", "-1MB", "1,5MB", "1 i", "1e9"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(UsageError, match="is no size"):
        as_bytes(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (123_456, "123 kB"), (999_600, "1.0 MB"), (7 * 10**12, "7.0 TB")],
)
def test_sizes_for_people(size: int, text: str) -> None:
    assert as_size(size) == text
