"""VllmSampler: draws from a vLLM server that has the base model, and gives it each adapter while it runs.

    VLLM_ALLOW_RUNTIME_LORA_UPDATING=True vllm serve MODEL --enable-lora --max-lora-rank 32

Speaks the server's completions with token ids on both sides (`return_token_ids`), so that nothing is tokenised twice,
and `/v1/load_lora_adapter`. The adapter's folder must have the same path where the server runs. Whatever is published
gets a name of its own: a name loaded twice is refused, or answered from what was cached under it. Knows no torch.
"""

from __future__ import annotations

import asyncio
import json
import math
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from promptlearn.errors import ConfigError, ModelError, PromptlearnError, SystemicError
from promptlearn.models.base import Sampling
from promptlearn.models.faults import Endpoint, fault_of_exception, fault_of_response
from promptlearn.models.retries import RetryPolicy, outlived
from promptlearn.records import Json
from promptlearn.redaction import redact
from promptlearn.tuning.base import (
    NEUTRAL,
    Adapter,
    Learner,
    Sample,
    check_sampling,
    greedy_sampling,
    training_sampling,
)
from promptlearn.tuning.canary import check

if TYPE_CHECKING:
    import aiohttp

TOLERANCE = 0.1
"""Of the canary, nats per token: server and learner round differently in 16 bits."""

_NEUTRAL = {key: value for key, value in NEUTRAL.items() if key != "typical_p"}
"""What a request leaves unsaid the server takes from the model's generation_config.json. It knows no typical_p."""

PATIENCE = 5.0
"""Seconds for the list of models, since whoever needs longer is no vLLM server, and for the last unloading."""


