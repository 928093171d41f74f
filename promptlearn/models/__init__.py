"""Models: what is called to answer, to judge and to rewrite. `open_model` makes one from its name.

Knows which module serves which name; imports it only when such a model is opened.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from promptlearn.errors import ConfigError, UsageError
from promptlearn.models.base import FREE, Model, Price, Sampling
from promptlearn.models.keys import api_key
from promptlearn.models.prices import price_of

if TYPE_CHECKING:
    from promptlearn.models.scripted import ScriptedModel as ScriptedModel

__all__ = ["ScriptedModel", "open_model"]

_POSSIBLE = (
    "openai/NAME, PROVIDER/NAME (through LiteLLM), local/NAME, local/PATH.gguf, local/hf:OWNER/REPO/FILE.gguf,"
    " scripted/PATH.yaml, or any name with a base_url that speaks chat completions"
)


def __getattr__(name: str) -> object:
    """`ScriptedModel` is imported when it is first used."""
    if name != "ScriptedModel":
        raise AttributeError(f"module 'promptlearn.models' has no attribute {name!r}")
    from promptlearn.models.scripted import ScriptedModel

    return ScriptedModel


def open_model(
    name: str,
    *,
    base_url: str | None = None,
    api_key_env: str | None = None,
    sampling: Sampling = Sampling(),
    timeout: float = 120.0,
    slots: int = 16,
    context: int = 4096,
    adapter: Path | None = None,
    price: Price | None = None,
) -> Model:
    """The model that `name` stands for. Every call is one attempt; retries are in `models.retries`.

    `timeout` is in seconds per call. `slots` is how many calls may come at once and `context` the tokens per call of a
    local model, `adapter` a LoRA adapter for it, in GGUF. The API key is read from the environment variable
    `api_key_env`; for api.openai.com that is OPENAI_API_KEY and for LiteLLM's providers their own, for another endpoint
    there is none unless it is named.

    With a `base_url` every name speaks chat completions to it; `litellm/PROVIDER/NAME` speaks the provider's own
    protocol instead. Without a `price`, OpenAI's models and LiteLLM's providers cost what LiteLLM's table says, if it
    is installed, and models in this process nothing. Raises ConfigError.
    """
    provider, _, rest = name.partition("/")
    if provider in ("local", "scripted") and rest:
        if base_url is not None:
            raise ConfigError(
                f"{name} runs in this process and has no base_url; leave base_url out, or rename the model"
            )
        if provider == "scripted":
            from promptlearn.models.scripted import load_script

            return load_script(Path(rest), sampling, price or FREE)
        return _local(name, rest, adapter, sampling, timeout, slots, context, price or FREE)
    if adapter is not None:
        raise ConfigError(f"{name}: only local/… models take an adapter; leave it out, or name what serves it")
    if not name.strip() or (base_url is None and not (provider and rest)):
        raise ConfigError(f"model {name!r} is not known: possible are {_POSSIBLE}")
    if provider == "litellm" or (base_url is None and provider != "openai"):
        from promptlearn.models.providers import LiteLLMModel

        return LiteLLMModel(
            name, base_url=base_url, api_key_env=api_key_env, sampling=sampling, timeout=timeout, price=price
        )
    return _chat(name, base_url, api_key_env, sampling, timeout, price)


def _chat(
    name: str, base_url: str | None, api_key_env: str | None, sampling: Sampling, timeout: float, price: Price | None
) -> Model:
    from promptlearn.models.openai import OPENAI_URL, ChatModel

    url = OPENAI_URL if base_url is None else base_url
    if urlsplit(url).hostname == "api.openai.com":
        api_key_env = api_key_env or "OPENAI_API_KEY"
        price = price or price_of("openai", name.removeprefix("openai/"))
    key = None if api_key_env is None else api_key(name, api_key_env)
    return ChatModel(name, url, api_key=key, api_key_env=api_key_env, sampling=sampling, timeout=timeout, price=price)


def _local(
    name: str,
    file: str,
    adapter: Path | None,
    sampling: Sampling,
    timeout: float,
    slots: int,
    context: int,
    price: Price,
) -> Model:
    from promptlearn.models.local import LocalModel
    from promptlearn.models.pull import model_path

    try:
        path = model_path(file)
    except UsageError as error:
        raise ConfigError(f"model {name}: {error}") from None
    return LocalModel(
        name, path, adapter=adapter, sampling=sampling, timeout=timeout, slots=slots, context=context, price=price
    )
