"""`pause`, `unpause`, `raise` and `stop`, given while a run works in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import Answer, ChatServer, completion
from shop import write_shop
from test_process import environment

from promptlearn.cli.main import execute


@contextmanager
def working(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A run that has begun its first round and would take a minute more."""
    with ChatServer(lambda request: Answer(completion("Thank you!"), delay=2)).in_thread() as url:
        write_shop(folder)
        config = yaml.safe_load((folder / "promptlearn.yaml").read_text(encoding="utf-8"))
        config["models"]["task"] = {"model": "openai/slow", "base_url": url}
        config["budget"] = {"task_calls": 500}
        (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [sys.executable, "-m", "promptlearn", "run", "--set", "search.concurrency=2"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), text=True, stderr=subprocess.PIPE)
        try:
            assert process.stderr is not None
            for line in process.stderr:
                if line.startswith("round 1"):
                    break
            yield process
        finally:
            process.kill()
            process.communicate()


def asked(capsys: pytest.CaptureFixture[str], *command: str) -> dict[str, Any]:
    assert execute([*command, "--json"]) == 0
    document: dict[str, Any] = json.loads(capsys.readouterr().out)
    return document


def test_a_run_is_paused_raised_and_stopped_from_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PROMPTLEARN_STORE", raising=False)
    monkeypatch.chdir(tmp_path)
    with working(tmp_path) as process:
        paused = asked(capsys, "pause")
        assert (paused["kind"], paused["state"]) == ("pause", "done")
        assert asked(capsys, "unpause")["state"] == "done"
        raised = asked(capsys, "raise", "task_calls=800", "--run", paused["run"][:8])
        assert (raised["state"], raised["body"]) == ("done", {"caps": {"task_calls": 800.0}})
        assert asked(capsys, "stop")["state"] == "done"
        process.communicate(timeout=60)
        assert process.returncode == 130


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (("raise", "task_calls"), "write it as task_calls=800"),
        (("raise", "patience=3"), "possible are"),
        (("pause",), "run"),
    ],
)
def test_what_can_not_be_asked_is_said_in_a_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.delenv("PROMPTLEARN_STORE", raising=False)
    monkeypatch.chdir(write_shop(tmp_path))
    assert execute(["run", "--quiet"]) == 0
    capsys.readouterr()
    assert execute(list(command)) == 2
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1