class VllmSampler:
    """A `Sampler` over a running server; `base_url` is its root, such as http://127.0.0.1:8000."""

    def __init__(
        self,
        base_url: str,
        model: str = "",
        *,
        api_key: str | None = None,
        timeout: float = 600.0,
        tolerance: float = TOLERANCE,
        retries: RetryPolicy = RetryPolicy(),
    ) -> None:
        """`model` is what the server calls the base, where `prove` is not to find that out; `timeout` in seconds is of
        one request, and the longest wait before it is made again.
        """
        self._url = base_url.rstrip("/").removesuffix("/v1")
        self._base = model
        self._name = model
        self._key = api_key
        self._timeout = timeout
        self._tolerance = tolerance
        self._retries = retries
        self._reached = False
        self._version = 0
        self._session: aiohttp.ClientSession | None = None

    @property
    def policy_version(self) -> int:
        return self._version

    async def prove(self, learner: Learner, model: str | None, base: str, folder: Path) -> None:
        """Find the base among the server's models, publish the learner's adapter and draw a token: all that training
        needs, with the learner's own weights.

        `model` is its name there; None: `base`, or the only one that the server has. Raises ConfigError, ModelError,
        TuningError.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                served = await self._models()
        except TimeoutError:
            raise ModelError("timeout", f"{redact(self._url)} lists no models within {PATIENCE:g} s") from None
        wanted = model or (base if base in served or len(served) != 1 else served[0])
        if wanted not in served:
            raise ConfigError(f"{redact(self._url)} has no model {wanted}: possible are {', '.join(served) or 'none'}")
        self._base = self._name = wanted
        adapter = await asyncio.to_thread(learner.save_adapter, folder / f"policy-{learner.version:06}")
        await self.publish(adapter)
        prompt = adapter.canary.token_ids[:4] if adapter.canary else (0,)
        async for _ in self.sample(prompt, 1, training_sampling(1, seed=0)):
            pass

    async def sample(self, prompt_ids: Sequence[int], n: int, sampling: Sampling) -> AsyncIterator[Sample]:
        if sampling != greedy_sampling(sampling.max_tokens):
            check_sampling(sampling)
        if not prompt_ids:
            raise ConfigError("a prompt without tokens can not be completed")
        name, version = self._name, self._version
        tasks = [asyncio.create_task(self._one(name, version, prompt_ids, index, sampling)) for index in range(n)]
        try:
            for ended in asyncio.as_completed(tasks):
                yield await ended
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def publish(self, adapter: Adapter) -> int:
        name, before = f"promptlearn-{secrets.token_hex(6)}", self._name
        await self._load(name, str(adapter.path.resolve()))
        try:
            if adapter.canary is not None:
                check(adapter.canary, await self._scored(name, adapter.canary.token_ids), self._tolerance)
        except PromptlearnError:
            await self._leave(name)
            raise
        self._name, self._version = name, adapter.version
        if before != self._base:
            await self._unload(before)
        return self._version

    async def close(self) -> None:
        """The server keeps nothing of ours, where it can still be told."""
        name, self._name = self._name, self._base
        if name != self._base:
            await self._leave(name)
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _load(self, name: str, path: str) -> None:
        try:
            await self._ask("POST", "/v1/load_lora_adapter", {"lora_name": name, "lora_path": path})
        except ModelError as error:
            if "already been loaded" not in str(error):  # the name is new: by an attempt whose answer was lost
                raise

    async def _unload(self, name: str) -> None:
        try:
            await self._ask("POST", "/v1/unload_lora_adapter", {"lora_name": name})
        except ModelError as error:
            if error.kind != "not_found":  # it was there: an attempt whose answer was lost took it away
                raise

    async def _leave(self, name: str) -> None:
        """Unload an adapter of a run that is over; whatever ended it counts for more than a server that says no."""
        with suppress(ModelError, TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._unload(name)

    async def _one(self, name: str, version: int, prompt_ids: Sequence[int], index: int, sampling: Sampling) -> Sample:
        body = {
            "model": name,
            "prompt": list(prompt_ids),
            "max_tokens": sampling.max_tokens,
            "temperature": sampling.temperature,
            "top_p": 1.0,
            **_NEUTRAL,
            "logprobs": 0,
            "return_token_ids": True,
        }
        if sampling.seed is not None:
            body["seed"] = sampling.seed * 1_000_003 + index
        choice = await self._completion(body)
        ids, logprobs = choice.get("token_ids"), (choice.get("logprobs") or {}).get("token_logprobs")
        if not ids or not logprobs or len(ids) != len(logprobs):
            raise self._malformed(
                "without token ids and a log-probability for each: training needs vLLM 0.10.2 or later"
            )
        if not all(math.isfinite(value) for value in logprobs):
            raise self._malformed("with a log-probability that is no number")
        reason = choice.get("finish_reason")
        if reason not in ("stop", "length"):
            raise self._malformed(f"with a sample that ended by {reason!r} instead of stop or length")
        return Sample(index, tuple(ids), tuple(logprobs), reason, version)

    async def _scored(self, name: str, token_ids: Sequence[int]) -> list[float]:
        """The log-probability of each token but the first."""
        body = {"model": name, "prompt": list(token_ids), "max_tokens": 1, "temperature": 1.0, "prompt_logprobs": 0}
        scored = (await self._completion(body)).get("prompt_logprobs") or []
        pairs = zip(token_ids[1:], scored[1:], strict=False)
        try:
            return [float(places[str(token)]["logprob"]) for token, places in pairs]
        except (KeyError, TypeError):
            raise self._malformed("without the prompt's log-probabilities") from None

    async def _completion(self, body: Mapping[str, Json]) -> Any:
        """The first choice."""
        text = await self._ask("POST", "/v1/completions", body)
        try:
            return json.loads(text)["choices"][0]
        except (ValueError, KeyError, TypeError, IndexError):
            raise self._malformed("without a choice") from None

    async def _models(self) -> list[str]:
        """Names of the models that have weights of their own; adapters have a parent. Asked once: who is not there now
        is not waited for.
        """
        text = await self._attempt("GET", "/v1/models", None)
        try:
            return [str(entry["id"]) for entry in json.loads(text)["data"] if not entry.get("parent")]
        except (ValueError, KeyError, TypeError, AttributeError):
            raise self._malformed("without a list of models") from None

    async def _ask(self, method: str, path: str, body: Mapping[str, Json] | None) -> str:
        """The answer's text, asked for again where that may help. Raises ModelError; SystemicError where no call can
        succeed.
        """
        attempts = 0
        while True:
            try:
                return await self._attempt(method, path, body)
            except ModelError as error:
                attempts += 1
                delay = self._retries.delay(error, attempts)
                if delay is None or delay > self._timeout:
                    raise outlived(error, self._reached) from None
            await asyncio.sleep(delay)

    async def _attempt(self, method: str, path: str, body: Mapping[str, Json] | None) -> str:
        import aiohttp

        if self._session is None:
            headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
            timeout = aiohttp.ClientTimeout(total=self._timeout)
            self._session = aiohttp.ClientSession(headers=headers, timeout=timeout)
        named = str(body.get("model", "")) if body else ""
        endpoint = Endpoint(self._url + path, named, secrets=(self._key,) if self._key else ())
        try:
            async with self._session.request(method, self._url + path, json=body) as response:
                text = await response.text()
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            raise fault_of_exception(error, endpoint, self._timeout).error() from None
        self._reached = True
        if response.status == 404 and path.endswith("_lora_adapter"):
            hint = "start vLLM with --enable-lora and VLLM_ALLOW_RUNTIME_LORA_UPDATING=True"
            raise SystemicError("not_found", f"{endpoint.shown()} takes no adapters: {hint}")
        if response.status != 200:
            raise fault_of_response(response.status, text, response.headers, endpoint).error()
        return text

    def _malformed(self, what: str) -> ModelError:
        return ModelError("malformed", f"{redact(self._url)} answered {what}")
