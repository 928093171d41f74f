"""Chat completions as JSON: the body of a call, what a refusal teaches about it, and how a reply is read.

Knows OpenAI's shapes, which most endpoints speak and LiteLLM translates into; knows no socket. What a failed exchange
means is in `faults.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping, Sequence
from typing import Literal

from promptlearn.errors import ModelError
from promptlearn.models.base import Price, Reply, Sampling
from promptlearn.models.faults import Endpoint, Fault, fault_of_response
from promptlearn.records import Json, Message, Usage
from promptlearn.tokens import estimate_tokens

_REASONS = re.compile(r"(?:^|/)(?:o\d|gpt-5)")
"""OpenAI's models that take no temperature but 1."""
_UNSUPPORTED = re.compile(r"unsupported|not supported|not support|unrecognized|unknown|unexpected|extra", re.IGNORECASE)
_PARAMETER = re.compile(r"\b(temperature|max_tokens|max_completion_tokens)\b")
_THINK = re.compile(r"\s*<think>", re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.IGNORECASE | re.DOTALL)
_END_OF_THOUGHT = re.compile(r"</think>[ \t]*(?:\n\s*|\Z)")
_RAISE = "raise max_tokens"


class Dialect:
    """Which parameters one endpoint takes. Starts with what is known of it and learns from refusals."""

    def __init__(self, model: str, official: bool = False) -> None:
        """`model` is the name to send; `official` says that the endpoint is OpenAI's own."""
        self._model = model
        self._limit: Literal["max_tokens", "max_completion_tokens"] = (
            "max_completion_tokens" if official else "max_tokens"
        )
        self._temperature: Literal["any", "one", "none"] = "one" if official and _REASONS.search(model) else "any"

    def request(
        self, messages: Sequence[Message], sampling: Sampling, schema: Mapping[str, Json] | None
    ) -> dict[str, Json]:
        """The body of a call."""
        body: dict[str, Json] = {
            "model": self._model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            self._limit: sampling.max_tokens,
        }
        if self._temperature == "any" or (self._temperature == "one" and sampling.temperature == 1):
            body["temperature"] = sampling.temperature
        if sampling.top_p is not None:
            body["top_p"] = sampling.top_p
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if schema is not None:
            json_schema = {"name": "reply", "schema": dict(schema), "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": json_schema}
        return {**body, **sampling.extra}

    def adapt(self, refusal: str, request: Container[str]) -> bool:
        """Learn from a refusal that names a parameter; False where there is nothing to learn from it.

        The parameter must stand in the request that was refused: another call may have learned it in the meantime.
        """
        named = _PARAMETER.search(refusal)
        if named is None or named[1] not in request or not _UNSUPPORTED.search(refusal):
            return False
        if named[1] == "temperature":
            self._temperature = "none"
        else:
            self._limit = "max_completion_tokens" if named[1] == "max_tokens" else "max_tokens"
        return True


def parse_completion(body: str, headers: Mapping[str, str], endpoint: Endpoint) -> Json:
    """The JSON of an answer with status 200. Raises ModelError for one that is no JSON."""
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        kind = headers.get("Content-Type", "no content type")
        quoted = _quoted(body, endpoint)
        if "event-stream" in kind or body.lstrip().startswith("data:"):
            what = f"a stream of events that nobody asked for ({quoted}): switch off streaming there"
        elif "json" in kind and body.lstrip().startswith(("{", "[")):
            what = f"{kind} that is cut off or not JSON ({quoted}): give the command again later"
        else:
            what = f"{kind} that is not JSON ({quoted}): check base_url"
        raise _malformed(endpoint, what) from None
    if isinstance(data, dict) and data.get("error") and not data.get("choices"):
        raise _failed_with_200(data["error"], body, headers, endpoint)
    return data


def read_completion(
    data: Json,
    endpoint: Endpoint,
    messages: Sequence[Message],
    sampling: Sampling,
    price: Price | None = None,
    seconds: float = 0.0,
) -> Reply:
    """The reply that a completion holds: its first choice. Raises ModelError for one that is no reply.

    A closed `<think>…</think>` in front is taken off. An unclosed one, or no text within `max_tokens`, is `truncated`;
    what the provider filtered is `content_filter`, also where a part of it came through.
    """
    choice = _first_choice(data, endpoint)
    message, finish = choice["message"], choice.get("finish_reason") or "stop"
    content = _text(message.get("content"))
    refusal = message.get("refusal")
    if finish == "content_filter" or (refusal and not content.strip()):
        said = endpoint.clean(str(refusal or content or "no reason given"))
        raise ModelError("content_filter", f"{_where(endpoint)} refused to answer: {said}")
    text = _without_thoughts(content)
    if text is None:
        limit = sampling.max_tokens
        raise ModelError("truncated", f"{_where(endpoint)} was cut inside <think> at {limit} tokens: {_RAISE}")
    if not text.strip():
        raise _no_text(endpoint, str(finish), bool(content.strip() or _thoughts(message)), sampling.max_tokens)
    usage = count_usage(data.get("usage"), messages, content, price)
    return Reply(text, str(finish), usage, choice.get("logprobs"), seconds)


