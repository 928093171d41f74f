"""Downloads one file over HTTP so that nothing that arrived is fetched twice.

Knows redirects, byte ranges and the headers of the Hugging Face hub; knows neither names of models nor the cache. A
download that was cut goes on where it stopped, if the server still has the same file.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from promptlearn import __version__
from promptlearn.errors import ModelError
from promptlearn.redaction import redact

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are there, and with how many there will be (None: unknown)."""

_CHUNK = 1 << 20
_ROUNDS = 4
"""Connections in a row that may end without a byte before a download gives up."""
_PAUSE = 0.25
"""Seconds before the second of them; doubles each time."""
_SILENCE = 60.0
"""Seconds without a byte after which a connection counts as cut."""
_CUTS = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


def download(url: str, partial: Path, progress: Progress, token: str | None = None) -> str:
    """Fetch `url` into `partial`, going on with what is there, and return the file's SHA-256.

    The digest is compared with the one in `X-Linked-Etag`, where the server names one. `token` is sent to the host of
    `url` and to no host that it redirects to. Raises ModelError: `connection` (what arrived is kept), `not_found`,
    `auth`, `malformed` for a wrong digest (what arrived is thrown away).
    """
    fruitless = 0
    while True:
        before = size_of(partial)
        try:
            origin = _receive(url, partial, progress, token)
            reason = "the connection was cut"
        except _CUTS as error:
            origin, reason = None, redact(str(getattr(error, "reason", error)) or type(error).__name__, [token])
        if origin is not None and (origin.size is None or size_of(partial) >= origin.size):
            return _checked(url, partial, origin)
        fruitless = 0 if size_of(partial) > before else fruitless + 1
        if fruitless == _ROUNDS:
            message = f"{redact(url)} can not be downloaded: {reason}; give the command again to go on"
            raise ModelError("connection", message)
        if fruitless:
            time.sleep(_PAUSE * 2 ** (fruitless - 1))


def copy(source: IO[bytes], file: IO[bytes], progress: Progress, total: int | None, done: int = 0) -> None:
    """Copy to the end, so that it is on the disk; `done` bytes were there before."""
    while chunk := source.read(_CHUNK):
        file.write(chunk)
        done += len(chunk)
        progress(done, total)
    file.flush()
    os.fsync(file.fileno())


def file_digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def size_of(path: Path) -> int:
    """Bytes; 0 for a file that is not there."""
    return path.stat().st_size if path.exists() else 0


@dataclass(frozen=True, slots=True)
class _Origin:
    """What the server says about the file."""

    etag: str | None
    """A strong one, which says that two byte ranges belong together."""
    sha256: str | None
    size: int | None


def _receive(url: str, partial: Path, progress: Progress, token: str | None) -> _Origin:
    """One connection: append what is missing, or start afresh where the server can not go on."""
    hops = _Hops()
    request, start = _request(url, partial, token)
    try:
        with urllib.request.build_opener(hops).open(request, timeout=_SILENCE) as response:
            resumed = response.status == 206 and _range_start(response.headers) == start
            offset = start if resumed else 0
            origin = _origin(response.headers, hops.linked, offset)
            _etag_file(partial).write_text(origin.etag or "", encoding="utf-8")
            with partial.open("ab" if resumed else "wb") as file:
                copy(response, file, progress, origin.size, offset)
            return origin
    except urllib.error.HTTPError as error:
        error.close()
        raise _refused(url, error.code, partial) from None


def _request(url: str, partial: Path, token: str | None) -> tuple[urllib.request.Request, int]:
    """A request for what is missing, and where that starts."""
    request = urllib.request.Request(  # noqa: S310 - the caller chose the scheme
        url, headers={"User-Agent": f"promptlearn/{__version__}", "Accept-Encoding": "identity"}
    )
    if token:
        request.add_unredirected_header("Authorization", f"Bearer {token}")
    start, etag_file = size_of(partial), _etag_file(partial)
    etag = etag_file.read_text(encoding="utf-8") if etag_file.exists() else ""
    if not start or not etag:
        return request, 0
    request.add_header("Range", f"bytes={start}-")
    request.add_header("If-Range", etag)
    return request, start


def _checked(url: str, partial: Path, origin: _Origin) -> str:
    digest = file_digest(partial)
    _etag_file(partial).unlink(missing_ok=True)
    if origin.sha256 is not None and digest != origin.sha256:
        partial.unlink()
        message = f"{redact(url)} arrived with SHA-256 {digest}, but the hub says {origin.sha256}; pull again"
        raise ModelError("malformed", message)
    return digest


class _Hops(urllib.request.HTTPRedirectHandler):
    """Follows redirects and keeps what the hub says on the way: the server behind it does not know the digest."""

    def __init__(self) -> None:
        self.linked: dict[str, str] = {}

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        self.linked |= {key.lower(): value for key, value in headers.items() if key.lower().startswith("x-linked-")}
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _origin(headers: http.client.HTTPMessage, linked: dict[str, str], offset: int) -> _Origin:
    digest = (linked.get("x-linked-etag") or headers.get("X-Linked-Etag") or "").strip('"').lower()
    etag = headers.get("ETag") or ""
    length = headers.get("Content-Length") or ""
    return _Origin(
        etag=etag if etag.startswith('"') else None,
        sha256=digest if re.fullmatch(r"[0-9a-f]{64}", digest) else None,
        size=offset + int(length) if length.isdigit() else None,
    )


def _etag_file(partial: Path) -> Path:
    """Beside the partial file: which version of the file it is a part of."""
    return partial.with_name(f"{partial.name}.etag")


def _range_start(headers: http.client.HTTPMessage) -> int | None:
    match = re.match(r"bytes (\d+)-", headers.get("Content-Range") or "")
    return int(match[1]) if match else None


def _refused(url: str, status: int, partial: Path) -> Exception:
    """An HTTP status that ends the download, or one after which another connection may do better."""
    where = f"{redact(url)} answered {status}"
    if status == 416:
        partial.unlink(missing_ok=True)
        return ConnectionError(where)
    if status in (401, 403):
        return ModelError("auth", f"{where}: the model is private or gated; set HF_TOKEN to a token that may read it")
    if status in (404, 410):
        return ModelError("not_found", f"{where}: there is no such file; check owner, repository and file name")
    if status in (408, 429) or status >= 500:
        return ConnectionError(where)
    return ModelError("bad_request", f"{where}: the server does not give the file away")
