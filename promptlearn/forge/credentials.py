"""Finds what we show GitHub to be let in: a token from the environment, a GitHub App, or what `gh` has.

Knows where credentials are kept, nothing of what is done with them. They are never printed, stored or put into a URL;
what a store may know is `identity`, a hash.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from promptlearn.errors import UsageError
from promptlearn.forge.address import Address
from promptlearn.records import fingerprint

GH_SECONDS = 15
_APP = ("GITHUB_APP_ID", "GITHUB_APP_PRIVATE_KEY", "GITHUB_APP_PRIVATE_KEY_FILE", "GITHUB_APP_INSTALLATION_ID")


@dataclass(frozen=True, slots=True)
class Credentials:
    """A token, or the key of a GitHub App (which fetches tokens with it that end after an hour)."""

    source: str
    """Where they were found, for people."""
    token: str = field(default="", repr=False)
    app: str = ""
    private_key: str = field(default="", repr=False)
    installation: int | None = None
    """Of the App; None: looked up by repository."""

    @property
    def identity(self) -> str:
        """What is told apart from another token's ETags; says nothing about the token."""
        return fingerprint(["token", self.token] if self.token else ["app", self.app, self.installation])

    @property
    def secrets(self) -> tuple[str, ...]:
        """What must stand in no log, store or message (invariant 10)."""
        return tuple(value for value in (self.token, self.private_key) if value)


def find_credentials(address: Address, environ: Mapping[str, str], token_env: str | None = None) -> Credentials:
    """Credentials for a host: the variable that `token_env` names; or else `GITHUB_TOKEN` or `GH_TOKEN` (on a host of
    one's own `GH_ENTERPRISE_TOKEN` or `GITHUB_ENTERPRISE_TOKEN` before these); a GitHub App; `gh auth token`.

    Raises `UsageError` where there are none.
    """
    if token_env:
        token = environ.get(token_env, "").strip()
        if not token:
            raise UsageError(f"the environment variable {token_env} is not set; put a GitHub token into it")
        return _of_token(token, token_env)
    names = ["GITHUB_TOKEN", "GH_TOKEN"]
    if address.host != "github.com":
        names = ["GH_ENTERPRISE_TOKEN", "GITHUB_ENTERPRISE_TOKEN", *names]
    for name in names:
        if token := environ.get(name, "").strip():
            return _of_token(token, name)
    found = _of_app(environ) or _of_gh(address.host, environ)
    if found is None:
        raise UsageError(
            f"no credentials for {address.host}: set GITHUB_TOKEN (a fine-grained token that may read pull requests is "
            "enough), or GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY_FILE, or log in with `gh auth login`"
        )
    return found


def _of_token(token: str, source: str) -> Credentials:
    if not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"what stands in {source} is no GitHub token; put the token alone into it")
    return Credentials(source, token=token)


def _of_app(environ: Mapping[str, str]) -> Credentials | None:
    app, key, file, installation = (environ.get(name, "").strip() for name in _APP)
    if not app and not key and not file:
        return None
    if not app or not (key or file):
        raise UsageError("a GitHub App needs GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY (or GITHUB_APP_PRIVATE_KEY_FILE)")
    if not key:
        try:
            key = Path(file).read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            raise UsageError(f"the key in GITHUB_APP_PRIVATE_KEY_FILE can not be read: {error}") from None
    if installation and not installation.isdecimal():
        raise UsageError("GITHUB_APP_INSTALLATION_ID is no number; leave it out and it is looked up")
    return Credentials(
        f"GitHub App {app}",
        app=app,
        private_key=key.replace("\\n", "\n"),
        installation=int(installation) if installation else None,
    )


def _of_gh(host: str, environ: Mapping[str, str]) -> Credentials | None:
    """What GitHub's own command line is logged in with; None where it is missing or logged out."""
    command = ["gh", "auth", "token", "--hostname", host]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed command; the host was parsed from a URL
            command, capture_output=True, text=True, timeout=GH_SECONDS, env=dict(environ), check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    token = done.stdout.strip()
    return _of_token(token, "`gh auth token`") if done.returncode == 0 and token else None
