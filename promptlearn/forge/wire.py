"""One session with GitHub: requests go out, limits are obeyed, answers or `ForgeError`s come back.

The one module that imports githubkit (which brings the transport, the App's tokens and their renewal). Its cache and
its retries stay off: conditions and waiting are decided here. A session that was not opened for writing sends no
request that could change anything, whatever its token may do.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING, Any

from promptlearn.errors import ForgeError, UsageError
from promptlearn.forge.address import Address
from promptlearn.forge.credentials import Credentials
from promptlearn.forge.limits import PATIENCE, Pause, clock, moment, pause_after, spent_until
from promptlearn.records import Json
from promptlearn.redaction import redact

if TYPE_CHECKING:
    import httpx
    from githubkit import GitHub

READING = {"metadata": "read", "pull_requests": "read", "issues": "read", "contents": "read", "checks": "read"}
"""What an App's token is asked to be good for, at most."""
WRITING = {"metadata": "read", "pull_requests": "write", "contents": "write"}
TIMEOUT = 60.0
_BETWEEN_WRITES = 1.0
"""Seconds; GitHub asks for it."""
_DETAIL = 300
_LIMIT_TYPES = {"RATE_LIMITED", "RATE_LIMIT"}
_READS = re.compile(r"\s*query\b")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back from REST: 2xx, or 304 without a body."""

    status: int
    body: Json
    headers: Mapping[str, str]
    """Names in lower case."""

    @property
    def etag(self) -> str:
        return self.headers.get("etag", "")

    @property
    def next(self) -> str:
        """URL of the next page, or nothing."""
        links = re.findall(r'<([^<>]*)>;[^,]*\brel="?next\b', self.headers.get("link", ""))
        return str(links[0]) if links else ""


@dataclass(frozen=True, slots=True)
class GraphAnswer:
    data: Json
    errors: tuple[Mapping[str, Json], ...]
    """What GitHub says it could not answer; the rest of `data` holds."""


@dataclass(slots=True)
class Traffic:
    """What a session cost."""

    requests: int = 0
    conditional: int = 0
    """Of these, the ones that said which answer we have."""
    unchanged: int = 0
    """Of these, the ones that were answered with 304, which GitHub does not count."""
    waited: float = 0.0
    """Seconds that limits and failures took."""


Told = Callable[[str], None]


def tell_nobody(message: str) -> None:
    """Where nobody wants to hear of waiting."""


@dataclass(slots=True)
class Patience:
    """How waiting is done, and how much of it."""

    seconds: float = PATIENCE
    """For limits, per question."""
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    tell: Told = tell_nobody


@dataclass(frozen=True, slots=True)
class _Failure:
    """Why there is no answer."""

    said: str = ""
    slow: bool = False
    """Whether asking for less could help."""


@dataclass(slots=True)
class _Bucket:
    """One of GitHub's hourly limits, as it last spoke of it."""

    headers: Mapping[str, str] = field(default_factory=dict)
    needed: float = 1


