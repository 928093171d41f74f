"""Models: what is called to answer, to judge and to rewrite. `open_model` makes one from its name.

Knows which module serves which name; imports it only when such a model is opened.
"""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import urlsplit

from promptlearn.errors import ConfigError, UsageError
from promptlearn.models.base import Model, Price, Sampling

__all__ = ["open_model"]

_POSSIBLE = (
    "openai/NAME, local/NAME, local/PATH.gguf, local/hf:OWNER/REPO/FILE.gguf, scripted/PATH.yaml, or any name with a"
    " base_url that speaks chat completions"
)


def open_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    sampling: Sampling = Sampling(),
    timeout: float = 120.0,
    slots: int = 16,
    context: int = 4096,
    price: Price | None = None,
) -> Model:
    """The model that `name` stands for. Every call is one attempt; retries are in `models.retries`.

    `timeout` is in seconds per call. `slots` is how many calls may come at once and `context` the tokens per call of a
    local model. The API key is read from the environment variable `api_key_env`; for api.openai.com that is
    OPENAI_API_KEY, for another endpoint there is none unless it is named. Raises ConfigError.
    """
    provider, _, rest = name.partition("/")
    if provider in ("local", "scripted") and rest:
        if base_url is not None:
            raise ConfigError(
                f"{name} runs in this process and has no base_url; leave base_url out, or rename the model"
            )
        if provider == "scripted":
            from promptlearn.models.scripted import load_script

            return load_script(Path(rest), sampling)
        return _local(name, rest, sampling, timeout, slots, context)
    if not name.strip() or (base_url is None and (provider != "openai" or not rest)):
        raise ConfigError(f"model {name!r} is not known: possible are {_POSSIBLE}")
    return _remote(name, base_url, api_key_env, sampling, timeout, price)


def _remote(
    name: str, base_url: str | None, api_key_env: str | None, sampling: Sampling, timeout: float, price: Price | None
) -> Model:
    from promptlearn.models.openai import OPENAI_URL, ChatModel

    url = OPENAI_URL if base_url is None else base_url
    if api_key_env is None and urlsplit(url).hostname == "api.openai.com":
        api_key_env = "OPENAI_API_KEY"
    key = None
    if api_key_env is not None:
        key = os.environ.get(api_key_env, "").strip()
        if not key:
            raise ConfigError(f"model {name}: the environment variable {api_key_env} that holds its API key is not set")
    return ChatModel(name, url, api_key=key, api_key_env=api_key_env, sampling=sampling, timeout=timeout, price=price)


def _local(name: str, file: str, sampling: Sampling, timeout: float, slots: int, context: int) -> Model:
    from promptlearn.models.local import LocalModel
    from promptlearn.models.pull import model_path

    try:
        path = model_path(file)
    except UsageError as error:
        raise ConfigError(f"model {name}: {error}") from None
    return LocalModel(name, path, sampling=sampling, timeout=timeout, slots=slots, context=context)
