"""`make gpu-check` where there is no GPU: tests that were all skipped prove nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

ROOT = Path(__file__).parents[2]


def test_without_cuda_it_fails_and_says_why() -> None:
    command = ["make", "--old-file=.venv/gpu.stamp", f"BIN={Path(sys.executable).parent}", "gpu-check"]
    blind = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(command, cwd=ROOT, env=blind, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert [line for line in done.stderr.splitlines() if line.startswith("gpu-check: torch ")]
    assert "skipped" not in done.stdout
