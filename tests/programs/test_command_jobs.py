"""Commands in jobs: from a configuration to rows, the journal, budgets and the command line."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from command_bench import script, write_repo

from promptlearn.assembly import assemble
from promptlearn.cli.main import execute
from promptlearn.config import load_config, parse_config
from promptlearn.errors import ConfigError
from promptlearn.estimate import estimate
from promptlearn.health import examine
from promptlearn.job import Evaluation, check_job, evaluate_job
from promptlearn.programs.workshop import PREFIX
from promptlearn.records import Message

AGENT = """
import json, os, sys, time
open(os.path.join(sys.argv[1], "runs"), "a").write("x")
time.sleep(float(sys.argv[2]))
word = json.load(sys.stdin)["inputs"]["word"]
rules = open("AGENTS.md").read()
print(json.dumps({"output": word.upper() if "capitals" in rules else word}))
"""


def write_job(folder: Path, delay: float = 0, **more: Any) -> Path:
    """A repository, an agent that counts its runs in `runs`, twenty words and a configuration."""
    write_repo(folder / "repo")
    script(folder, AGENT)
    words = [{"word": f"word{chr(97 + n)}{n}", "loud": f"WORD{chr(65 + n)}{n}"} for n in range(20)]
    (folder / "words.jsonl").write_text("".join(json.dumps(row) + "\n" for row in words))
    config = {
        "prompt": "repo/AGENTS.md",
        "program": {"command": f"python -S agent.py {folder} {delay}", "repo": "repo"},
        "data": {"file": "words.jsonl", "inputs": ["word"], "expected": "loud"},
        "judges": ["exact_match"],
        "search": {"concurrency": 2},
        "store": "store.db",
    }
    path = folder / "promptlearn.yaml"
    path.write_text(yaml.safe_dump(merged(config, more)))
    return path


def merged(content: Mapping[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    both = {key: {**content.get(key, {}), **value} for key, value in more.items() if isinstance(value, dict)}
    return {**content, **more, **both}


def evaluate(path: Path) -> Evaluation:
    job = assemble(load_config(path))
    try:
        return asyncio.run(evaluate_job(job, "test"))
    finally:
        job.store.close()


def runs(folder: Path) -> int:
    return len((folder / "runs").read_text())


def test_rows_of_a_command_and_a_second_time_from_the_journal(tmp_path: Path) -> None:
    """Invariants 2 and 3: what was run is not run again."""
    path = write_job(tmp_path)
    first = evaluate(path)
    count = runs(tmp_path)
    assert (first.measure.score, first.measure.n, first.measure.errors) == (0.0, count, 0)
    assert {row.rollout.output for row in first.rows} == {row.example.inputs["word"] for row in first.rows}
    assert first.usage["task"].calls == count
    again = evaluate(path)
    assert runs(tmp_path) == count
    assert (again.usage["task"].calls, again.usage["task"].cached_calls) == (0, count)
    assert [row.rollout.output for row in again.rows] == [row.rollout.output for row in first.rows]
    assert [row.rollout.evidence for row in again.rows] == [row.rollout.evidence for row in first.rows]


def test_another_prompt_or_another_tree_is_run_anew(tmp_path: Path) -> None:
    path = write_job(tmp_path)
    count = evaluate(path).measure.n
    agents = tmp_path / "repo/AGENTS.md"
    agents.write_text(agents.read_text().replace("Be brief.", "Answer in capitals."))
    assert evaluate(path).measure.score == 1.0
    assert runs(tmp_path) == 2 * count
    (tmp_path / "repo/notes.txt").write_text("changed")
    evaluate(path)
    assert runs(tmp_path) == 3 * count


def test_a_killed_evaluation_goes_on_and_runs_only_what_was_under_way_twice(tmp_path: Path) -> None:
    """Invariant 3, with SIGKILL."""
    path = write_job(tmp_path, delay=0.3)
    assert stopped_by(signal.SIGKILL, path) == -signal.SIGKILL
    done = evaluate(path)
    assert done.measure.errors == 0
    assert done.measure.n <= runs(tmp_path) <= done.measure.n + 2


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_removes_every_copy_and_loses_no_outcome(tmp_path: Path, times: int) -> None:
    path = write_job(tmp_path, delay=0.3)
    assert stopped_by(signal.SIGINT, path, times) == 130
    assert not list(tmp_path.glob(f"{PREFIX}*"))
    done = evaluate(path)
    assert done.measure.n <= runs(tmp_path) <= done.measure.n + 2


def stopped_by(number: signal.Signals, path: Path, times: int = 1) -> int:
    """The exit code of an evaluation that gets a signal while its fourth run is under way."""
    folder = path.parent
    command = [sys.executable, "-m", "promptlearn", "eval", "-c", str(path), "--split", "test", "-q"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "TMPDIR": str(folder)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not (folder / "runs").exists() or runs(folder) < 4:
            time.sleep(0.02)
            assert process.poll() is None
        for _ in range(times):
            process.send_signal(number)
            time.sleep(0.05)
        return process.wait(timeout=30)


def test_calls_are_capped_like_any_model_s(tmp_path: Path) -> None:
    """Invariant 1."""
    path = write_job(tmp_path, budget={"task_calls": 3})
    with pytest.raises(Exception, match="task_calls"):
        evaluate(path)
    assert runs(tmp_path) == 3


@pytest.mark.parametrize(
    ("budget", "key"),
    [
        ({"usd": 5}, "budget.usd"),
        ({"tokens": 5000}, "budget.tokens"),
        ({"roles": {"task": {"tokens": 500}}}, "budget.roles.task.tokens"),
    ],
)
def test_a_cap_that_nobody_can_keep_is_refused_before_the_first_call(
    tmp_path: Path, budget: dict[str, Any], key: str
) -> None:
    job = assemble(load_config(write_job(tmp_path, budget=budget)))
    with pytest.raises(ConfigError, match=f"{key} is set, and nobody knows what command/python"):
        check_job(job)
    job.store.close()


def test_an_estimate_knows_calls_and_says_that_tokens_are_unknown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_job(tmp_path, search={"rounds": 1})
    job = assemble(load_config(path))
    task = estimate(job).to_json()["roles"]["task"]
    assert task["calls"][1] > 0
    assert (task["input_tokens"], task["output_tokens"], task["cost_usd"]) == (None, None, None)
    job.store.close()
    assert execute(["run", "-c", str(path), "--dry-run"]) == 0
    assert "unknown" in capsys.readouterr().out
    assert not (tmp_path / "runs").exists()


def test_the_run_s_digest_and_warnings_hold_the_program_s(tmp_path: Path) -> None:
    path = write_job(tmp_path)
    first, second = (assemble(load_config(path, overrides)) for overrides in ((), ("program.version=2",)))
    assert first.digest() != second.digest()
    assert ("root" in " ".join(first.warnings)) == (os.getuid() == 0)
    for job in (first, second):
        job.store.close()


def test_answers_reviews_and_store_are_in_no_copy(tmp_path: Path) -> None:
    path = write_job(
        tmp_path, program={"command": "python -S -c 'import os; print(sorted(os.listdir(\".\")))'", "repo": "."}
    )
    shutil.rmtree(tmp_path / "repo")
    (tmp_path / "AGENTS.md").write_text("Be brief.\n")
    (tmp_path / "review.json").write_text("[]")
    config = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**config, "prompt": "AGENTS.md", "reviews": "review.json"}))
    first, second = evaluate(path), evaluate(path)
    assert {row.rollout.output for row in first.rows} == {"['AGENTS.md', 'agent.py', 'promptlearn.yaml']"}
    assert second.usage["task"].calls == 0


def test_braces_in_the_prompt_are_text_and_the_winner_is_exported_in_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command reads the file as it stands: `{name}` needs no column, also not when the prompt is written back."""
    path = write_job(
        tmp_path, judges=["normalized_match"], search={"rounds": 1, "proposers": ["demos"], "prune": False}
    )
    agents = tmp_path / "repo/AGENTS.md"
    agents.write_text(agents.read_text().replace("Be brief.", 'Use f"{name}" and {word}.'))
    job = assemble(load_config(path))
    assert job.prompt.contract.variables == frozenset()
    job.store.close()
    monkeypatch.chdir(tmp_path)
    assert execute(["run", "--json", "-q"]) == 3
    assert execute(["export", "--in-place", "--version", "baseline"]) == 0
    assert 'Use f"{name}" and {word}.' in agents.read_text()


