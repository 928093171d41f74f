"""Language models between DSPy and promptlearn, in both directions; runs import `dspy` here.

`lm_of` makes a `dspy.LM` that asks one of our models; `LmModel` is one of our models that asks a `dspy.LM`. Knows
nothing about programs, prompts or budgets. DSPy's disk cache is pickle (CVE-2025-69872) and is switched off for the
process; our models get no cache of DSPy's at all, because the journal is theirs.
"""

from __future__ import annotations

import asyncio
import importlib
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from promptlearn.errors import ConfigError, ModelError, SystemicError
from promptlearn.models.base import Model, ModelBase, Reply, Sampling
from promptlearn.records import Json, Message, Usage, fingerprint
from promptlearn.redaction import redact

_KINDS = {
    "LMAuthError": "auth",
    "LMBillingError": "auth",
    "LMNotConfiguredError": "auth",
    "LMUnsupportedModelError": "not_found",
    "LMRateLimitError": "rate_limit",
    "LMTimeoutError": "timeout",
    "LMServerError": "server",
    "LMTransportError": "connection",
    "ContextWindowExceededError": "context_length",
    "LMInvalidRequestError": "bad_request",
}


@cache
def load_dspy() -> Any:
    """The package `dspy`, without its disk cache. Raises ConfigError where it is not installed."""
    try:
        dspy = importlib.import_module("dspy")
    except ModuleNotFoundError as error:
        if error.name != "dspy":
            raise
        raise ConfigError("DSPy is not installed: pip install 'promptlearn-optimizer[dspy]'") from None
    dspy.configure_cache(enable_disk_cache=False)
    return dspy


@dataclass(slots=True)
class Spent:
    """What calls within `counting` cost, and how the last of them failed."""

    usage: Usage = Usage()
    error: ModelError | None = None


_COUNTING: ContextVar[Spent | None] = ContextVar("promptlearn_dspy_spent", default=None)


@contextmanager
def counting() -> Iterator[Spent]:
    """Count what our models are asked by DSPy in this context, and in threads that copied it."""
    spent = Spent()
    token = _COUNTING.set(spent)
    try:
        yield spent
    finally:
        _COUNTING.reset(token)


@dataclass(slots=True)
class ModelEngine:
    """A DSPy engine that asks one of our models. Call it in a thread other than that of `loop`."""

    model: Model
    loop: asyncio.AbstractEventLoop | None = None
    """Where the model runs; set before the first call."""

    def complete(self, request: Any) -> Any:
        if self.loop is None:
            raise ModelError("program", f"{self.model.name}: asked outside of a run")
        spent = _COUNTING.get()
        coroutine = self.model.complete(messages_of(request), self._sampling(request.config))
        try:
            reply = asyncio.run_coroutine_threadsafe(coroutine, self.loop).result()
        except ModelError as error:
            if spent is not None:
                spent.error = error
            raise
        if spent is not None:
            spent.usage += reply.usage
        return response_of(reply, request.model)

    def _sampling(self, config: Any) -> Sampling:
        wanted = {
            "max_tokens": config.max_tokens,
            "temperature": config.temperature,
            "top_p": config.top_p,
            "seed": config.seed,
            "stop": tuple(config.stop) or None,
        }
        sampling = replace(self.model.sampling, **{key: value for key, value in wanted.items() if value is not None})
        if config.response_format:
            extra = {**sampling.extra, "response_format": dict(config.response_format)}
            return replace(sampling, extra=extra)
        return sampling


def lm_of(model: Model) -> tuple[Any, ModelEngine]:
    """A `dspy.LM` that asks `model`, and its engine."""
    dspy, engine = load_dspy(), ModelEngine(model)
    sampling = model.sampling
    lm = dspy.LM(
        f"promptlearn/{model.name}",
        engine=engine,
        cache=False,
        num_retries=0,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
    )
    return lm, engine