class Wire:
    """Made by `connect`."""

    def __init__(
        self, address: Address, github: GitHub[Any], secrets: tuple[str, ...], patience: Patience, writes: bool
    ) -> None:
        self.address = address
        self.traffic = Traffic()
        self.scopes = ""
        """What a classic token may do, as GitHub says with each answer; empty for every other kind."""
        self._github = github
        self._secrets = secrets
        self._patience = patience
        self._writes = writes
        self._skew = 0.0
        self._buckets: dict[str, _Bucket] = {}
        self._last_write = float("-inf")

    @property
    def now(self) -> float:
        """The server's clock, as far as it told it: Unix time in seconds."""
        return time.time() + self._skew

    async def get(self, path: str, params: Mapping[str, str | int] | None = None, etag: str = "") -> Answer:
        """Ask REST; `path` begins with a slash, or is a URL of this host (a next page).

        With an `etag` the answer may be 304. Raises `ForgeError`.
        """
        headers = {"If-None-Match": etag} if etag else {}
        self.traffic.conditional += bool(etag)
        response = await self._exchange("GET", path, "core", params=params or None, headers=headers)
        self.traffic.unchanged += response.status_code == 304
        return self._answer(response)

    async def send(self, method: str, path: str, body: Json) -> Answer:
        """Change something through REST. Raises `ForgeError`; refused in a session for reading."""
        if not self._writes:
            raise UsageError("this session only reads; `promptlearn github propose` writes, with a token of its own")
        await self._patience.sleep(max(0.0, self._last_write + _BETWEEN_WRITES - time.monotonic()))
        self._last_write = time.monotonic()
        return self._answer(await self._exchange(method, path, "core", json=body, repeat=False))

    async def query(self, text: str, variables: Mapping[str, Json] | None = None, attempts: int = 99) -> GraphAnswer:
        """Ask GraphQL. After `attempts` failures of the server raises `ForgeError("overload")`: ask for less."""
        if not _READS.match(text):
            raise UsageError("this session only reads; GraphQL mutations are not sent")
        body = {"query": text, "variables": dict(variables or {})}
        response = await self._exchange("POST", self.address.graphql, "graphql", json=body, attempts=attempts)
        said = self._parsed(response)
        if not isinstance(said, dict) or ("data" not in said and "errors" not in said):
            raise ForgeError("malformed", f"{self.address.graphql} answered something else than GraphQL")
        data = said.get("data")
        if isinstance(data, dict) and isinstance(data.get("rateLimit"), dict):
            self._buckets.setdefault("graphql", _Bucket()).needed = float(data["rateLimit"].get("cost") or 1)
        return GraphAnswer(data, tuple(_errors(said)))

    async def _exchange(
        self, method: str, url: str, bucket: str, repeat: bool = True, attempts: int = 99, **more: Any
    ) -> httpx.Response:
        """One answer that is not worth asking for again; `repeat=False` where asking twice could do something twice."""
        await self._respect(bucket)
        waited = 0.0
        for attempt in count(1):
            response, failure = await self._once(method, url, more)
            pause = self._judge(response, bucket, attempt)
            if pause is None or not (repeat or pause.limit):
                return self._good(response, failure)
            if not pause.limit and attempt >= attempts and (response is not None or failure.slow):
                raise ForgeError("overload", f"{self.address.host} did not answer in time; ask for less at once")
            waited += await self._wait(pause, waited)
        raise AssertionError("count() has no end")

    async def _once(self, method: str, url: str, more: dict[str, Any]) -> tuple[httpx.Response | None, _Failure]:
        import httpx
        from githubkit.exception import GitHubException

        self.traffic.requests += 1
        try:
            async with self._github.get_async_client() as client:
                return await client.request(method, url, **more), _Failure()
        except httpx.TransportError as error:
            said = self._clean(str(error) or type(error).__name__)
            return None, _Failure(said, isinstance(error, httpx.TimeoutException | httpx.RemoteProtocolError))
        except GitHubException as error:
            raise self._refused_app(error) from None

    def _good(self, response: httpx.Response | None, failure: _Failure) -> httpx.Response:
        """The answer, if it is one."""
        if response is None:
            raise ForgeError(
                "connection",
                f"{self.address.api} can not be reached ({failure.said}): check the address, try again later",
            )
        self._raise_for(response)
        return response

    def _judge(self, response: httpx.Response | None, bucket: str, attempt: int) -> Pause | None:
        if response is None:
            return pause_after(0, {}, "", attempt, self.now)
        headers = _lower(response)
        self._skew = (clock(headers) or self.now) - time.time()
        self.scopes = headers.get("x-oauth-scopes", self.scopes)
        limited = False
        said = ""
        if response.status_code in (403, 429) or (bucket == "graphql" and response.status_code == 200):
            parsed = self._parsed(response)
            said = _message(parsed)
            limited = bool(_LIMIT_TYPES & _types(parsed))
        known = self._buckets.setdefault(headers.get("x-ratelimit-resource", bucket), _Bucket())
        known.headers = headers
        return pause_after(response.status_code, headers, said, attempt, self.now, limited)

    async def _respect(self, bucket: str) -> None:
        """Wait before asking where GitHub has said that the hour's limit is spent."""
        known = self._buckets.get(bucket)
        until = spent_until(known.headers, known.needed) if known else None
        if until is not None and until > self.now:
            await self._wait(Pause(until - self.now + 1, "the hourly limit", True), 0.0)

    async def _wait(self, pause: Pause, waited: float) -> float:
        if pause.limit and waited + pause.seconds > self._patience.seconds:
            at = moment(self.now + pause.seconds)
            raise ForgeError(
                "rate_limit",
                f"{pause.why} of {self.address.host} lasts until {at} ({_minutes(pause.seconds)}), longer than we may "
                f"wait ({_minutes(self._patience.seconds)}): give the same command again then and it goes on where it "
                "stopped, or allow more with --wait",
            )
        if pause.limit or pause.seconds > 5:
            self._patience.tell(f"waiting {_minutes(pause.seconds)} for {self.address.host}: {pause.why}")
        await self._patience.sleep(pause.seconds)
        self.traffic.waited += pause.seconds
        return pause.seconds if pause.limit else 0.0

    def _answer(self, response: httpx.Response) -> Answer:
        body = self._parsed(response) if response.content and response.status_code != 304 else None
        return Answer(response.status_code, body, _lower(response))

    def _parsed(self, response: httpx.Response) -> Json:
        try:
            return json.loads(response.content)
        except ValueError:
            if response.status_code >= 400:
                return None
            raise ForgeError("malformed", f"{self.address.api} does not speak GitHub's API: check --base-url") from None

    def _raise_for(self, response: httpx.Response) -> None:
        status = response.status_code
        if status < 400:
            return
        said = self._clean(_message(self._parsed(response)))
        where = f"{self.address.host} answered {status}"
        ending = f": {said}" if said else ""
        if status == 401:
            raise ForgeError("auth", f"{where}: the token is wrong or has expired{ending}; set another one")
        if status == 403:
            raise ForgeError("forbidden", f"{where}{ending}; give the token the permission that this needs")
        if status in (404, 410):
            raise ForgeError("not_found", f"{where}{ending}; check the name, and that the token may see it")
        ending = ending or " and did not say why"
        if status < 500:
            raise ForgeError("malformed", f"{where}{ending}; it does not take what was asked for")
        kind = "overload" if status in (502, 503, 504) else "server"
        raise ForgeError(kind, f"{where}{ending}; try again later")

    def _refused_app(self, error: Exception) -> ForgeError:
        response = getattr(error, "response", None)
        said = self._clean(_message(_loads(response.content))) if response is not None else self._clean(str(error))
        return ForgeError(
            "auth",
            f"{self.address.host} gives the GitHub App no token: {said or type(error).__name__}; check its id, its "
            "key, that it is installed on the repository, and that it may read pull requests, issues, contents, checks",
        )

    def _clean(self, text: str) -> str:
        line = " ".join(redact(text, self._secrets).split())
        return line if len(line) <= _DETAIL else line[: _DETAIL - 1] + "…"


