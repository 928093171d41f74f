"""Invariant 3: a run that is killed at any moment goes on when the same command is given again.

Real processes, a real HTTP server with fixed replies, SIGKILL at random moments.
"""

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import synthetic
import yaml
from aiohttp import web

from promptlearn.records import Message, fingerprint

CONCURRENCY = 8


class PaidServer:
    """Answers chat completions with `synthetic.answer` after a short while, and counts what it was asked."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.in_flight = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _serve(self) -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        runner = web.AppRunner(app)
        self._loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self._loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()

    async def _complete(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.asked[fingerprint(body)] += 1
        self.in_flight += 1
        await asyncio.sleep(0.01)
        self.in_flight -= 1
        text = synthetic.answer([Message(one["role"], one["content"]) for one in body["messages"]])
        usage = {"prompt_tokens": 50, "completion_tokens": 5}
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        return web.json_response({"choices": [choice], "usage": usage})


@pytest.fixture
def server() -> Iterator[PaidServer]:
    running = PaidServer()
    yield running
    running.stop()


def project(folder: Path, port: int) -> Path:
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
        "models": {"task": {"model": "openai/fixed", "base_url": f"http://127.0.0.1:{port}/v1"}},
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
def test_ten_kills_change_nothing_and_cost_only_what_was_in_flight(tmp_path: Path, server: PaidServer) -> None:
    """SIGKILL at ten random moments, each followed by the same command."""
    whole = finish(project(tmp_path / "whole", server.port))
    expected = outcome(whole, tmp_path / "whole")
    paid = sum(server.asked.values())
    assert paid == whole["usage"]["task"]["calls"]
    server.asked.clear()

    folder, rng, lost = project(tmp_path / "killed", server.port), random.Random(7), 0
    moments = sorted(rng.sample(range(1, paid), 10))
    for moment in moments:
        process = start(folder)
        while process.poll() is None and len(server.asked) < moment:
            time.sleep(0.002)
        assert process.poll() is None, "the run ended before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.communicate()
        lost += CONCURRENCY
    last = finish(folder)

    assert outcome(last, folder) == expected
    assert len(server.asked) == paid
    assert sum(server.asked.values()) - paid <= lost
    assert last["test_reads"] == 1
    assert last["usage"]["task"]["calls"] + last["usage"]["task"]["cached_calls"] == paid


@pytest.mark.slow
def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path: Path, server: PaidServer) -> None:
    """Once drains: every call that was paid for is kept, so none is asked twice."""
    folder = project(tmp_path / "stopped", server.port)
    process = start(folder)
    while process.poll() is None and len(server.asked) < 60:
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output)["error"]["type"] == "Interrupted"
    result = finish(folder)
    assert result["decision"] == "improved"
    assert set(server.asked.values()) == {1}
