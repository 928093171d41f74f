"""LiteLLMModel: every provider that does not speak chat completions by itself, through the `litellm` package.

Knows how LiteLLM is imported, called and closed; what its exceptions mean is in `faults.py`, what its replies hold in
`completion.py`. Importing it takes seconds, so that happens when the first such model is opened; its price table comes
from the installed package and not from the network, `.env` files stay unread, and its own retries are off.
"""

from __future__ import annotations

import asyncio
import difflib
import importlib
import importlib.util
import inspect
import logging
import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

from promptlearn.errors import ConfigError, ModelError
from promptlearn.models.base import ModelBase, Price, Reply, Sampling
from promptlearn.models.completion import Dialect, read_completion
from promptlearn.models.faults import Endpoint, fault_of_litellm
from promptlearn.models.keys import api_key, environment_keys
from promptlearn.models.prices import price_of
from promptlearn.records import Json, Message
from promptlearn.tokens import estimate_tokens

CACHED_PREFIX = 1024
"""Tokens from which on Anthropic's models cache a prefix; some want more, and then ignore the marker."""

_OFFLINE = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True"}
"""Without these LiteLLM asks GitHub, with its import and with the first call."""
_CREDENTIALS_ELSEWHERE = frozenset(
    {"azure", "bedrock", "ollama", "ollama_chat", "sagemaker", "sagemaker_chat", "vertex_ai", "vertex_ai_beta"}
)
"""Providers that find credentials, or need none, where no environment variable says so."""
_CLAUDE_SELLERS = frozenset({"anthropic", "azure_ai", "bedrock", "vertex_ai"})
"""Whose Claude caches only prefixes that are marked."""
_SOME = "anthropic, azure, bedrock, cohere, deepseek, gemini, groq, mistral, openrouter, vertex_ai, xai"
_MOST_PREFIXES = 1024

_open: WeakKeyDictionary[asyncio.AbstractEventLoop, set[LiteLLMModel]] = WeakKeyDictionary()
"""The models that have called in an event loop and are not closed: LiteLLM's sockets there are theirs together."""


class LiteLLMModel(ModelBase):
    """A model of any provider that LiteLLM knows, one attempt per call.

        model = LiteLLMModel("anthropic/claude-sonnet-4-5")
        reply = await model.complete([Message("user", "Hello")])
        await model.close()

    LiteLLM finds the key in the variable that the provider's own tools read (ANTHROPIC_API_KEY, …), unless another one
    is named. To a `base_url` no key is sent but a named one. Parameters that a provider does not take (a seed) are left
    out. For Claude, what stands in front of the last message is marked for the prompt cache once it has come before
    and is long enough: writing into that cache costs more than reading, so it pays from the second time on.
    """

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key_env: str | None = None,
        sampling: Sampling = Sampling(),
        timeout: float = 120.0,
        price: Price | None = None,
    ) -> None:
        """`name` is `PROVIDER/NAME`, with or without `litellm/` in front. `timeout` is in seconds for a whole call.

        Without a `price` the one of LiteLLM's table holds, but not for another `base_url`. Raises ConfigError where
        LiteLLM is missing, the provider is unknown or its key not set.
        """
        model = name.removeprefix("litellm/")
        self._litellm = load_litellm(name)
        provider, short = _provider(self._litellm, name, model)
        key = _key(self._litellm, name, model, provider, base_url, api_key_env)
        key_env = api_key_env or _usual_variable(provider)
        where = (base_url or provider).rstrip("/")
        self._endpoint = Endpoint(where, model, key_env, environment_keys([api_key_env] if api_key_env else []))
        table = price_of(provider, short) if price is None and base_url is None else None
        super().__init__(name, f"litellm:{self._endpoint.shown()}#{model}", sampling, price or table)
        self._quoted = table is not None
        self._options: dict[str, Json] = {"timeout": timeout, "num_retries": 0, "max_retries": 0, "drop_params": True}
        self._options |= {"api_base": base_url} if base_url else {}
        self._options |= {"api_key": key} if key else {}
        self._timeout = timeout
        self._dialect = Dialect(model)
        supported = self._litellm.get_supported_openai_params(model=short, custom_llm_provider=provider)
        self._formats = "response_format" in (supported or ())
        self._marks = "claude" in model and provider in _CLAUDE_SELLERS
        self._prefixes: set[int] = set()

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """One attempt; see `Model.complete`. `repeat` only tells calls apart and is not sent."""
        started = time.perf_counter()
        sampling = sampling or self._sampling
        adaptations = 3
        while True:
            request = self._request(messages, sampling, schema)
            try:
                answer = await self._call(request)
                break
            except Exception as error:
                refused = adaptations > 0 and getattr(error, "status_code", None) in (400, 422)
                if not (refused and self._dialect.adapt(str(error), request)):
                    raise fault_of_litellm(error, self._endpoint, self._timeout).error() from None
            adaptations -= 1
        seconds = time.perf_counter() - started
        reply = read_completion(answer.model_dump(), self._endpoint, messages, sampling, self._price, seconds)
        cost = answer._hidden_params.get("response_cost") if self._quoted else None
        return reply if cost is None else replace(reply, usage=replace(reply.usage, cost_usd=cost))

    async def close(self) -> None:
        """Close LiteLLM's sockets of the running event loop, where no other model uses them."""
        loop = asyncio.get_running_loop()
        users = _open.get(loop, set())
        users.discard(self)
        if not users:
            await _close_clients(self._litellm, loop)

    def _request(
        self, messages: Sequence[Message], sampling: Sampling, schema: Mapping[str, Json] | None
    ) -> dict[str, Json]:
        request = self._dialect.request(messages, sampling, schema)
        if "response_format" in request and not self._formats:
            raise ModelError("bad_request", f"{self._name} has no response_format, as far as LiteLLM knows")
        if self._marks:
            self._mark(request["messages"][:-1])
        return request

    async def _call(self, request: Mapping[str, Json]) -> Any:
        _open.setdefault(asyncio.get_running_loop(), set()).add(self)
        async with asyncio.timeout(self._timeout):
            return await self._litellm.acompletion(**request, **self._options)

    def _mark(self, prefix: Sequence[dict[str, Json]]) -> None:
        """Mark the end of what came before the question, if it is worth it; see the class."""
        if sum(estimate_tokens(message["content"]) for message in prefix) < CACHED_PREFIX:
            return
        key = hash(tuple((message["role"], message["content"]) for message in prefix))
        if key in self._prefixes:
            end = prefix[-1]
            end["content"] = [{"type": "text", "text": end["content"], "cache_control": {"type": "ephemeral"}}]
        elif len(self._prefixes) < _MOST_PREFIXES:
            self._prefixes.add(key)