@asynccontextmanager
async def connect(
    address: Address,
    credentials: Credentials,
    repo: str = "",
    *,
    writes: bool = False,
    patience: Patience | None = None,
) -> AsyncIterator[Wire]:
    """A session. An App's token is good for `repo` alone, and in a session for reading it can not write.

    Raises `UsageError` where githubkit is not installed, `ForgeError` where the App is not known there.
    """
    patience = patience or Patience()
    async with _client(address, credentials) as github:
        wire = Wire(address, github, credentials.secrets, patience, writes)
        if credentials.token:
            yield wire
            return
        installation = credentials.installation
        if installation is None:
            found = await wire.get(f"/repos/{repo}/installation")
            installation = int(found.body["id"])
        async with _installed(github, address, installation, repo, WRITING if writes else READING) as installed:
            wire = Wire(address, installed, credentials.secrets, patience, writes)
            yield wire


def _client(address: Address, credentials: Credentials) -> GitHub[Any]:
    try:
        from githubkit import AppAuthStrategy, GitHub, TokenAuthStrategy
    except ImportError as error:
        raise UsageError(
            f"reading GitHub needs the extra `github` ({error}): pip install 'promptlearn-optimizer[github]'"
        ) from error
    auth: Any = TokenAuthStrategy(credentials.token)
    if not credentials.token:
        _check_key(credentials)
        auth = AppAuthStrategy(credentials.app, credentials.private_key)
    return GitHub(auth, **_options(address))


def _check_key(credentials: Credentials) -> None:
    from jwt.algorithms import RSAAlgorithm
    from jwt.exceptions import InvalidKeyError

    try:
        RSAAlgorithm(RSAAlgorithm.SHA256).prepare_key(credentials.private_key)
    except InvalidKeyError:
        raise UsageError(
            f"the key of {credentials.source} is no RSA key in PEM: download one from the App's settings"
        ) from None


def _installed(
    github: GitHub[Any], address: Address, installation: int, repo: str, permissions: Mapping[str, str]
) -> GitHub[Any]:
    from githubkit import GitHub

    repositories = {"repositories": [repo.partition("/")[2]]} if repo else {}
    auth = github.auth.as_installation(installation, permissions=dict(permissions), **repositories)
    return GitHub(auth, **_options(address))


def _options(address: Address) -> dict[str, Any]:
    from githubkit.cache import MemCacheStrategy

    from promptlearn import __version__

    return {
        # Its own: githubkit's is shared by all sessions of a process, and does not tell hosts apart.
        "cache_strategy": MemCacheStrategy(),
        "base_url": address.api,
        "user_agent": f"promptlearn/{__version__}",
        "timeout": TIMEOUT,
        "http_cache": False,
        "auto_retry": False,
    }


def _lower(response: httpx.Response) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


def _loads(content: bytes) -> Json:
    try:
        return json.loads(content)
    except ValueError:
        return None


def _message(body: Json) -> str:
    """The words of an error, from REST or GraphQL."""
    if not isinstance(body, dict):
        return ""
    more = [str(error.get("message", "")) for error in _errors(body)]
    return " ".join(text for text in [str(body.get("message") or ""), *more] if text)


def _types(body: Json) -> set[str]:
    return {str(error.get("type")) for error in _errors(body)}


def _errors(body: Json) -> list[dict[str, Json]]:
    """The errors that an answer lists, of REST or GraphQL."""
    listed = body.get("errors") if isinstance(body, dict) else None
    return [error for error in listed if isinstance(error, dict)] if isinstance(listed, list) else []


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"