def messages_of(request: Any) -> tuple[Message, ...]:
    """A DSPy request as our messages. Raises ModelError for anything but text."""
    system = request.system
    if system is not None and not isinstance(system, str):
        system = "".join(part.text for part in system)
    if any(not hasattr(part, "text") for message in request.messages for part in message.parts):
        raise ModelError("bad_request", "the program sends more than text, which promptlearn's models do not take")
    said = [Message(_role(message.role), message.text or "") for message in request.messages]
    return (Message("system", system), *said) if system else tuple(said)


def _role(role: str) -> Any:
    return {"developer": "system", "tool": "user"}.get(role, role)


def response_of(reply: Reply, model: str) -> Any:
    lm15 = importlib.import_module("dspy.lm15")
    usage = lm15.Usage(input_tokens=reply.usage.input_tokens, output_tokens=reply.usage.output_tokens)
    reason = reply.finish_reason if reply.finish_reason in ("stop", "length", "content_filter") else "stop"
    message = lm15.Message.assistant(reply.text)
    return lm15.Response(id=None, model=model, message=message, finish_reason=reason, usage=usage)


def error_of(error: Exception, name: str) -> ModelError:
    """What DSPy raised, as one of ours; its words are kept."""
    kinds = (_KINDS[cls.__name__] for cls in type(error).__mro__ if cls.__name__ in _KINDS)
    kind = next(kinds, "program")
    said = " ".join(str(error).split()) or "no words"
    message = f"{name}: {type(error).__name__}: {said:.500}"
    retry_after = getattr(error, "retry_after", None)
    return SystemicError(kind, message) if kind in ("auth", "not_found") else ModelError(kind, message, retry_after)


def describe_lm(lm: Any) -> Json:
    """What makes two `dspy.LM`s the same; no keys (invariant 10)."""
    if lm is None:
        return None
    secret = ("key", "token", "secret", "header", "credential")
    kwargs = {
        key: redact(repr(value))
        for key, value in sorted(getattr(lm, "kwargs", {}).items())
        if (not key.startswith("api_") or key == "api_base")
        and (key == "max_tokens" or not any(word in key for word in secret))
    }
    return [str(lm.model), kwargs]


class LmModel(ModelBase):
    """A `dspy.LM` as a model, for judges and for proposers. What it costs is unknown, not nothing."""

    def __init__(self, lm: Any, sampling: Sampling | None = None) -> None:
        """`sampling` is what callers get who give none; by default what the LM was made with."""
        made = getattr(lm, "kwargs", {})
        own = Sampling(
            max_tokens=made.get("max_tokens") or made.get("max_completion_tokens") or 2048,
            temperature=made.get("temperature") or 0.0,
        )
        super().__init__(f"dspy/{lm.model}", f"dspy/{fingerprint(describe_lm(lm), 32)}", sampling or own, None)
        self._lm = lm

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        """One completion; see `Model.complete`. A schema is refused, so that callers ask in words."""
        if schema is not None:
            raise ModelError("bad_request", f"{self.name}: schemas are not passed on to DSPy")
        started = time.monotonic()
        request = self._request(messages, sampling or self.sampling)
        try:
            response = await asyncio.to_thread(self._lm, request, cache=False)
        except ModelError:
            raise
        except Exception as error:
            raise error_of(error, self.name) from None
        text = response.message.text or ""
        if not text.strip():
            raise ModelError("empty", f"{self.name}: an empty reply")
        usage = Usage(1, 0, response.usage.input_tokens or 0, response.usage.output_tokens or 0, cost_usd=None)
        return Reply(text, str(response.finish_reason), usage, seconds=time.monotonic() - started)

    async def close(self) -> None:
        """Nothing to give back: the LM is the user's."""

    def _request(self, messages: Sequence[Message], sampling: Sampling) -> Any:
        lm15 = importlib.import_module("dspy.lm15")
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        said = [m for m in messages if m.role != "system"] or [Message("user", system)]
        return lm15.Request(
            model=self._lm.model,
            system=system if len(said) < len(messages) else None,
            messages=tuple(lm15.Message(role=m.role, parts=(lm15.TextPart(m.content),)) for m in said),
            config=lm15.Config(max_tokens=sampling.max_tokens, temperature=sampling.temperature),
        )
