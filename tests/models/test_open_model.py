from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from chat_server import Serve

from promptlearn.errors import ConfigError
from promptlearn.models import open_model
from promptlearn.models.base import Price, Sampling
from promptlearn.records import Message


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("anthropic/", {}, "possible are openai/NAME"),
        ("litellm/", {}, "possible are"),
        ("gpt-5", {}, "possible are openai/NAME"),
        ("openai/", {}, "possible are"),
        ("", {"base_url": "http://host/v1"}, "possible are"),
        ("openai/gpt-5", {}, "OPENAI_API_KEY"),
        ("small", {"base_url": "http://host/v1", "api_key_env": "MY_KEY"}, "MY_KEY"),
        ("small", {"base_url": "host:8000"}, "base_url"),
        ("local/small", {"base_url": "http://host/v1"}, "base_url"),
        ("local/unknown", {}, "smollm2-135m-instruct"),
        ("local/smollm2-135m-instruct", {}, "promptlearn models pull smollm2-135m-instruct"),
        ("local/hf:owner/repo/file.gguf", {}, "promptlearn models pull"),
        ("local/no/such.gguf", {}, "no/such.gguf"),
    ],
)
def test_what_can_not_be_opened(
    name: str, options: dict[str, str], says: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("MY_KEY", raising=False)
    monkeypatch.setenv("PROMPTLEARN_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        open_model(name, **options)  # type: ignore[arg-type]
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_a_key_from_the_environment(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    server = await serve([])
    monkeypatch.setenv("MY_KEY", " secret-value\n")
    price = Price(1, 2)
    model = open_model(
        "openai/m", base_url=server.url, api_key_env="MY_KEY", sampling=Sampling(max_tokens=7), price=price
    )
    await model.complete([Message("user", "hello")])
    await model.close()
    assert server.requests[0].headers["Authorization"] == "Bearer secret-value"
    assert server.requests[0].body["max_tokens"] == 7
    assert (model.name, model.price) == ("openai/m", price)


async def test_no_key_is_sent_to_an_endpoint_that_names_none(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 10: the key of one provider does not reach another one."""
    server = await serve([])
    monkeypatch.setenv("OPENAI_API_KEY", "secret-value")
    model = open_model("openai/m", base_url=server.url)
    await model.complete([Message("user", "hello")])
    await model.close()
    assert "Authorization" not in server.requests[0].headers


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = "import sys, promptlearn.models, promptlearn.models.retries, promptlearn.models.structured\n"
    code += "print([name for name in ('aiohttp', 'xllamacpp', 'yaml', 'pydantic') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
