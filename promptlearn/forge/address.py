"""Where a GitHub is: github.com, an Enterprise Server, or a ghe.com host. Knows URLs, no network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

from promptlearn.errors import UsageError

PUBLIC = "https://api.github.com"
_EXAMPLE = "write one such as https://github.example.com/api/v3"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Address:
    api: str
    """Base URL of the REST API, without a slash at its end."""
    host: str
    """What people call it, such as `github.com`."""

    @property
    def graphql(self) -> str:
        base = self.api.removesuffix("/v3") if self.api.endswith("/api/v3") else self.api
        return f"{base}/graphql"


def find_address(base_url: str | None, environ: Mapping[str, str]) -> Address:
    """The GitHub that `base_url` names, else `GITHUB_API_URL` (which Actions sets), else github.com.

    Takes the address of the website too. Raises `UsageError` for what is no URL, and for http to another machine:
    the token would travel in the clear.
    """
    text = (base_url or environ.get("GITHUB_API_URL") or PUBLIC).strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        name, _ = (parts.hostname or "").lower(), parts.port
    except ValueError:
        raise UsageError(f"--base-url is no URL; {_EXAMPLE}") from None
    if parts.scheme not in ("http", "https") or not name or parts.username or parts.query or parts.fragment:
        shown = f"{parts.scheme}://{name}{parts.path}"
        raise UsageError(f"{shown} is no address of a GitHub; {_EXAMPLE}")
    if parts.scheme == "http" and name not in _LOOPBACK:
        raise UsageError(f"http://{name} would send the token in the clear; write https://{name}")
    return _address(parts, name)


def _address(parts: SplitResult, name: str) -> Address:
    port = f":{parts.port}" if parts.port else ""
    path = parts.path.rstrip("/")
    if name in ("github.com", "www.github.com", "api.github.com"):
        return Address(PUBLIC, "github.com")
    if name.endswith(".ghe.com"):
        site = name.removeprefix("api.")
        return Address(f"https://api.{site}{port}", f"{site}{port}")
    return Address(f"{parts.scheme}://{name}{port}{path or '/api/v3'}", f"{name}{port}")
