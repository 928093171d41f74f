"""A provider's files and batches, over the OpenAI SDK: one attempt per request, every failure classified.

Knows the protocol (https://platform.openai.com/docs/api-reference/batch); does not wait, retry or remember. The SDK is
imported with the first request. It is given no httpx objects and nothing of its transport is named here, so that it
may be of version 2 or 3.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from promptlearn import __version__
from promptlearn.errors import ModelError
from promptlearn.models.batch.lines import PATH
from promptlearn.models.faults import Endpoint, Fault, fault_of_response
from promptlearn.models.openai import MAX_BODY
from promptlearn.records import Json

if TYPE_CHECKING:
    from openai import APIStatusError, AsyncOpenAI

ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
OWN = "promptlearn"
"""The key of a batch's metadata that holds our own id."""

_QUICK, _LONG = 60.0, 900.0
"""Seconds for a request without and with a file in it."""
_NO_SUCH_API = (404, 405, 501)
_PAGE, _PAGES = 100, 100
_CLOCKS = 3600.0
"""Seconds that the provider's clock may differ from ours."""
_FULL = "token_limit_exceeded"
_UNPAID = ("billing", "quota", "credit")


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a batch stands."""

    id: str
    state: str
    total: int = 0
    completed: int = 0
    failed: int = 0
    files: tuple[str, ...] = ()
    """Ids of the files of answers and of errors, those that there are."""
    errors: tuple[str, ...] = ()
    """Why the whole batch failed, as JSON objects with `code` and `message`."""

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def unwritten(self) -> bool:
        """It says that it is completed, and has no files yet."""
        return self.state == "completed" and not self.files

    @property
    def full(self) -> bool:
        """It failed because too many tokens wait at the provider already."""
        return self.state == "failed" and any(_FULL in error for error in self.errors)


class BatchService:
    """The files and batches of one endpoint. Every method raises ModelError; `not_found` is not systemic here."""

    def __init__(self, endpoint: Endpoint, api_key: str, window: str) -> None:
        self._endpoint = endpoint
        self._api_key = api_key
        self._window = window
        self._opened: AsyncOpenAI | None = None

    @property
    def endpoint(self) -> Endpoint:
        return self._endpoint

    async def upload(self, own: str, data: bytes) -> str:
        """Put the requests there; returns the file's id."""
        file = (f"{OWN}-{own}.jsonl", data, "application/jsonl")
        with self._boundary("POST /files"):
            made = await self._client().files.create(file=file, purpose="batch", timeout=_LONG)
        return self._id(made)

    async def create(self, own: str, file: str) -> Standing:
        """Begin the batch of an uploaded file; from here on it is paid for."""
        window = cast("Any", self._window)
        with self._boundary("POST /batches"):
            made = await self._client().batches.create(
                input_file_id=file, endpoint=PATH, completion_window=window, metadata={OWN: own}, timeout=_QUICK
            )
        return self._standing(made)

    async def standing(self, batch: str) -> Standing:
        with self._boundary(f"GET /batches/{batch}"):
            found = await self._client().batches.retrieve(batch, timeout=_QUICK)
        return self._standing(found)

    async def find(self, own: str, file: str | None, created: float) -> Standing | None:
        """The batch with our own id or of this file, created at `created` (seconds since 1970) or later.

        None where there is none, and where the endpoint does not list its batches.
        """
        seen: set[str] = set()
        try:
            with self._boundary("GET /batches"):
                async for entry in self._client().batches.list(limit=_PAGE, timeout=_QUICK):
                    fields = self._fields(entry)
                    batch = self._id(entry)
                    if _is(fields, own, file):
                        return self._standing(entry)
                    at = fields.get("created_at")
                    too_old = isinstance(at, int | float) and at < created - _CLOCKS
                    if too_old or batch in seen or len(seen) == _PAGE * _PAGES:
                        return None
                    seen.add(batch)
        except ModelError as error:
            if error.kind != "not_found":
                raise
        return None

    async def lines(self, file: str) -> AsyncGenerator[bytes, None]:
        """The lines of a file as they come in. Only a line feed ends a line: a text may hold any other one."""
        rest = b""
        async with aclosing(self._chunks(file)) as chunks:
            async for chunk in chunks:
                *whole, rest = (rest + chunk).split(b"\n")
                if len(rest) > MAX_BODY:
                    raise self._malformed(f"file {file} has a line of more than {MAX_BODY >> 20} MB")
                for line in whole:
                    yield line
        yield rest

    async def close(self) -> None:
        if self._opened is not None:
            await self._opened.close()
            self._opened = None

    async def _chunks(self, file: str) -> AsyncGenerator[bytes, None]:
        with self._boundary(f"GET /files/{file}/content"):
            async with self._client().files.with_streaming_response.content(file, timeout=_LONG) as response:
                chunks = response.iter_bytes()
                while True:
                    try:
                        chunk = await anext(chunks)
                    except StopAsyncIteration:
                        return
                    except Exception as error:  # the transport's own: the SDK lets what breaks inside a body through
                        raise self._cut(error).error() from None
                    yield chunk

    def _client(self) -> AsyncOpenAI:
        if self._opened is None:
            from openai import AsyncOpenAI

            self._opened = AsyncOpenAI(
                api_key=self._api_key or "none",
                base_url=self._endpoint.url,
                max_retries=0,
                default_headers={"User-Agent": f"promptlearn/{__version__}"},
            )
        return self._opened

    @contextmanager
    def _boundary(self, request: str) -> Iterator[None]:
        """What the SDK raises inside, classified."""
        from openai import APIConnectionError, APIStatusError, APITimeoutError, OpenAIError

        try:
            yield
        except APIStatusError as error:
            raise self._refusal(error, request).error() from None
        except APITimeoutError:
            message = f"{self._endpoint.shown()} did not answer {request} in time: give the command again later"
            raise Fault("connection", message).error() from None
        except APIConnectionError as error:
            raise self._cut(error.__cause__ or error).error() from None
        except (OpenAIError, ValueError) as error:
            raise self._malformed(f"{request}: {error}") from None

    def _refusal(self, error: APIStatusError, request: str) -> Fault:
        status = error.status_code
        if status in _NO_SUCH_API:
            where = f"{self._endpoint.shown()} answered {status} to {request}"
            if request.startswith("GET"):
                return Fault("not_found", f"{where}: it has none such")
            return Fault("not_found", f"{where}: it has no batch API; leave `batch` out of the model", systemic=True)
        body = error.body if isinstance(error.body, str) else json.dumps({"error": error.body})
        return fault_of_response(status, body, dict(error.response.headers), self._endpoint)

    def _cut(self, error: BaseException) -> Fault:
        detail = self._endpoint.clean(str(error) or type(error).__name__)
        message = f"{self._endpoint.shown()} can not be reached or cut the connection ({detail})"
        return Fault("connection", f"{message}: check base_url, or give the command again later")

    def _malformed(self, what: str) -> ModelError:
        said = self._endpoint.clean(what)
        return Fault("malformed", f"{self._endpoint.shown()} does not speak the batch API: {said}").error()

    def _fields(self, answer: Any) -> dict[str, Json]:
        """An SDK object as plain JSON; the SDK checks no types, and gives a text where the answer was no JSON."""
        from openai import BaseModel

        if not isinstance(answer, BaseModel):
            raise self._malformed(f"{str(answer)[:200]!r}")
        return answer.to_dict(mode="json", warnings=False)

    def _id(self, answer: Any) -> str:
        fields = self._fields(answer)
        found = fields.get("id")
        if not isinstance(found, str) or not found:
            raise self._malformed(f"an answer without an id, only {', '.join(fields) or 'nothing'}")
        return found

    def _standing(self, answer: Any) -> Standing:
        fields = self._fields(answer)
        state = fields.get("status")
        if not isinstance(state, str):
            raise self._malformed("a batch without a status")
        files = [fields.get(name) for name in ("output_file_id", "error_file_id")]
        return Standing(
            self._id(answer),
            state.lower().replace("canceled", "cancelled"),
            *_counts(fields.get("request_counts")),
            files=tuple(file for file in files if isinstance(file, str) and file),
            errors=_errors(fields.get("errors")),
        )

    def fault_of(self, standing: Standing) -> Fault:
        """Why a whole batch failed, as the answer to a direct call would have been classified."""
        said = standing.errors[0] if standing.errors else "{}"
        lowered = said.lower()
        refused = _FULL in lowered or any(word in lowered for word in _UNPAID)
        status = 429 if refused else 400 if standing.errors else 500
        return fault_of_response(status, f'{{"error": {said}}}' if standing.errors else "", {}, self._endpoint)


def _counts(value: Json) -> tuple[int, int, int]:
    """Requests in all, answered and failed; 0 for what is not said."""
    counts = value if isinstance(value, dict) else {}
    total, completed, failed = (counts.get(name) for name in ("total", "completed", "failed"))
    return total or 0, completed or 0, failed or 0


def _is(fields: dict[str, Json], own: str, file: str | None) -> bool:
    metadata = fields.get("metadata")
    marked = isinstance(metadata, dict) and metadata.get(OWN) == own
    return marked or (file is not None and fields.get("input_file_id") == file)


def _errors(value: Json) -> tuple[str, ...]:
    data = value.get("data") if isinstance(value, dict) else value
    return tuple(json.dumps(error) for error in data if isinstance(error, dict)) if isinstance(data, list) else ()
