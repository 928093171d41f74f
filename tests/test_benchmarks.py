"""The benchmarks that look for something that must not be: short runs of the commands themselves."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]


def rows(script: str, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, f"benchmarks/{script}", "--json", *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=110)
    assert done.returncode == 0, done.stdout + done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return found


def test_nothing_is_spent_beyond_a_cap() -> None:
    """Invariant 1, with 64 calls at once."""
    found = rows("overshoot.py", "--first=4", "--runs=16")
    assert {row["cap on"] for row in found} == {"calls", "dollars"}
    assert sum(row["overshoots"] for row in found) == 0
    assert sum(row["runs"] for row in found) == 16


@pytest.mark.slow
def test_a_run_that_is_killed_loses_what_was_in_flight() -> None:
    """Invariant 3, counted by the server."""
    (found,) = rows("kills.py", "--kills=3", "--budget=300", "--scale=0.02")
    assert found["same result"]
    assert found["of these asked twice"] <= found["lost at the kills"] <= 3 * found["slots"]
