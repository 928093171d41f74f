"""Classifies what went wrong with a model call, once and in one place.

Knows HTTP statuses, the words that endpoints use in error bodies, the exceptions of asyncio and aiohttp, and what
LiteLLM makes of either. Does not call, wait or retry: `retries.py` reads what is said here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from promptlearn.errors import ModelError, SystemicError
from promptlearn.records import Json
from promptlearn.redaction import redact

_UNAVAILABLE = frozenset({502, 503, 504, *range(520, 531)})
"""Bad gateway, unavailable, gateway time-out, overloaded (529), and Cloudflare's own."""
_DETAIL = 300
"""Characters of an endpoint's own words that a message quotes."""

_CONTEXT = re.compile(
    r"context.?(?:length|window|size|limit)|maximum (?:context|model length)|max_model_len"
    r"|(?:prompt|input|request) is too (?:long|large)|too many (?:input )?tokens"
    r"|input token count.{0,40}exceeds|`inputs` (?:tokens|must have)"
    r"|reduce the length of the (?:messages|prompt|input)",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content.?filter|content.?management.?policy|content.?policy|responsible.?ai.?policy|moderation|flagged",
    re.IGNORECASE,
)
_NO_MODEL = re.compile(
    r"model_not_found|invalid model|unknown model|model\b.{0,120}\b(?:not found|does not exist)",
    re.IGNORECASE | re.DOTALL,
)
_NO_CREDIT = re.compile(
    r"insufficient_quota|insufficient.{0,20}(?:credit|balance|funds)|credit balance is too low"
    r"|billing_(?:hard_)?(?:limit|not_active)",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"invalid.{0,3}(?:x-)?api.?key|incorrect api key|api key not valid", re.IGNORECASE)
_WAIT = re.compile(r"(?:try again|retry) (?:in|after) (\d+(?:\.\d+)?) ?(ms|s\b|seconds?\b)", re.IGNORECASE)
"""How OpenAI, Azure and Gemini say in words what `Retry-After` is for."""
_UNREAD = (ImportError, LookupError, TypeError, ValueError, AttributeError)
"""What code raises that meets another shape than it expects."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Who was called; messages name it."""

    url: str
    """The base URL; credentials in it are never shown."""
    model: str = ""
    key_env: str | None = None
    """The environment variable that holds the API key, where one is used."""
    secrets: tuple[str, ...] = ()

    def shown(self) -> str:
        return redact(self.url, self.secrets)

    def clean(self, text: str) -> str:
        """`text` on one line, without secrets, shortened."""
        line = " ".join(redact(text, self.secrets).split())
        return line if len(line) <= _DETAIL else line[: _DETAIL - 1] + "…"


@dataclass(frozen=True, slots=True)
class Fault:
    """One classified failure."""

    kind: str
    """One of `errors.FAILURE_KINDS`."""
    message: str
    """One line without secrets: what was wrong, what was possible, what to do."""
    systemic: bool = False
    """Every call to this endpoint would fail the same way."""
    retry_after: float | None = None
    """Seconds that the endpoint asked to wait."""
    answered: bool = False
    """The endpoint had begun to send a reply, so it may charge for it."""
    unavailable: bool = False
    """The endpoint says that it serves nobody now."""

    def error(self) -> ModelError:
        made = SystemicError if self.systemic else ModelError
        return made(self.kind, self.message, self.retry_after, self.answered, self.unavailable)


def fault_of_response(status: int, body: str, headers: Mapping[str, str], endpoint: Endpoint) -> Fault:
    """What an HTTP answer that is not a completion means. `headers` are looked up in lower case and as they are."""
    said = _said(body)
    detail = endpoint.clean(said)
    wait = retry_after(headers)
    wait = _wait_in_words(said) if wait is None else wait
    where = f"{endpoint.shown()} answered {status}"
    ending = f": {detail}" if detail else ""
    if 300 <= status < 400:
        target = endpoint.clean(headers.get("Location", headers.get("location", "elsewhere")))
        return Fault("not_found", f"{where} and redirects to {target}: set base_url to that address", systemic=True)
    if status in (400, 403, 413, 422, 451) and _FILTER.search(said):
        return Fault("content_filter", f"{where}: the provider's content filter refused the prompt{ending}")
    if status == 413 or (400 <= status <= 500 and status not in (401, 403, 404, 429) and _CONTEXT.search(said)):
        return Fault("context_length", f"{where}: the prompt is longer than {endpoint.model}'s context window{ending}")
    if status == 402 or (status in (400, 403, 429) and _NO_CREDIT.search(said)):
        message = f"{where}: the account has no credit or quota left{ending}; add credit and give the command again"
        return Fault("rate_limit" if status == 429 else "auth", message, systemic=True)
    if status in (401, 403) or (status == 400 and _BAD_KEY.search(said)):
        return Fault("auth", _key_message(status, where, ending, endpoint), systemic=True)
    if status == 404 or (status in (400, 422) and _NO_MODEL.search(said)):
        message = f"{where}: no model {endpoint.model!r} there{ending}; check the model's name and base_url"
        return Fault("not_found", message, systemic=True)
    if status == 429:
        message = f"{where}: rate limit{ending}; lower the concurrency or give the command again later"
        return Fault("rate_limit", message, retry_after=wait)
    if status == 408:
        return Fault("timeout", f"{where}: the request took too long{ending}", retry_after=wait)
    if status in (409, 425) or status >= 500:
        message = f"{where}{ending or ': a failure on the provider’s side'}; give the command again later"
        return Fault("server", message, retry_after=wait, unavailable=status in _UNAVAILABLE)
    return Fault("bad_request", f"{where}{ending or ': the request was refused without a reason'}")


