"""Classifies what went wrong with a model call, once and in one place.

Knows HTTP statuses, the words that endpoints use in error bodies, and the exceptions of asyncio and aiohttp. Does not
call, wait or retry: `retries.py` reads what is said here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from promptlearn.errors import ModelError, SystemicError
from promptlearn.records import Json
from promptlearn.redaction import redact

_DETAIL = 300
"""Characters of an endpoint's own words that a message quotes."""

_CONTEXT = re.compile(
    r"context.?(?:length|window|size)|maximum context|max_model_len|(?:prompt|input|request) is too (?:long|large)"
    r"|too many (?:input )?tokens|reduce the length of the (?:messages|prompt|input)",
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
    r"insufficient_quota|insufficient.{0,20}(?:credit|balance|funds)|billing_(?:hard_)?(?:limit|not_active)",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(r"invalid.{0,3}api.?key|incorrect api key|api key not valid", re.IGNORECASE)


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

    def error(self) -> ModelError:
        return (SystemicError if self.systemic else ModelError)(self.kind, self.message, self.retry_after)


def fault_of_response(status: int, body: str, headers: Mapping[str, str], endpoint: Endpoint) -> Fault:
    """What an HTTP answer that is not a completion means. `headers` are looked up in lower case and as they are."""
    said = _said(body)
    detail = endpoint.clean(said)
    wait = retry_after(headers)
    where = f"{endpoint.shown()} answered {status}"
    ending = f": {detail}" if detail else ""
    if 300 <= status < 400:
        target = endpoint.clean(headers.get("Location", headers.get("location", "elsewhere")))
        return Fault("not_found", f"{where} and redirects to {target}: set base_url to that address", systemic=True)
    if status in (400, 403, 413, 422, 451) and _FILTER.search(body):
        return Fault("content_filter", f"{where}: the provider's content filter refused the prompt{ending}")
    if 400 <= status < 500 and status not in (401, 403, 404, 429) and (status == 413 or _CONTEXT.search(said)):
        return Fault("context_length", f"{where}: the prompt is longer than {endpoint.model}'s context window{ending}")
    if status == 402 or (status in (403, 429) and _NO_CREDIT.search(body)):
        message = f"{where}: the account has no credit or quota left{ending}; add credit and give the command again"
        return Fault("rate_limit" if status == 429 else "auth", message, systemic=True)
    if status in (401, 403) or (status == 400 and _BAD_KEY.search(said)):
        return Fault("auth", _key_message(where, ending, endpoint), systemic=True)
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
        return Fault("server", message, retry_after=wait)
    return Fault("bad_request", f"{where}{ending or ': the request was refused without a reason'}")


def fault_of_exception(error: BaseException, endpoint: Endpoint, timeout: float | None = None) -> Fault:
    """What an exception of asyncio, aiohttp or the operating system during a call means."""
    import aiohttp

    where, detail = endpoint.shown(), endpoint.clean(str(error) or type(error).__name__)
    if isinstance(error, TimeoutError):
        within = "" if timeout is None else f" within {timeout:g} s"
        return Fault("timeout", f"{where} did not answer{within}: raise timeout, or lower the concurrency")
    if isinstance(error, aiohttp.InvalidURL):
        return Fault("connection", f"{where} is not a URL that can be called: check base_url", systemic=True)
    if isinstance(error, aiohttp.ClientSSLError):
        return Fault("connection", f"{where} has no trustworthy certificate ({detail}): check base_url", systemic=True)
    if isinstance(error, aiohttp.ClientConnectorError):
        return Fault("connection", f"{where} can not be reached ({detail}): check base_url and that the server runs")
    if isinstance(error, aiohttp.ClientConnectionError | aiohttp.ClientPayloadError | OSError):
        return Fault("connection", f"{where} cut the connection ({detail}): give the command again later")
    return Fault("malformed", f"{where} does not speak HTTP as expected ({detail}): check base_url")


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


def _key_message(where: str, ending: str, endpoint: Endpoint) -> str:
    if endpoint.key_env is None:
        return f"{where}: it wants an API key{ending}; name the environment variable that holds it in api_key_env"
    return f"{where}: wrong API key for {endpoint.shown()}{ending}; set the environment variable {endpoint.key_env}"


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
            marks = [str(data[key]) for key in ("code", "type") if isinstance(data.get(key), str)]
            return " ".join([inner, *(f"({mark})" for mark in marks[:1])])
        data = inner
    return data if isinstance(data, str) else body
