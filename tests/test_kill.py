"""Invariant 3: a run that is killed at any moment goes on when the same command is given again.

Real processes, a real HTTP server with fixed replies, SIGKILL at random moments.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
import yaml
from chat_server import Answer, ChatServer, completion

from promptlearn.records import Message, fingerprint

CONCURRENCY = 8


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
    folder.mkdir()
    (folder / "prompt.md").write_text(synthetic.SEED + "\n", encoding="utf-8")
    (folder / "tickets.jsonl").write_text("\n".join(map(json.dumps, synthetic.rows())), encoding="utf-8")
    reviews = [
        {"id": one.id, "body": one.body, "author_association": "MEMBER", "state": "approved", "url": one.url}
        for one in synthetic.house_rules()
    ]
    (folder / "reviews.json").write_text(json.dumps(reviews), encoding="utf-8")
    config: dict[str, Any] = {
        "prompt": "prompt.md",
        "data": {"file": "tickets.jsonl", "inputs": ["message"], "expected": "tag"},
        "reviews": "reviews.json",
        # No second copies: they ask a question twice on purpose.
        "models": {"task": {"model": "openai/fixed", "base_url": url, "hedge": None}},
        "search": {"concurrency": CONCURRENCY},
        "budget": {"task_calls": 2000},
    }
    (folder / "promptlearn.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    return folder


def start(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "promptlearn", "run", "--json", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if name != "PROMPTLEARN_STORE"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[1])
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, env=environment)


def finish(folder: Path) -> dict[str, Any]:
    process = start(folder)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    document: dict[str, Any] = json.loads(output)
    return document


def outcome(document: dict[str, Any], folder: Path) -> dict[str, Any]:
    best = Path(document["best"]["path"]).read_text(encoding="utf-8")
    keys = ("decision", "stop_reason", "baseline", "delta", "candidates")
    return {key: document[key] for key in keys} | {"test": document["best"]["test"], "prompt": best}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_kills_change_nothing_and_cost_only_what_was_in_flight(tmp_path: Path, paid: Paid) -> None:
    """SIGKILL at ten random moments, each followed by the same command."""
    whole = finish(project(tmp_path / "whole", paid.url))
    expected = outcome(whole, tmp_path / "whole")
    calls = len(paid.server.requests)
    assert calls == whole["usage"]["task"]["calls"]
    paid.server.requests.clear()

    folder, rng = project(tmp_path / "killed", paid.url), random.Random(7)
    # The killed run may need fewer calls than the whole one did: what runs ahead in vain depends on the clock.
    moments = sorted(rng.sample(range(1, calls // 2), 10))
    for moment in moments:
        process = start(folder)
        while process.poll() is None and len(paid.asked) < moment:
            time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.communicate()
    last = finish(folder)

    assert outcome(last, folder) == expected
    assert len(paid.server.requests) - len(paid.asked) <= len(moments) * CONCURRENCY
    assert last["test_reads"] == 1


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path, paid: Paid) -> None:
    """Once drains: every call that was paid for is kept, so none is asked twice."""
    folder = project(tmp_path / "stopped", paid.url)
    process = start(folder)
    while process.poll() is None and len(paid.server.requests) < 60:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output)["error"]["type"] == "Interrupted"
    result = finish(folder)
    assert result["decision"] == "improved"
    assert set(paid.asked.values()) == {1}