def fault_of_exception(
    error: BaseException, endpoint: Endpoint, timeout: float | None = None, answered: bool = False
) -> Fault:
    """What an exception of asyncio, aiohttp or the operating system during a call means.

    `answered` says that the status line of a reply had come before it.
    """
    import aiohttp

    where, detail = endpoint.shown(), endpoint.clean(str(error) or type(error).__name__)
    if isinstance(error, TimeoutError):
        within = "" if timeout is None else f" within {timeout:g} s"
        done = "finish its answer" if answered else "answer"
        return Fault("timeout", f"{where} did not {done}{within}: raise timeout, or lower the concurrency")
    if isinstance(error, aiohttp.InvalidURL):
        return Fault("connection", f"{where} is not a URL that can be called: check base_url", systemic=True)
    if isinstance(error, aiohttp.ClientSSLError):
        return Fault("connection", f"{where} has no trustworthy certificate ({detail}): check base_url", systemic=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Fault("connection", f"{where} can not be reached ({detail}): check base_url and that the server runs")
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        answered = answered or isinstance(error, aiohttp.ClientPayloadError)
        place = "in the middle of its answer " if answered else ""
        message = f"{where} cut the connection {place}({detail}): give the command again later"
        return Fault("connection", message, answered=answered)
    return Fault("malformed", f"{where} does not speak HTTP as expected ({detail}): check base_url")


def fault_of_litellm(error: Exception, endpoint: Endpoint, timeout: float | None = None) -> Fault:
    """What an exception of LiteLLM means.

    Its own classes say little: it calls an unreachable host and an overloaded one (529) internal server errors, and a
    body that it can not read a connection error. What happened stands in the exceptions behind: the provider's answer,
    what broke the socket, or what kept LiteLLM from reading. Only where there is none, its own status counts.
    """
    causes = _causes(error)
    answer = next(filter(None, map(_answer, reversed(causes))), None)
    if answer is not None:
        return fault_of_response(*answer, endpoint)
    broken = [cause for cause in causes if isinstance(cause, OSError) or type(cause).__module__.startswith("aiohttp")]
    if broken:
        return fault_of_exception(broken[0], endpoint, timeout)
    status = getattr(error, "status_code", 500)
    if status == 408:
        return fault_of_exception(TimeoutError(), endpoint, timeout)
    unread = next((cause for cause in reversed(causes) if isinstance(cause, _UNREAD)), None)
    if unread is None:
        return fault_of_response(status, re.sub(r"^(?:litellm\.)?\w+: ", "", str(error)), {}, endpoint)
    where, detail = endpoint.shown(), endpoint.clean(f"{type(unread).__name__}: {unread}")
    if isinstance(unread, ImportError):
        return Fault("not_found", f"{where} needs a package that is not here ({detail}): install it", systemic=True)
    return Fault("malformed", f"{where} sent what LiteLLM can not read ({detail}): check the model's name and base_url")


def _causes(error: BaseException) -> list[BaseException]:
    """`error` and what it was raised from or during, the first cause last."""
    found: list[BaseException] = []
    step: BaseException | None = error
    while step is not None and step not in found:
        found.append(step)
        step = step.__cause__ or step.__context__
    return found


def _answer(cause: BaseException) -> tuple[int, str, Mapping[str, str]] | None:
    """Status, body and headers of the HTTP answer that an exception of httpx, httpx2 or the OpenAI SDK holds.

    LiteLLM's own exceptions hold one too, which it made up.
    """
    response: Any = getattr(cause, "response", None)
    status = getattr(response, "status_code", None)
    if not isinstance(status, int) or status < 300 or type(cause).__module__.startswith("litellm"):
        return None
    return status, str(response.text), dict(response.headers)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as `Retry-After-Ms` or `Retry-After` (seconds or a date, RFC 9110 §10.2.3) says, or None."""
    lowered = {name.lower(): value for name, value in headers.items()}
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(lowered[name]) * unit
        except (KeyError, ValueError):
            continue
        return seconds if isfinite(seconds) and seconds >= 0 else None
    try:
        moment = parsedate_to_datetime(lowered["retry-after"])
    except (KeyError, ValueError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _key_message(status: int, where: str, ending: str, endpoint: Endpoint) -> str:
    if endpoint.key_env is None:
        return f"{where}: it wants an API key{ending}; name the environment variable that holds it in api_key_env"
    if status == 403:
        return f"{where}: not allowed{ending}; check that the key in {endpoint.key_env} may use {endpoint.model}"
    return f"{where}: wrong API key for {endpoint.shown()}{ending}; set the environment variable {endpoint.key_env}"


def _wait_in_words(said: str) -> float | None:
    found = _WAIT.search(said)
    return None if found is None else float(found[1]) * (0.001 if found[2].lower() == "ms" else 1.0)


def _said(body: str) -> str:
    """The endpoint's own words: the message of an error object in any of the usual shapes, or the body."""
    try:
        data: Json = json.loads(body)
    except ValueError:
        return re.sub(r"<[^>]{0,200}>", " ", body[:20_000])
    for _ in range(3):
        if isinstance(data, list) and data:
            data = data[0]
        if not isinstance(data, dict):
            break
        inner = next((data[key] for key in ("error", "message", "detail", "msg") if data.get(key)), None)
        if inner is None:
            break
        if isinstance(inner, str):
            marks = {str(data[key]): None for key in ("code", "type") if isinstance(data.get(key), str)}
            return " ".join([inner, *(f"({mark})" for mark in marks)])
        data = inner
    return data if isinstance(data, str) else body
