"""ChatModel: any endpoint that speaks OpenAI's chat completions, one attempt per call.

Knows the request and reply bodies and the socket; classification of failures is in `faults.py`, retries are in
`retries.py`. Speaks aiohttp itself, because a call costs a tenth of what it costs through an SDK.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Mapping, Sequence
from typing import Literal
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp

from promptlearn import __version__
from promptlearn.errors import ConfigError, ModelError
from promptlearn.models.base import Price, Reply, Sampling
from promptlearn.models.faults import Endpoint, Fault, fault_of_exception, fault_of_response
from promptlearn.records import Json, Message, Usage
from promptlearn.redaction import redact
from promptlearn.tokens import estimate_tokens

OPENAI_URL = "https://api.openai.com/v1"
MAX_BODY = 32 * 1024 * 1024
"""Bytes of a reply; a longer one is not a chat completion."""

_IDLE = 4.0
"""Seconds that an unused socket is kept; common servers close theirs after 5, and a call into that moment is lost."""
_REASONS = re.compile(r"(?:^|/)(?:o\d|gpt-5)")
"""OpenAI's models that take no temperature but 1."""
_UNSUPPORTED = re.compile(r"unsupported|not supported|not support|unrecognized|unknown|unexpected|extra", re.IGNORECASE)
_PARAMETER = re.compile(r"\b(temperature|max_tokens|max_completion_tokens)\b")
_THINK = re.compile(r"\s*<think>", re.IGNORECASE)
_THOUGHT = re.compile(r"\s*<think>.*?</think>\s*", re.IGNORECASE | re.DOTALL)
_RAISE = "raise max_tokens"


