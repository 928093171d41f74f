"""`promptlearn tune`: what is printed where, and the exit code."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import synthetic
import yaml
from colours import colour_job, colour_tuning
from toy_policy import read, toy_backend

from promptlearn.cli.main import execute
from promptlearn.store import open_store
from promptlearn.tuning.result import TuneResult
from promptlearn.tuning.run import train

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        capsys.readouterr()
        code = execute(["tune", *arguments])
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def trained(tmp_path: Path) -> TuneResult:
    """A run in the store of the working directory."""

    async def work() -> TuneResult:
        with open_store(tmp_path / ".promptlearn" / "store.db") as store:
            return await train(colour_job(store), colour_tuning(steps=12), toy_backend())

    return asyncio.run(work())


def project(folder: Path, **tuning: object) -> None:
    (folder / "prompt.md").write_text(synthetic.SEED + "\n", encoding="utf-8")
    (folder / "tickets.jsonl").write_text("\n".join(map(json.dumps, synthetic.rows())), encoding="utf-8")
    (folder / "model.yaml").write_text("default: never asked\n", encoding="utf-8")
    config = {
        "prompt": "prompt.md",
        "data": {"file": "tickets.jsonl", "inputs": ["message"], "expected": "tag"},
        "models": {"task": "scripted/model.yaml"},
        "tuning": tuning,
    }
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")


def test_a_dry_run_counts_and_warns_and_loads_nothing(command: Command, tmp_path: Path) -> None:
    project(tmp_path, steps=10, groups=2, group=2, learning_rate=1e-7)
    code, out, _ = command("run", "--dry-run", "--json")
    document = json.loads(out)
    assert (code, document["task_calls"]) == (0, 10 * 4 + 3 * 57)
    assert [text for text in document["warnings"] if text.startswith("tuning.")] == [
        "tuning.learning_rate = 1e-07 is too little to learn anything; LoRA learns at 1e-05 to 0.001",
        "tuning.group = 2: samples are compared with each other, and fewer than 4 say little; take 8, and fewer "
        "tuning.groups",
    ]
    code, out, err = command("run", "--dry-run")
    assert out == "10 steps of 2 × 2 samples: up to 211 task calls\n"
    assert "warning: tuning.group = 2" in " ".join(err.split())


def test_a_dry_run_counts_rankings(command: Command, tmp_path: Path) -> None:
    project(tmp_path, steps=10, groups=2, group=4, ranking=True)
    code, _, err = command("run", "--dry-run")
    assert (code, err) == (2, "promptlearn: tuning.ranking asks models.judge, and there is none; name that model\n")
    (tmp_path / "judge.yaml").write_text("default: never asked either\n", encoding="utf-8")
    judge = ("--set", "models.judge=scripted/judge.yaml")
    code, out, _ = command("run", "--dry-run", "--json", *judge)
    document = json.loads(out)
    assert (code, document["task_calls"], document["judge_calls"], document["meta_calls"]) == (0, 251, 20, 0)
    _, out, _ = command("run", "--dry-run", *judge)
    calls = "251 task calls and 20 judge calls (20 of models.judge for rankings)"
    assert out == f"10 steps of 2 × 4 samples: up to {calls}\n"


def test_a_model_without_weights_is_one_line(command: Command, tmp_path: Path) -> None:
    project(tmp_path)
    code, _, err = command("run", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "nobody can train here; name some with tuning.base" in err


def test_without_torch_one_line_names_the_extra(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing else of the product is touched."""
    import importlib.util

    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "torch" else found(name, *more)
    )
    project(tmp_path, base="local/smollm2-135m-instruct")
    code, _, err = command("run", "--quiet")
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'promptlearn-optimizer[rl]'" in err
    assert command("run", "--dry-run")[0] == 0


def test_status_shows_steps_and_validation(command: Command, trained: TuneResult) -> None:
    code, out, _ = command("status", "--json")
    document = json.loads(out)
    assert (code, document["run_id"], document["state"]) == (0, trained.run_id, "finished")
    assert [step["step"] for step in document["steps"]] == list(range(1, 13))
    assert {"reward", "spread", "entropy", "kl", "grad_norm", "tokens_per_s", "dropped", "failed"} <= set(
        document["steps"][0]
    )
    assert document["result"] == trained.to_json()
    code, out, _ = command("status", trained.run_id[:20])
    assert code == 0
    assert f"run {trained.run_id}   finished" in out
    assert "validation of the base: 0.000 on 6 rows" in out
    code, out, _ = command("status", "--follow", "--json")
    kinds = [json.loads(line)["kind"] for line in out.splitlines()]
    assert (code, kinds.count("step"), kinds.count("validation")) == (0, 12, 7)


def test_the_other_commands_know_a_training_run(
    command: Command, trained: TuneResult, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["runs"]) == 0
    assert "tuned" in capsys.readouterr().out
    assert execute(["show", trained.run_id]) == 0
    assert f"promptlearn tune status {trained.run_id}" in capsys.readouterr().out
    assert execute(["resume", trained.run_id]) == 2
    assert "trains weights" in capsys.readouterr().err


def test_export_writes_the_best_adapter_once(command: Command, trained: TuneResult, tmp_path: Path) -> None:
    code, out, _ = command("export", "--to", "mine", "--json")
    document = json.loads(out)
    assert (code, document["step"], document["adapter"]) == (0, trained.best_step, "mine")
    assert read(tmp_path / "mine/table.json") == read(trained.adapter / "table.json") != {}
    code, _, err = command("export", "--to", "mine")
    assert (code, "mine exists; name another folder with --to" in err) == (2, True)


def test_there_is_nothing_to_see_before_the_first_run(command: Command, tmp_path: Path) -> None:
    with open_store(tmp_path / ".promptlearn" / "store.db"):
        pass
    code, _, err = command("status")
    assert (code, "no training run yet: start one with `promptlearn tune run`" in " ".join(err.split())) == (2, True)


@pytest.mark.slow
def test_a_quiet_run_says_nothing_but_its_result(command: Command, tmp_path: Path) -> None:
    """What transformers and peft would say of themselves on stderr is not said."""
    pytest.importorskip("torch")
    from tiny_folder import write_tiny_model

    write_tiny_model(tmp_path / "tiny")
    settings = {"base": "tiny", "device": "cpu", "groups": 2, "group": 4, "max_tokens": 1, "validation_rows": 4}
    project(tmp_path, steps=1, **settings)
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        code, out, err = command("run", "--quiet")
    assert code in (0, 3), err
    assert err in ("", "no step was better than the base on validation, so the adapter changes nothing\n")
    assert "(price unknown: tuning.gpu_usd_per_hour is not set)" in out
    code, out, _ = command("run", "--quiet", "--set", "tuning.gpu_usd_per_hour=3600", "--set", "search.seed=1")
    assert "($" in out