def test_doctor_looks_for_the_program_and_greets_no_model(tmp_path: Path) -> None:
    path = write_job(tmp_path)
    found = {one.what: one for one in examine(path)}
    assert found["program"].ok
    assert "models.task" not in found
    broken = {one.what: one for one in examine(path, ("program.command=[no-such-program]",))}
    assert broken["program"].ok is False


SMALL = {"prompt": "p.md", "data": {"file": "t.csv"}}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"program": {"command": ""}}, "`program`: command is empty"),
        ({"program": {"command": "a 'b"}}, "`program`: No closing quotation"),
        ({"program": {"command": ["a"], "shell": True}}, "`program`: with shell: true, command and check are lines"),
        ({"program": {"command": "a"}, "models": {"task": "openai/m"}}, "`models.task` is not asked where `program`"),
        ({"models": {"task": "command"}}, "`models.task` is `command`, and there is no `program`"),
        (
            {"program": {"command": "a", "limits": {"cpu": 3}}},
            "unknown key `program.limits.cpu`; did you mean `cpu_s`?",
        ),
    ],
)
def test_a_mistake_in_the_configuration_names_its_key(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as raised:
        parse_config({**SMALL, **more})
    assert message in str(raised.value)


def test_words_that_name_files_beside_the_configuration_become_paths(tmp_path: Path) -> None:
    write_repo(tmp_path / "repo")
    for name in ("agent.py", "notes.txt"):
        (tmp_path / name).touch()
    line = "python agent.py notes.txt --flag 'two words' ."
    program = parse_config({**SMALL, "program": {"command": line, "repo": "repo"}}).resolve(tmp_path).program
    assert program is not None
    words = program.words(program.command)
    assert words == ("python", str(tmp_path / "agent.py"), "notes.txt", "--flag", "two words", ".")
    assert program.repo == tmp_path / "repo"
    shell = parse_config({**SMALL, "program": {"command": "a | b", "shell": True}}).resolve(tmp_path).program
    assert shell is not None
    assert shell.words(shell.command) == ("/bin/sh", "-c", "a | b")
    assert shell.words(shell.check) == ()


@pytest.mark.parametrize(
    ("judges", "program", "message"),
    [
        (["tests_passed"], {}, "needs a test command; name it under `program.check`"),
        (["exit_code"], None, "reads what a command left behind; name one under `program`"),
    ],
)
def test_judges_that_could_judge_nothing_are_refused(
    tmp_path: Path, judges: list[str], program: dict[str, Any] | None, message: str
) -> None:
    path = write_job(tmp_path, judges=judges)
    if program is None:
        content = yaml.safe_load(path.read_text())
        del content["program"]
        (tmp_path / "m.yaml").write_text("default: x\n")
        path.write_text(yaml.safe_dump({**content, "models": {"task": "scripted/m.yaml"}}))
    with pytest.raises(ConfigError, match=message):
        assemble(load_config(path))


def test_a_check_judges_where_nobody_else_does(tmp_path: Path) -> None:
    path = write_job(tmp_path, judges=[], program={"check": ["python", "-S", "-c", "print('3 passed in 0.10s')"]})
    measured = evaluate(path)
    assert measured.measure.score == 1.0
    assert {verdict.explanation for row in measured.rows for verdict in row.verdicts} == {"three tests passed"}


async def test_an_outage_that_the_command_tells_is_tried_again(tmp_path: Path) -> None:
    """What an agent says about its own model's endpoint is treated as an endpoint's failure is."""
    from promptlearn.programs.command import Command, CommandOptions

    line = '{"error": {"kind": "server", "message": "502"}}'
    command = Command(CommandOptions(script(tmp_path, f"print({line!r})")))
    with pytest.raises(Exception, match="502") as raised:
        await command.model.complete((Message("system", "x"), Message("user", '{"id": "e", "inputs": {}}')))
    assert getattr(raised.value, "retryable", False)
    await command.model.close()
