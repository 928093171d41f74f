"""The few requests to GitHub that need write permission: a branch, a file on it, a pull request.

They go through a session of their own with a token of its own (`PROMPTLEARN_WRITE_TOKEN`), so that whatever reads text
from outside can write nothing (invariant 9). There is no request here that merges, approves, forces or deletes.

Knows GitHub's REST interface (https://docs.github.com/en/rest); nothing about runs or prompts. A write is not repeated,
because the caller can be called again.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from promptlearn.errors import ForgeError, UsageError
from promptlearn.forge.github import check_name
from promptlearn.records import Json

if TYPE_CHECKING:
    from collections.abc import Iterator

    from promptlearn.forge.wire import Wire

TOKEN_ENV = "PROMPTLEARN_WRITE_TOKEN"  # noqa: S105 - the name of a variable
PullState = Literal["open", "closed", "merged"]


@dataclass(frozen=True, slots=True)
class StoredFile:
    data: bytes
    sha: str
    """Of the blob: a write that names it fails where the file has changed since."""


@dataclass(frozen=True, slots=True)
class Pull:
    number: int
    url: str
    state: PullState
    title: str
    body: str
    base: str


class Writer:
    """One repository, over a session that was opened for writing.

    Raises `UsageError` for what the user can mend (permission, names, settings), `ForgeError` for the rest.
    """

    def __init__(self, wire: Wire, repo: str) -> None:
        self.repo = check_name(repo)
        self._wire = wire

    async def default_branch(self) -> str:
        """Asked first: a repository that was renamed is called by its new name from then on."""
        found = await self._get("")
        if found is None:
            raise UsageError(f"there is no repository {self.repo}, or the token in {TOKEN_ENV} may not see it")
        self.repo = check_name(str(found["full_name"]))
        return str(found["default_branch"])

    async def tip(self, branch: str) -> str | None:
        """The commit that a branch stands at; None where there is no such branch."""
        found = await self._get(f"/git/ref/heads/{quote(branch)}")
        return None if found is None else str(found["object"]["sha"])

    async def read(self, path: str, ref: str) -> StoredFile | None:
        """A file at a commit or branch; None where there is none."""
        found = await self._get(f"/contents/{quote(path)}", {"ref": ref})
        if found is None:
            return None
        if not isinstance(found, dict) or found.get("type") != "file" or found.get("encoding") != "base64":
            raise UsageError(f"{path} in {self.repo} is no file of less than a megabyte; name another with --path")
        try:
            return StoredFile(base64.b64decode(str(found["content"])), str(found["sha"]))
        except binascii.Error:
            raise ForgeError("malformed", f"GitHub's answer for {path} is not base64; try again") from None

    async def last_message(self, branch: str, path: str) -> str:
        """The message of the last commit on a branch that touched a file; empty where none did."""
        found = await self._get("/commits", {"sha": branch, "path": path, "per_page": 1})
        return str(found[0]["commit"]["message"]) if found else ""

    async def pulls(self, branch: str) -> list[Pull]:
        """Pull requests from a branch of this repository, the newest first, at most a hundred."""
        owner = self.repo.partition("/")[0]
        found = await self._get("/pulls", {"head": f"{owner}:{branch}", "state": "all", "per_page": 100})
        return sorted(map(_pull, found or []), key=lambda pull: -pull.number)

    async def create_branch(self, branch: str, commit: str) -> None:
        await self._send("POST", "/git/refs", {"ref": f"refs/heads/{branch}", "sha": commit})

    async def write(self, path: str, data: bytes, old: StoredFile | None, branch: str, message: str) -> None:
        """Commit a file to a branch; refused by GitHub where it is no longer `old`."""
        content = base64.b64encode(data).decode("ascii")
        body = {"message": message, "content": content, "branch": branch}
        await self._send("PUT", f"/contents/{quote(path)}", body if old is None else body | {"sha": old.sha})

    async def open_pull(self, branch: str, base: str, title: str, body: str, draft: bool) -> Pull:
        fields = {"head": branch, "base": base, "title": title, "body": body, "draft": draft}
        return _pull(await self._send("POST", "/pulls", fields))

    async def update_pull(self, number: int, title: str, body: str) -> Pull:
        return _pull(await self._send("PATCH", f"/pulls/{number}", {"title": title, "body": body}))

    async def _get(self, path: str, params: Mapping[str, str | int] | None = None) -> Json:
        """The answer, or None where there is nothing of that name."""
        try:
            return (await self._wire.get(f"/repos/{self.repo}{path}", params)).body
        except ForgeError as error:
            if error.kind == "not_found":
                return None
            raise

    async def _send(self, method: str, path: str, body: Json) -> Json:
        with _explained(self.repo, path):
            return (await self._wire.send(method, f"/repos/{self.repo}{path}", body)).body


@contextmanager
def _explained(repo: str, path: str) -> Iterator[None]:
    """Say what to do about a write that GitHub refuses."""
    try:
        yield
    except ForgeError as error:
        if error.kind in ("forbidden", "not_found"):
            raise UsageError(
                f"{error}; the token in {TOKEN_ENV} needs `contents` and `pull requests` with write permission on "
                f"{repo}, and in an Action the setting that lets workflows create pull requests"
            ) from None
        if error.kind == "malformed" and path == "/pulls" and "draft" in str(error).lower():
            raise UsageError(f"{repo} takes no draft pull requests ({error}); give --ready") from None
        raise


def _pull(found: Mapping[str, Any]) -> Pull:
    state: PullState = "merged" if found.get("merged_at") else "open" if found["state"] == "open" else "closed"
    return Pull(
        number=int(found["number"]),
        url=str(found["html_url"]),
        state=state,
        title=str(found["title"]),
        body=str(found.get("body") or ""),
        base=str(found["base"]["ref"]),
    )
