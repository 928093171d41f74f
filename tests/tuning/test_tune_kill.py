"""Invariant 3 for training: SIGKILL at any moment, and the same command ends as if nothing had happened."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from promptlearn.report import tuning, tuning_samples
from promptlearn.store import open_store

WEIGHTS = "adapter_model.safetensors"
CHILD = Path(__file__).parent / "tune_child.py"


def start(folder: Path, kind: str) -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [sys.executable, str(CHILD), str(folder), kind]
    environment = os.environ | {"PYTHONPATH": str(CHILD.parents[2]), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, text=True, stdout=subprocess.PIPE, env=environment)


def finish(folder: Path, kind: str) -> dict[str, Any]:
    process = start(folder, kind)
    output, _ = process.communicate(timeout=250)
    assert process.returncode == 0, output
    document: dict[str, Any] = json.loads(output)
    return document


def kill_after(folder: Path, kind: str, steps: int, delay: float) -> None:
    """SIGKILL a while after the store has so many steps; what was written meanwhile is chance."""
    process = start(folder, kind)
    while process.poll() is None and steps_kept(folder) < steps:
        time.sleep(0.005)
    time.sleep(delay)
    assert process.poll() is None, "training ended before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.communicate()


def steps_kept(folder: Path) -> int:
    if not (folder / "store.db").exists():
        return 0
    with open_store(folder / "store.db") as store:
        runs = store.reader.runs(1, tunes=True)
        return len(store.tuning.steps(runs[0].id)) if runs else 0


def outcome(folder: Path, document: dict[str, Any]) -> dict[str, Any]:
    """All that must not depend on kills: rewards and answers of every step, validation, calls, and the adapter."""
    with open_store(folder / "store.db") as store:
        report = tuning(store, document["run_id"])
        said = [
            [(sample.output, sample.reward, sample.policy_version) for sample in tuning_samples(store, report.id, step)]
            for step in range(1, len(report.steps) + 1)
        ]
        steps = [(step.reward, step.grad_norm, step.ratio, step.staleness) for step in report.steps]
    # PEFT's configuration lists module names in the order of a set, which is another in every process.
    weights = [path for path in Path(document["adapter"]).iterdir() if path.name in {WEIGHTS, "table.json"}]
    adapter = {path.name: path.read_bytes() for path in weights}
    assert adapter
    keys = ("stop_reason", "steps", "best_step")
    read = [{**reading, "spending": None} for reading in document["validation"]]  # it depends on the clock
    counted = [document["spending"][key] for key in ("calls", "tokens", "usd")]
    task = document["usage"]["task"]  # what a judge said since the last checkpoint comes from the journal, unpaid
    found = {"said": said, "steps": steps, "adapter": adapter, "task": task, "validation": read, "counted": counted}
    return found | {key: document[key] for key in keys}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["toy", "ranked", "tiny"])
def test_kills_change_nothing(tmp_path: Path, kind: str) -> None:
    """The policy is a table, or a random model of two layers in torch; samples are drawn one step ahead. `ranked`: a
    model ranks each group, whose replies are paid for.
    """
    if kind == "tiny":
        pytest.importorskip("torch")
    expected = outcome(tmp_path / "whole", finish(tmp_path / "whole", kind))
    folder, rng = tmp_path / "killed", random.Random(11)
    for steps in {"toy": (1, 3, 4, 7), "ranked": (1, 2, 4), "tiny": (3,)}[kind]:
        kill_after(folder, kind, steps, rng.random() * 0.05)
    assert outcome(folder, finish(folder, kind)) == expected
