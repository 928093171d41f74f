"""`program: {dspy: …}` in a configuration: a DSPy program learns from the command line's file."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from dspy_desk import TwoSteps, tagger
from synthetic import rows

from promptlearn.assembly import assemble
from promptlearn.config import load_config, parse_config
from promptlearn.dspy import write_prompt
from promptlearn.errors import ConfigError, PromptError
from promptlearn.job import run_job

CODE = """\
import dspy

def make():
    return dspy.Predict(dspy.Signature("message -> tag", "You help our shop with customer mail."))
"""
RULES = [{"when": "my parcel is", "reply": "[[ ## tag ## ]]\nshipping\n\n[[ ## completed ## ]]"}]
"""What the task model knows before anything is learned."""
LEAN = ["tokens", {"name": "quality", "may_lose": 0.01}]


def setting(folder: Path) -> Path:
    (folder / "pipeline.py").write_text(CODE)
    write_prompt(tagger(), folder / "prompt.yaml")
    with (folder / "rows.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ["message", "tag"])
        writer.writeheader()
        writer.writerows(rows(60))
    (folder / "model.yaml").write_text(yaml.safe_dump({"rules": RULES, "default": "no idea"}))
    content = {
        "prompt": "prompt.yaml",
        "data": {"file": "rows.csv", "inputs": ["message"], "expected": "tag"},
        "program": {"dspy": "pipeline.py:make", "answer": "tag"},
        "models": {"task": "scripted/model.yaml"},
        "search": {"rounds": 1, "prune": False, "minibatch": 4},
        "budget": {"task_calls": 200},
    }
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(content))
    return folder / "promptlearn.yaml"


def test_what_proposes_follows_from_the_program_and_from_what_leads(tmp_path: Path) -> None:
    def proposers(make: str, **more: object) -> tuple[object, ...]:
        folder = tmp_path / f"{make}{len(more)}"
        folder.mkdir()
        path = setting(folder)
        (folder / "pipeline.py").write_text(CODE + "from dspy_desk import TwoSteps\n")
        written = yaml.safe_load(path.read_text()) | more
        written["program"]["dspy"] = f"pipeline.py:{make}"
        path.write_text(yaml.safe_dump(written))
        if make == "TwoSteps":
            (folder / "prompt.yaml").unlink()
            write_prompt(TwoSteps(), folder / "prompt.yaml")
        job = assemble(load_config(path), store=folder / "store.db")
        with job.store:
            return job.proposer_names()

    assert proposers("make") == ("rules", "demos", "merge")
    assert proposers("make", objectives=LEAN) == ("rules", "prune", "merge")
    assert proposers("TwoSteps") == ("rules", "merge")
    assert proposers("TwoSteps", objectives=LEAN) == ("rules", "prune", "merge")


async def test_a_dspy_program_is_a_program(tmp_path: Path) -> None:
    config = load_config(setting(tmp_path))
    job = assemble(config, store=tmp_path / "store.db")
    with job.store:
        assert job.task.name == "dspy/make"
        assert job.prompt.text == "You help our shop with customer mail."
        assert job.proposer_names() == ("rules", "demos", "merge")
        result = await run_job(job)
    assert result.usage["task"].calls <= 200
    assert result.baseline.score is not None
    right = [example.expected == "shipping" for example in job.dataset.test]
    assert 0 < result.baseline.score == pytest.approx(sum(right) / len(right))


def test_what_does_not_go_together_is_refused() -> None:
    base = {"prompt": "p.md", "data": {"file": "d.csv"}, "models": {"task": "openai/x"}}
    with pytest.raises(ConfigError, match="with dspy, git has no meaning"):
        parse_config({**base, "program": {"dspy": "a.py:b", "git": True}})
    with pytest.raises(ConfigError, match="answer names an output field"):
        parse_config({**base, "models": {}, "program": {"command": ["x"], "answer": "tag"}})
    with pytest.raises(ConfigError, match=r"models\.task"):
        parse_config({**base, "models": {}, "program": {"dspy": "a.py:b"}})


def test_a_prompt_file_is_not_overwritten(tmp_path: Path) -> None:
    write_prompt(tagger(), tmp_path / "prompt.yaml")
    with pytest.raises(PromptError, match="there already"):
        write_prompt(tagger(), tmp_path / "prompt.yaml")


def test_who_lacks_dspy_reads_one_line_that_names_the_extra() -> None:
    without = "import sys; sys.modules['dspy'] = None\nfrom promptlearn.dspy import PromptLearn"
    said = subprocess.run([sys.executable, "-c", without], capture_output=True, text=True, check=False)
    assert said.returncode == 1
    last = said.stderr.rstrip().splitlines()[-1]
    assert last.endswith("ConfigError: DSPy is not installed: pip install 'promptlearn-optimizer[dspy]'")
