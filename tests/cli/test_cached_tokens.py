"""Tokens that a provider's prompt cache answered, from the reply to what the person reads."""

import json
from pathlib import Path

import pytest
import yaml
from chat_server import Answer, ChatServer, completion
from shop import write_shop

from promptlearn.cli.main import execute

USAGE = {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 60}}


def test_cached_tokens_are_reported_and_priced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Invariant 1: what the cache answered is paid for at the cache's price."""
    write_shop(tmp_path)
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "promptlearn.yaml"
    with ChatServer(lambda request: Answer(completion("shipping", usage=USAGE))).in_thread() as url:
        content = yaml.safe_load(config.read_text())
        price = {"input": 1.0, "output": 10.0, "cached": 0.1}
        content["models"] = {"task": {"model": "m", "base_url": url, "price": price}}
        content["search"] = {"rounds": 0}
        config.write_text(yaml.safe_dump(content))
        execute(["run", "--json"])
        used = json.loads(capsys.readouterr().out)["usage"]["task"]
        execute(["run", "--store", "another.db"])
        table = capsys.readouterr().out
    assert used["calls"] > 0
    assert (used["input_tokens"], used["cached_tokens"]) == (100 * used["calls"], 60 * used["calls"])
    assert used["cost_usd"] == pytest.approx(used["calls"] * (40 * 1.0 + 60 * 0.1 + 10 * 10.0) / 1e6)
    assert "(60% cached)" in table
