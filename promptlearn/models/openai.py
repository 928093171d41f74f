"""ChatModel: any endpoint that speaks OpenAI's chat completions, one attempt per call.

Knows the socket; bodies are in `completion.py`, classification of failures is in `faults.py`, retries are in
`retries.py`. Speaks aiohttp itself, because a call costs a tenth of what it costs through an SDK.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Container, Mapping, Sequence
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from promptlearn import __version__
from promptlearn.errors import ConfigError
from promptlearn.models.base import ModelBase, Price, Reply, Sampling
from promptlearn.models.completion import Dialect, parse_completion, read_completion
from promptlearn.models.faults import Endpoint, Fault, fault_of_exception, fault_of_response
from promptlearn.records import Json, Message
from promptlearn.redaction import redact

OPENAI_URL = "https://api.openai.com/v1"
MAX_BODY = 32 * 1024 * 1024
"""Bytes of a reply; a longer one is not a chat completion."""

_IDLE = 4.0
"""Seconds that an unused socket is kept; common servers close theirs after 5, and a call into that moment is lost."""


class ChatModel(ModelBase):
    """A model behind `BASE_URL/chat/completions`.

        model = ChatModel("openai/my-model", "http://127.0.0.1:8000/v1", api_key=os.environ["MY_KEY"])
        reply = await model.complete([Message("user", "Hello")])
        await model.close()

    The name sent is `name` without a leading `openai/`. `base_url` is used as it is, only a trailing slash is dropped.
    A parameter that the endpoint says it does not know (`temperature`, `max_tokens`) is left out or renamed from then
    on. How replies are read, see `completion.read_completion`.
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
        shown = f"{redact(self._endpoint.url, secrets)}#{self._endpoint.model}"
        super().__init__(name, identity or shown, sampling, price)
        self._url: URL | None = None
        self._timeout = timeout
        self._connections = connections
        self._key = key
        self._headers = {
            "User-Agent": f"promptlearn/{__version__}",
            "Accept": "application/json",
            "Content-Type": "application/json",
        }
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._dialect = Dialect(self._endpoint.model, official=parts.hostname == "api.openai.com")
        self._sessions: WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = WeakKeyDictionary()

    @property
    def endpoint(self) -> Endpoint:
        """Who is called."""
        return self._endpoint

    @property
    def api_key(self) -> str:
        """Sent as a bearer token; empty where the endpoint wants none."""
        return self._key

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
            request = self.request(messages, sampling, schema)
            status, headers, body = await self._post(request)
            if status not in (400, 422) or adaptations == 0 or not self.adapt(body, request):
                return self.read(status, headers, body, messages, sampling, time.perf_counter() - started)
            adaptations -= 1

    async def close(self) -> None:
        """Close the sockets of the running event loop."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def request(
        self, messages: Sequence[Message], sampling: Sampling, schema: Mapping[str, Json] | None
    ) -> dict[str, Json]:
        """The body of a call, with what has been learned about the endpoint's parameters."""
        return self._dialect.request(messages, sampling, schema)

    def read(
        self,
        status: int,
        headers: Mapping[str, str],
        body: str,
        messages: Sequence[Message],
        sampling: Sampling,
        seconds: float,
    ) -> Reply:
        """What the endpoint's answer to a call says. Raises ModelError."""
        if status != 200:
            raise fault_of_response(status, body, headers, self._endpoint).error()
        data = parse_completion(body, headers, self._endpoint)
        return read_completion(data, self._endpoint, messages, sampling, self._price, seconds)

    def adapt(self, body: str, request: Container[str]) -> bool:
        """Learn from a refusal that names a parameter; False where there is nothing to learn from it."""
        return self._dialect.adapt(body, request)

    async def _post(self, request: dict[str, Json]) -> tuple[int, Mapping[str, str], str]:
        """Status, headers and body of one exchange."""
        status = 0
        try:
            if self._url is None:
                self._url = URL(f"{self._endpoint.url}/chat/completions")
            async with self._session().post(
                self._url, data=json.dumps(request).encode("ascii"), allow_redirects=False
            ) as response:
                status = response.status
                return status, response.headers, await self._read(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise fault_of_exception(error, self._endpoint, self._timeout, answered=status == 200).error() from None

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
                what = f"more than {MAX_BODY >> 20} MB: check base_url"
                raise Fault("malformed", f"{self._endpoint.shown()} answered with {what}").error()
        return raw.decode("utf-8", "replace")
