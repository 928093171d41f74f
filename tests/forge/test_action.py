"""The action and the documented workflow: what they call exists, what they use is pinned, who may write is apart."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from promptlearn.cli.main import execute

ROOT = Path(__file__).parents[2]
ACTION = yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))
STEPS = ACTION["runs"]["steps"]
SCRIPTS = [step["run"] for step in STEPS if "run" in step]
DOCS = (ROOT / "docs/pull_requests.md").read_text(encoding="utf-8")
(WORKFLOW_TEXT,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.DOTALL)
WORKFLOW = yaml.load(WORKFLOW_TEXT, Loader=yaml.BaseLoader)
JOBS = WORKFLOW["jobs"]
BLOCKS = re.findall(r"^```\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
COMMANDS = sorted(
    {line for text in (*SCRIPTS, *BLOCKS) for line in re.findall(r"^promptlearn [^\n#]*", text, re.MULTILINE)}
)


def words_of(command: str) -> tuple[list[str], list[str]]:
    """The command's own words, and the options that it is given."""
    words = shlex.split(command.split(" > ")[0])[1:]
    own = words[: 2 if words[0] == "github" else 1]
    return own, [word for word in words if word.startswith("--")]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_exists_with_its_options(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    own, options = words_of(command)
    assert execute([*own, "--help"]) == 0
    text = capsys.readouterr().out
    for option in options:
        assert re.search(rf"{option}\b", text), f"{own} has no {option}"


def test_the_action_calls_each_step() -> None:
    assert {tuple(words_of(command)[0]) for command in COMMANDS} >= {
        ("github", "pull"),
        ("run",),
        ("github", "propose"),
        ("github", "serve"),
    }


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_input_is_pasted_into_a_script(script: str) -> None:
    """Whatever stands in an input would run as code."""
    assert "${{" not in script
    subprocess.run(["bash", "-n"], input=script.encode(), check=True)


def test_actions_are_pinned_to_commits() -> None:
    used = [step["uses"] for step in STEPS if "uses" in step]
    used += [step["uses"] for job in JOBS.values() for step in job["steps"] if "uses" in step]
    for name in used:
        assert re.fullmatch(r"[\w/-]+@(?:[0-9a-f]{40}|COMMIT)", name), name


def test_every_input_is_declared_and_used() -> None:
    declared = set(ACTION["inputs"])
    for job in JOBS.values():
        for step in job["steps"]:
            if "promptlearn@" in step.get("uses", ""):
                assert set(step["with"]) <= declared
    steps = yaml.safe_dump(STEPS)
    for name, described in ACTION["inputs"].items():
        assert described["description"]
        assert f"inputs.{name}" in steps


def test_outputs_come_from_steps_that_set_them() -> None:
    for name, output in ACTION["outputs"].items():
        found = re.fullmatch(r"\$\{\{ steps\.(\w+)\.outputs\.(\w+) \}\}", output["value"])
        assert found
        (step,) = [step for step in STEPS if step.get("id") == found[1]]
        assert f"{name}=" in step["run"]


def test_who_reads_can_not_write() -> None:
    """Invariant 9."""
    tokens = {step["name"]: set(step.get("env", {})) for step in STEPS if "run" in step}
    assert "PROMPTLEARN_WRITE_TOKEN" not in tokens["Pull"] | tokens["Learn"]
    assert "GITHUB_TOKEN" not in tokens["Propose"] | tokens["Learn"]
    assert WORKFLOW["permissions"] == {}
    assert set(JOBS["learn"]["permissions"].values()) == {"read"}
    assert JOBS["propose"]["permissions"] == {"contents": "write", "pull-requests": "write"}
    assert "API_KEY" not in str(JOBS["propose"])
    assert "pull_request_target" not in WORKFLOW_TEXT
    for job in JOBS.values():
        assert job["steps"][0]["with"]["persist-credentials"] == "false"


@pytest.mark.parametrize(
    ("result", "code", "ends", "said"),
    [
        ({"decision": "improved", "run_id": "01a"}, 0, 0, "decision=improved\nrun=01a\n"),
        ({"decision": "not_proven", "run_id": "01a"}, 3, 0, "decision=not_proven\nrun=01a\n"),
        ({"error": {"type": "BudgetSpent"}}, 4, 0, "decision=\nrun=\n"),
        ({"error": {"type": "ConfigError"}}, 2, 2, ""),
    ],
)
def test_the_learning_step_tells_answers_from_failures(
    tmp_path: Path, result: dict[str, Any], code: int, ends: int, said: str
) -> None:
    environment = _stand_in(tmp_path, result, code)
    (script,) = [step["run"] for step in STEPS if step.get("id") == "learn"]
    done = subprocess.run(["bash", "-eo", "pipefail", "-c", script], env=environment, check=False)
    assert done.returncode == ends
    assert (tmp_path / "output").read_text() == said
    assert (tmp_path / "arguments").read_text().splitlines() == [
        *("run", "--config", "my config.yaml", "--quiet", "--json", "--set", "search.seed=1; echo $HOME"),
    ]


def _stand_in(folder: Path, result: dict[str, Any], code: int) -> dict[str, str]:
    """An environment in which `promptlearn` notes its arguments, prints a result and ends with a code."""
    (folder / "result.json").write_text(json.dumps(result))
    tool = folder / "promptlearn"
    tool.write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" > "{folder}/arguments"\ncat "{folder}/result.json"\nexit {code}\n')
    tool.chmod(0o755)
    (folder / "output").touch()
    return {
        "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "RUNNER_TEMP": str(folder),
        "GITHUB_OUTPUT": str(folder / "output"),
        "CONFIG": "my config.yaml",
        "OPTIONS": "--set\nsearch.seed=1; echo $HOME\n",
    }