class ChatModel:
    """A model behind `BASE_URL/chat/completions`.

        model = ChatModel("openai/my-model", "http://127.0.0.1:8000/v1", api_key=os.environ["MY_KEY"])
        reply = await model.complete([Message("user", "Hello")])
        await model.close()

    The name sent is `name` without a leading `openai/`. `base_url` is used as it is, only a trailing slash is dropped.
    A parameter that the endpoint says it does not know (`temperature`, `max_tokens`) is left out or renamed from then
    on. An unclosed `<think>`, or no text within `max_tokens`, is `ModelError("truncated")`; a closed `<think>…</think>`
    in front of the reply is taken off.
    """

    def __init__(
        self,
        name: str,
        base_url: str = OPENAI_URL,
        *,
        api_key: str | None = None,
        api_key_env: str | None = None,
        sampling: Sampling = Sampling(),
        timeout: float = 120.0,
        price: Price | None = None,
        identity: str | None = None,
        connections: int = 0,
    ) -> None:
        """`timeout` is in seconds for a whole call. `api_key_env` is what messages call the key. `identity` replaces
        name and endpoint where something else says which model it is. `connections` is the most sockets that are open
        at once (0: as many as there are calls). Raises ConfigError for a `base_url` that is no http(s) URL.
        """
        parts = urlsplit(base_url)
        key = (api_key or "").strip()
        secrets = tuple(secret for secret in (key, parts.password) if secret)
        self._endpoint = Endpoint(base_url.rstrip("/"), name.removeprefix("openai/"), api_key_env, secrets)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            shown = base_url.rpartition("@")[2]
            raise ConfigError(f"base_url {shown!r} is not an http:// or https:// URL with a host")
        self._name = name
        self._identity = identity or f"{redact(self._endpoint.url, secrets)}#{self._endpoint.model}"
        self._sampling = sampling
        self._timeout = timeout
        self._price = price
        self._connections = connections
        self._headers = {"User-Agent": f"promptlearn/{__version__}", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        official = parts.hostname == "api.openai.com"
        self._limit: Literal["max_tokens", "max_completion_tokens"] = (
            "max_completion_tokens" if official else "max_tokens"
        )
        self._temperature: Literal["any", "one", "none"] = (
            "one" if official and _REASONS.search(self._endpoint.model) else "any"
        )
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    @property
    def name(self) -> str:
        return self._name

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def sampling(self) -> Sampling:
        return self._sampling

    @property
    def price(self) -> Price | None:
        return self._price

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
            status, headers, body = await self._post(request)
            if status == 200:
                break
            if status not in (400, 422) or adaptations == 0 or not self._adapt(body, request):
                raise fault_of_response(status, body, headers, self._endpoint).error()
            adaptations -= 1
        return self._reply(self._completion(body, headers), messages, sampling, time.perf_counter() - started)

    async def close(self) -> None:
        """Close the sockets of the running event loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def _request(
        self, messages: Sequence[Message], sampling: Sampling, schema: Mapping[str, Json] | None
    ) -> dict[str, Json]:
        body: dict[str, Json] = {
            "model": self._endpoint.model,
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

    def _adapt(self, body: str, request: Mapping[str, Json]) -> bool:
        """Learn from a refusal that names a parameter; False where there is nothing to learn from it.

        The parameter must stand in the request that was refused: another call may have learned it in the meantime.
        """
        named = _PARAMETER.search(body)
        if named is None or named[1] not in request or not _UNSUPPORTED.search(body):
            return False
        if named[1] == "temperature":
            self._temperature = "none"
        else:
            self._limit = "max_completion_tokens" if named[1] == "max_tokens" else "max_tokens"
        return True

    async def _post(self, request: dict[str, Json]) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body of one exchange."""
        try:
            async with self._session().post(
                f"{self._endpoint.url}/chat/completions",
                data=json.dumps(request).encode("ascii"),
                headers={"Content-Type": "application/json"},
                allow_redirects=False,
            ) as response:
                return response.status, response.headers, await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise fault_of_exception(error, self._endpoint, self._timeout).error() from None

    def _session(self) -> aiohttp.ClientSession:
        """The session of the running event loop, made on its first call."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, keepalive_timeout=_IDLE),
                timeout=aiohttp.ClientTimeout(total=self._timeout),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers=self._headers,
                trust_env=False,
            )
            self._sessions[loop] = session
        return session

    async def _read(self, response: aiohttp.ClientResponse) -> str:
        raw = bytearray()
        async for chunk in response.content.iter_any():
            raw += chunk
            if len(raw) > MAX_BODY:
                raise self._malformed(f"more than {MAX_BODY >> 20} MB")
        return raw.decode("utf-8", "replace")

    def _completion(self, body: str, headers: Mapping[str, str]) -> dict[str, Json]:
        """The body as JSON with a first choice that has a message."""
        try:
            data = json.loads(body)
        except (ValueError, RecursionError):
            kind = headers.get("Content-Type", "no content type")
            raise self._malformed(f"{kind} that is not JSON ({body[:MAX_BODY].strip()[:200]!r})") from None
        if isinstance(data, dict) and data.get("error") and not data.get("choices"):
            raise self._error_with_200(data["error"], body, headers)
        try:
            choice = data["choices"][0]
            known = isinstance(choice["message"], dict)
        except (KeyError, IndexError, TypeError):
            known = False
        if not known:
            raise self._malformed(f"JSON without choices[0].message ({body.strip()[:200]!r})")
        return dict(data)

    def _error_with_200(self, error: Json, body: str, headers: Mapping[str, str]) -> ModelError:
        """Some gateways answer 200 and put the upstream's status into the body."""
        code = error.get("code") if isinstance(error, dict) else None
        status = code if isinstance(code, int) and 400 <= code < 600 else 502
        return fault_of_response(status, body, headers, self._endpoint).error()

    def _reply(
        self, data: Mapping[str, Json], messages: Sequence[Message], sampling: Sampling, seconds: float
    ) -> Reply:
        choice = data["choices"][0]
        finish = choice.get("finish_reason") or "stop"
        content = _text(choice["message"].get("content"))
        text = _THOUGHT.sub("", content, count=1) if _THOUGHT.match(content) else content
        where = f"{self._endpoint.shown()} ({self._endpoint.model})"
        refusal = choice["message"].get("refusal")
        if not content.strip() and (finish == "content_filter" or refusal):
            said = self._endpoint.clean(str(refusal or "no reason given"))
            raise ModelError("content_filter", f"{where} refused to answer: {said}")
        if _THINK.match(text):
            raise ModelError("truncated", f"{where} was cut inside <think> at {sampling.max_tokens} tokens: {_RAISE}")
        if not text.strip() and finish == "length":
            raise ModelError("truncated", f"{where} wrote no text within {sampling.max_tokens} tokens: {_RAISE}")
        if not text.strip():
            raise ModelError("empty", f"{where} answered with an empty text (finish_reason {finish!r})")
        usage = self._usage(data.get("usage"), messages, content)
        return Reply(text, str(finish), usage, choice.get("logprobs"), seconds)

    def _usage(self, reported: Json, messages: Sequence[Message], content: str) -> Usage:
        """As the endpoint counted, or an estimate where it did not count."""
        usage = reported if isinstance(reported, dict) else {}
        details = usage.get("prompt_tokens_details")
        given = _count(usage.get("prompt_tokens"))
        written = _count(usage.get("completion_tokens"))
        cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else None
        input_tokens = sum(estimate_tokens(m.content) for m in messages) if given is None else given
        output_tokens = estimate_tokens(content) if written is None else written
        cached_tokens = min(cached or 0, input_tokens)
        cost = None if self._price is None else self._price.cost(input_tokens, output_tokens, cached_tokens)
        return Usage(1, 0, input_tokens, output_tokens, cached_tokens, cost)

    def _malformed(self, what: str) -> ModelError:
        message = f"{self._endpoint.shown()} answered with {self._endpoint.clean(what)}: check base_url"
        return Fault("malformed", message).error()


def _text(content: Json) -> str:
    """The text of a message's content: a string, or the text parts of a list."""
    if isinstance(content, list):
        parts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(part for part in parts if isinstance(part, str))
    return content if isinstance(content, str) else ""


def _count(value: Json) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
