"""`promptlearn batch`: what is printed where, in which form, and the exit code. Invariant 3 by real processes."""

import csv
import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import synthetic
import yaml
from chat_server import Answer, ChatServer, completion
from shop import write_shop

from promptlearn.cli.main import execute
from promptlearn.records import Message, fingerprint

CONCURRENCY = 6


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        return json.loads(self.out)


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs `batch` in `tmp_path`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def run(*arguments: str) -> Outcome:
        capsys.readouterr()
        code = execute(["batch", *arguments])
        return Outcome(code, *capsys.readouterr())

    return run


def write_experiments(folder: Path, **changes: Any) -> Path:
    content = {"base": "promptlearn.yaml", "matrix": {"optimizers": ["none", "rules"]}} | changes
    path = folder / "experiments.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """Two experiments: one that measures, one that learns every rule."""
    write_shop(tmp_path, synthetic.rows(60), search={"rounds": 1, "drafts": 2, "prune": False})
    write_experiments(tmp_path)
    return tmp_path


def test_a_batch_prints_a_table_on_stdout_and_progress_on_stderr(cli: Cli, shop: Path) -> None:
    done = cli()
    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["experiment", "rows", "before", "after", "outcome", "rank", "calls", "cached", "cost"] in lines
    rules = next(line for line in lines if line[:1] == ["rules"])
    assert rules[rules.index("improved") :][1:4] == ["1", "of", "2"]
    assert "2 experiments: 1 improved, 1 measured" in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert "rules is run " in done.err
    assert "rules: improved, 0.000 → 1.000" in done.err
    assert "is run" not in done.out


def test_quiet_json_is_one_document_with_the_promised_keys(cli: Cli, shop: Path) -> None:
    done = cli("--json", "--quiet")
    assert (done.code, done.err) == (0, "")
    document = done.document
    assert {"name", "shard", "experiments", "rankings", "totals", "budget", "fail_on", "exit_code"} <= set(document)
    none, rules = document["experiments"]
    assert set(none) == set(rules)
    assert (none["name"], none["decision"], none["delta"]) == ("none", "measured", None)
    assert (rules["axes"], rules["decision"], rules["rank"]["low"]) == ({"optimizers": "rules"}, "improved", 1)
    assert rules["before"] | {"ci95": None} == {"score": 0.0, "n": none["before"]["n"], "errors": 0, "ci95": None}
    assert Path(rules["path"]).read_text(encoding="utf-8").count("is shipping")
    (ranking,) = document["rankings"]
    assert ranking["comparisons"][0]["better"] == "rules"
    assert document["totals"]["calls"] == none["calls"] + rules["calls"]


def test_given_again_it_takes_everything_from_the_store(cli: Cli, shop: Path) -> None:
    first = cli("--json").document
    done = cli("--json")
    assert "rules: improved, 0.000 → 1.000, from the store" in done.err
    second = done.document
    assert all(one["from_store"] for one in second["experiments"])
    assert [one["run_id"] for one in second["experiments"]] == [one["run_id"] for one in first["experiments"]]
    fresh = cli("--json", "--again", "--only", "rules").document
    assert [one["from_store"] for one in fresh["experiments"]] == [False]
    assert fresh["totals"]["calls"] == 0


def test_csv_and_junit_are_written(cli: Cli, shop: Path) -> None:
    assert cli("--csv", "table.csv", "--junit", "cases.xml", "--fail-on", "regressed").code == 0
    rows = list(csv.DictReader(io.StringIO((shop / "table.csv").read_text(encoding="utf-8"))))
    assert [(row["name"], row["optimizers"], row["decision"], row["rank_low"]) for row in rows] == [
        ("none", "none", "measured", "2"),
        ("rules", "rules", "improved", "1"),
    ]
    assert float(rows[1]["after"]) == 1.0
    suite = ET.parse(shop / "cases.xml").getroot().find("testsuite")
    assert suite is not None
    counted = {"tests": "2", "failures": "0", "errors": "0", "skipped": "0"}
    assert {key: suite.get(key) for key in counted} == counted
    assert [case.get("name") for case in suite.iter("testcase")] == ["none", "rules"]


def test_an_unwanted_outcome_fails_the_command_and_its_test_case(cli: Cli, shop: Path) -> None:
    """An experiment that may not learn what it needs is not proven."""
    write_experiments(shop, matrix={"optimizers": ["demos", "rules"]}, fail_on=["not_proven"])
    done = cli("--set", "search.minibatch=1", "--set", "search.drafts=1", "--junit", "cases.xml")
    assert done.code == 3
    suite = ET.parse(shop / "cases.xml").getroot().find("testsuite")
    assert suite is not None
    (failure,) = suite.iter("failure")
    assert str(failure.get("message")).startswith("not_proven: 0.000")
    assert cli("--fail-on", "failed").code == 0


def test_a_failed_experiment_is_reported_and_the_others_finish(cli: Cli, shop: Path) -> None:
    (shop / "broken.yaml").write_text("rules: [{when: nothing, reply: x}]\n", encoding="utf-8")
    matrix = {"models": ["scripted/model.yaml", "scripted/broken.yaml"], "optimizers": ["rules"]}
    write_experiments(shop, matrix=matrix)
    done = cli("--junit", "cases.xml", "--csv", "table.csv")
    assert done.code == 1
    assert "2 experiments: 1 failed, 1 improved" in done.out
    assert "broken: no rule of scripted/broken.yaml matches the chat" in done.err
    suite = ET.parse(shop / "cases.xml").getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")
    rows = list(csv.DictReader(io.StringIO((shop / "table.csv").read_text(encoding="utf-8"))))
    assert [row["state"] for row in rows] == ["finished", "failed"]
    document = cli("--json", "--quiet", "--fail-on", "regressed").document
    assert (document["exit_code"], document["experiments"][1]["error"]["type"]) == (0, "SystemicError")


def test_a_dry_run_says_what_each_experiment_takes(cli: Cli, shop: Path) -> None:
    done = cli("--dry-run", "--json", "--set", "budget.task_calls=200")
    document = done.document
    assert done.code == 0
    none, rules = document["experiments"]
    assert none["roles"]["task"]["calls"] == [none["rows"]["test"]] * 2
    assert rules["roles"]["task"]["calls"][1] == rules["budget"]["task_calls"] == 100
    assert document["totals"] | {"calls": 0, "cost_usd": 0} == {
        "experiments": 2,
        "finished": 0,
        "calls": 0,
        "cost_usd": 0,
    }
    cli("--only", "none")
    again = cli("--dry-run")
    assert [line.split()[1] for line in again.out.splitlines() if line.split()[:1] in (["none"], ["rules"])] == [
        "finished",
        "learn",
    ]
    assert "2 experiments, " in again.out


def test_shards_are_shown_together_from_one_store_or_several(cli: Cli, shop: Path) -> None:
    assert cli("--shard", "1/2").code == 0
    half = cli("--table", "--json")
    assert half.code == 1, "a part that is missing is not fine"
    assert sorted(one["state"] for one in half.document["experiments"]) == ["finished", "missing"]
    assert cli("--shard", "2/2", "--store", "other.db").code == 0
    assert cli("--shard", "3/3", "--store", "other.db").code == 0, "more shards than experiments"
    whole = cli("--table", "--store", ".promptlearn/store.db", "--store", "other.db", "--json")
    assert whole.code == 0
    assert [one["rank"]["of"] for one in whole.document["experiments"]] == [2, 2]
    assert cli("--table", "--shard", "2/2", "--store", "other.db").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing.yaml",), "no experiments at nothing.yaml"),
        (("--only", "ruls"), "no experiment is called 'ruls'; there are 2, such as rules"),
        (("--shard", "3/2"), "--shard 3/2 is not i/n"),
        (("--fail-on", "worse"), "--fail-on worse is no outcome; possible: regressed, not_proven, failed"),
        (("--csv", "nowhere/table.csv"), "there is no folder for nowhere/table.csv"),
        (("--store", "a.db", "--store", "b.db"), "several stores can be shown together, with --table"),
        (("--table",), "there is no store at"),
        (("--set", "budget.usd=3", "--set", "base.models.task=openai/x"), "OPENAI_API_KEY"),
        (("--set", "matrix.seeds=[x]"), "`search.seed`"),
    ],
)
def test_wrong_arguments_are_one_line_and_code_2(
    cli: Cli, shop: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = cli(*arguments, "--json")
    assert done.code == 2
    assert message in done.document["error"]["message"]
    assert "\n" not in done.err.strip()


def test_names_from_files_can_not_break_the_report(cli: Cli, shop: Path) -> None:
    (shop / "prompts").mkdir()
    for name in ("a <b> & 'c'", 'x"y\x07', "[bold] z"):
        (shop / f"prompts/{name}.md").write_text(f"Hello from {name}.", encoding="utf-8")
    write_experiments(shop, matrix={"prompts": "prompts/*.md", "optimizers": ["none"]})
    done = cli("--junit", "cases.xml", "--csv", "table.csv")
    assert done.code == 0
    assert {case.get("name") for case in ET.parse(shop / "cases.xml").getroot().iter("testcase")} == {
        "a-b-c",
        "x-y",
        "bold-z",
    }


def reply(body: dict[str, Any]) -> Answer:
    """The same answer to the same question, after a short while."""
    messages = [Message(one["role"], one["content"]) for one in body["messages"]]
    return Answer(completion(synthetic.answer(messages)), delay=0.01)


class Paid:
    """A server with fixed replies, and how often it was asked what."""

    def __init__(self) -> None:
        self.server = ChatServer(reply)
        self.url = ""

    @property
    def asked(self) -> Counter[str]:
        return Counter(fingerprint(request.body) for request in list(self.server.requests))


@pytest.fixture
def paid() -> Iterator[Paid]:
    running = Paid()
    with running.server.in_thread() as url:
        running.url = url
        yield running


def project(folder: Path, url: str) -> Path:
    write_shop(folder, models={"task": {"model": "openai/fixed", "base_url": url, "hedge": None}})
    matrix = {"optimizers": ["none", ["rules", "demos"]], "seeds": [0, 1, 2]}
    write_experiments(folder, matrix=matrix, concurrency=CONCURRENCY, at_once=2, budget={"task_calls": 4000})
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "promptlearn", "batch", "--json", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if name != "PROMPTLEARN_STORE"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, env=environment)


def finish(folder: Path) -> list[Any]:
    process = start(folder)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    kept = ("name", "state", "decision", "stop_reason", "before", "after", "delta", "prompt", "rank")
    return [{key: one[key] for key in kept} for one in json.loads(output)["experiments"]]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_batch_that_is_killed_goes_on(tmp_path: Path, paid: Paid) -> None:
    """SIGKILL at five random moments, each followed by the same command: the same table in the end, and nothing paid
    for again but what was in flight."""
    expected = finish(project(tmp_path / "whole", paid.url))
    calls = len(paid.server.requests)
    assert set(paid.asked.values()) == {1}
    paid.server.requests.clear()

    folder, rng = project(tmp_path / "killed", paid.url), random.Random(3)
    moments = sorted(rng.sample(range(1, calls), 5))
    for moment in moments:
        process = start(folder)
        while process.poll() is None and len(paid.asked) < moment:
            time.sleep(0.002)
        assert process.poll() is None, "the batch ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.communicate()

    assert finish(folder) == expected
    assert len(paid.server.requests) - len(paid.asked) <= len(moments) * CONCURRENCY


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path, paid: Paid) -> None:
    folder = project(tmp_path / "stopped", paid.url)
    process = start(folder)
    while process.poll() is None and len(paid.server.requests) < 60:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    error = json.loads(output)["error"]
    assert (process.returncode, error["type"]) == (130, "Interrupted")
    assert "of 4 experiments have ended; give the same command again" in error["message"]
    assert {one["state"] for one in finish(folder)} == {"finished"}
    assert set(paid.asked.values()) == {1}
