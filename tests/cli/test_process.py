"""The command as a process of its own: what it imports, what it leaves on a full disk, how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from chat_server import Answer, ChatServer, completion
from shop import write_shop

from promptlearn.cli.main import execute

HEAVY = (
    "litellm",
    "dspy",
    "torch",
    "pandas",
    "streamlit",
    "sqlalchemy",
    "scipy",
    "numpy",
    "aiohttp",
    "pydantic",
    "xllamacpp",
    "rich",
)
HELP = """
import sys
from promptlearn.cli.main import execute
assert execute(["--help"]) == 0
print(sorted(set(sys.argv[1:]) & set(sys.modules)), file=sys.stderr)
"""
FULL = """
import resource, sys
from promptlearn.cli.main import execute
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(execute(sys.argv[2:]))
"""


def environment(**more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in ("PROMPTLEARN_STORE", "COLUMNS")}
    return kept | {"PYTHONPATH": str(Path(__file__).parents[2])} | more


def python(folder: Path, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment(**more), text=True, capture_output=True, timeout=60)


def test_help_imports_nothing_heavy(tmp_path: Path) -> None:
    shown = python(tmp_path, "-c", HELP, *HEAVY)
    assert shown.stderr.strip() == "[]"
    for command in ("init", "check", "doctor", "run", "resume", "demo", "eval", "runs", "show", "diff", "export"):
        assert f"\n  {command} " in shown.stdout


def test_python_m_is_the_command_and_says_its_own_name(tmp_path: Path) -> None:
    shown = python(tmp_path, "-m", "promptlearn", "run", "--help", COLUMNS="80")
    assert shown.returncode == 0
    assert shown.stdout.startswith("Usage: promptlearn run [OPTIONS]")
    assert "[default: promptlearn.yaml]" in shown.stdout
    assert "search.seed=3" in shown.stdout


def learned(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The result of `promptlearn run` in this folder."""
    monkeypatch.chdir(folder)
    assert execute(["run", "--json", "-q"]) == 0
    return json.loads(capsys.readouterr().out)


def test_a_full_disk_is_1_and_the_same_command_pays_only_for_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariants 2 and 3: no file of the process may grow beyond a limit, as on a full disk."""
    monkeypatch.delenv("PROMPTLEARN_STORE", raising=False)
    expected = learned(write_shop(tmp_path / "whole"), monkeypatch, capsys)
    folder = write_shop(tmp_path / "full")
    full = python(folder, "-c", FULL, "600000", "run", "--json", "-q")
    assert full.returncode == 1
    assert full.stderr.count("\n") == 1
    assert "nothing that was paid for before is lost" in full.stderr
    assert json.loads(full.stdout)["error"]["type"] == "WriteError"

    done = learned(folder, monkeypatch, capsys)
    assert done["best"]["digest"] == expected["best"]["digest"]
    usage = done["usage"]["task"]
    assert usage["cached_calls"] > 0
    assert usage["calls"] + usage["cached_calls"] == expected["usage"]["task"]["calls"]


def test_a_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    with ChatServer(lambda request: Answer(completion("Thank you!"), delay=30)).in_thread() as url:
        folder = write_shop(tmp_path)
        config = yaml.safe_load((folder / "promptlearn.yaml").read_text(encoding="utf-8"))
        config["models"]["task"] = {"model": "openai/slow", "base_url": url}
        (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
        command = [sys.executable, "-m", "promptlearn", "run"]
        process = subprocess.Popen(command, cwd=folder, env=environment(), text=True, stderr=subprocess.PIPE)
        assert process.stderr is not None
        for line in process.stderr:
            if line.startswith("round 1"):
                break
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert "Ctrl-C again stops at once" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 130
    assert said == "promptlearn: stopped at once; the same command goes on from what was saved\n"


def test_a_terminal_of_another_encoding_stops_nothing(tmp_path: Path) -> None:
    shown = python(write_shop(tmp_path), "-m", "promptlearn", "eval", "--failures", "1", PYTHONIOENCODING="ascii")
    assert shown.returncode == 0
    assert "\\u2026 30 more rows" in shown.stdout


def test_the_demo_can_be_estimated_from_anywhere(tmp_path: Path) -> None:
    """Needs the embedded model's file or says how to get it; never a traceback."""
    shown = python(tmp_path, "-m", "promptlearn", "demo", "--dry-run", "--json")
    document = json.loads(shown.stdout)
    if shown.returncode == 0:
        assert document["rows"]["test"] >= 60
    else:
        assert shown.returncode == 2
        assert "promptlearn models pull" in document["error"]["message"]