def load_litellm(name: str) -> Any:
    """The package, imported without network, `.env` and noise. Raises ConfigError naming the model that needs it."""
    if importlib.util.find_spec("litellm") is None:
        raise ConfigError(
            f"model {name} needs LiteLLM: pip install 'promptlearn-optimizer[litellm]', or give it a base_url that"
            " speaks chat completions"
        )
    os.environ.update(_OFFLINE)
    mode = os.environ.get("LITELLM_MODE")
    os.environ["LITELLM_MODE"] = "PRODUCTION"  # in its other mode it loads the .env file of the working directory
    try:
        litellm: Any = importlib.import_module("litellm")
    finally:
        del os.environ["LITELLM_MODE"]
        os.environ.update({"LITELLM_MODE": mode} if mode is not None else {})
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    if "LITELLM_LOG" not in os.environ:
        logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    return litellm


def _provider(litellm: Any, name: str, model: str) -> tuple[str, str]:
    """The provider and its own name of the model."""
    try:
        short, provider, _, _ = litellm.get_llm_provider(model)
    except litellm.BadRequestError:
        known = [str(getattr(one, "value", one)) for one in litellm.provider_list]
        given = model.partition("/")[0]
        close = difflib.get_close_matches(given, known, n=1)
        hint = f"did you mean {close[0]}/?" if close else f"known are {_SOME} and more"
        raise ConfigError(
            f"model {name}: LiteLLM knows no provider {given!r}; {hint} (or give the model a base_url that speaks chat"
            " completions)"
        ) from None
    return str(provider), str(short)


def _key(
    litellm: Any, name: str, model: str, provider: str, base_url: str | None, api_key_env: str | None
) -> str | None:
    """The key to send; None where LiteLLM finds it. Raises ConfigError where it would not."""
    if api_key_env is not None:
        return api_key(name, api_key_env)
    if provider in _CREDENTIALS_ELSEWHERE:
        return None
    if base_url is not None:
        return "none"
    asked = litellm.validate_environment(model)["missing_keys"]
    missing = [variable for variable in asked if variable.endswith(("KEY", "TOKEN"))]
    if missing:
        variables = " or ".join(missing)
        raise ConfigError(f"model {name}: set the environment variable {variables}, or name yours in api_key_env")
    return None


def _usual_variable(provider: str) -> str | None:
    variable = f"{provider.upper()}_API_KEY"
    return variable if variable in os.environ else None


async def _close_clients(litellm: Any, loop: asyncio.AbstractEventLoop) -> None:
    """LiteLLM keeps its clients by event loop and closes them only all at once, those of other threads too."""
    cache = litellm.in_memory_llm_clients_cache
    for key in [key for key in cache.cache_dict if str(key).endswith(f"-{id(loop)}")]:
        client = cache.cache_dict.pop(key)
        cache.ttl_dict.pop(key, None)
        closing = client.close()
        if inspect.isawaitable(closing):
            await closing