def count_usage(reported: Json, messages: Sequence[Message], content: str, price: Price | None) -> Usage:
    """As the endpoint counted, or an estimate where it did not count.

    Tokens from the provider's prompt cache are `prompt_tokens_details.cached_tokens` (OpenAI, and what LiteLLM makes of
    the others), `cache_read_input_tokens` (Anthropic) or `prompt_cache_hit_tokens` (DeepSeek); all of them are part of
    the prompt's tokens.
    """
    usage = reported if isinstance(reported, dict) else {}
    inner = usage.get("prompt_tokens_details")
    details = {**usage, **inner} if isinstance(inner, dict) else usage
    given = _count(usage, "prompt_tokens")
    written = _count(usage, "completion_tokens")
    input_tokens = sum(estimate_tokens(m.content) for m in messages) if given is None else given
    output_tokens = estimate_tokens(content) if written is None else written
    hit = _count(details, "cached_tokens", "cache_read_input_tokens", "prompt_cache_hit_tokens") or 0
    kept = _count(details, "cache_creation_tokens", "cache_write_tokens", "cache_creation_input_tokens") or 0
    cached = min(hit, input_tokens)
    fresh = min(kept, input_tokens - cached)
    cost = None if price is None else price.cost(input_tokens, output_tokens, cached, fresh)
    return Usage(1, 0, input_tokens, output_tokens, cached, cost)


def _first_choice(data: Json, endpoint: Endpoint) -> dict[str, Json]:
    try:
        choice = data["choices"][0]
        known = isinstance(choice["message"], dict)
    except (KeyError, IndexError, TypeError):
        known = False
    if not known:
        quoted = _quoted(json.dumps(data, default=str), endpoint)
        raise _malformed(endpoint, f"JSON without choices[0].message ({quoted}): check base_url")
    if choice.get("error"):
        raise _failed_with_200(choice["error"], json.dumps(choice["error"], default=str), {}, endpoint)
    return dict(choice)


def _failed_with_200(error: Json, body: str, headers: Mapping[str, str], endpoint: Endpoint) -> ModelError:
    """Some gateways answer 200 and put the upstream's status into the body."""
    code = error.get("code") if isinstance(error, dict) else None
    status = code if isinstance(code, int) and 400 <= code < 600 else 502
    return fault_of_response(status, body, headers, endpoint).error()


def _malformed(endpoint: Endpoint, what: str) -> ModelError:
    return Fault("malformed", f"{endpoint.shown()} answered with {endpoint.clean(what)}").error()


def _quoted(body: str, endpoint: Endpoint) -> str:
    return repr(endpoint.clean(body[:20_000])[:200])


def _no_text(endpoint: Endpoint, finish: str, thought: bool, limit: int) -> ModelError:
    only = "thoughts and no text" if thought else "no text"
    if finish == "length":
        return ModelError("truncated", f"{_where(endpoint)} wrote {only} within {limit} tokens: {_RAISE}")
    return ModelError("empty", f"{_where(endpoint)} answered with an empty text ({only}; finish_reason {finish!r})")


def _where(endpoint: Endpoint) -> str:
    return f"{endpoint.shown()} ({endpoint.model})"


def _without_thoughts(content: str) -> str | None:
    """The text behind a closed thought, or all of it where there is none; None where a thought is not closed.

    Some servers write the opening tag into the prompt, so that only the closing one stands in the reply.
    """
    if _THINK.match(content):
        text = _THOUGHT.sub("", content, count=1)
        return None if _THINK.match(text) else text
    end = _END_OF_THOUGHT.search(content)
    if end is None or "<think" in content[: end.start()]:
        return content
    return content[end.end() :]


def _thoughts(message: Mapping[str, Json]) -> Json:
    """What servers with a parser for thoughts put beside the content."""
    return message.get("reasoning_content") or message.get("reasoning")


def _text(content: Json) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _count(usage: Mapping[str, Json], *names: str) -> int | None:
    """The first of these that is a count."""
    for name in names:
        value = usage.get(name)
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return value
    return None
