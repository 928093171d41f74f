"""Reads pull requests from GitHub in as few requests as it allows, in batches of a page. Implements `base.Forge`.

Knows GitHub's lists and pages; nothing of who is trusted or what is stored. GraphQL brings pull requests with all that
is said on them; REST's three lists of news (pull requests, comments on lines, comments in the conversation) cost
nothing while nothing changed. A page that GitHub's servers can not put together in time is asked for in halves.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias
from urllib.parse import quote, urlencode

from promptlearn.errors import ForgeError, UsageError
from promptlearn.forge.address import Address
from promptlearn.forge.base import Batch, Changes, Scope
from promptlearn.forge.credentials import Credentials
from promptlearn.forge.limits import moment
from promptlearn.forge.queries import PAGE_QUERY, PULLS, RESTS, numbers_query, rest_query
from promptlearn.forge.reading import Gathering, Missing, Reading
from promptlearn.forge.wire import GraphAnswer, Patience, Traffic, Wire, connect
from promptlearn.records import Json
from promptlearn.redaction import redact

FEWEST = 5
"""Pull requests in one request, below which a page is not halved again."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]*/[A-Za-z0-9._-]+")
_OVERLOAD = {"RESOURCE_LIMITS_EXCEEDED", "MAX_NODE_LIMIT_EXCEEDED", "EXCESSIVE_PAGINATION", "TIMEOUT"}
_TOO_LONG = re.compile(r"something went wrong while executing your query|timeout|timed out", re.IGNORECASE)
_OF_CHECKS = {"commits", "statusCheckRollup", "contexts", "annotations", "checkSuite"}
_ROLES = {"admin", "maintain", "write", "triage", "read", "none"}
_NEWEST: Mapping[str, str | int] = {"sort": "updated", "direction": "desc", "per_page": 100}
Question: TypeAlias = Callable[[], tuple[str, dict[str, Json]]]
"""A query and its variables, for as many pull requests as may be asked for now."""


def check_name(repo: str) -> str:
    """`owner/name`, or `UsageError`."""
    if not _NAME.fullmatch(repo):
        raise UsageError(f"{repo!r} names no repository; write it as OWNER/NAME")
    return repo


@asynccontextmanager
async def open_github(
    address: Address, credentials: Credentials, repo: str, patience: Patience | None = None
) -> AsyncIterator[GitHub]:
    """A session that reads `repo` and can change nothing. Raises `UsageError` and `ForgeError`."""
    async with connect(address, credentials, check_name(repo), patience=patience) as wire:
        yield GitHub(wire, credentials)


class GitHub:
    """A session for reading; made by `open_github`."""

    def __init__(self, wire: Wire, credentials: Credentials) -> None:
        self._wire = wire
        self._identity = credentials.identity
        self._clean = partial(redact, secrets=credentials.secrets)
        self._size = PULLS
        self._checks = True
        self._notices: list[str] = []

    @property
    def host(self) -> str:
        return self._wire.address.host

    @property
    def identity(self) -> str:
        return self._identity

    @property
    def traffic(self) -> Traffic:
        """What the session cost so far."""
        return self._wire.traffic

    def now(self) -> str:
        return moment(self._wire.now)

    async def changes(self, scope: Scope, since: str, etags: Mapping[str, str]) -> Changes:
        found: dict[bool, dict[int, str]] = {True: {}, False: {}}
        tags: dict[str, str] = {}
        at = ""
        for news in _news(scope):
            answer = await self._wire.get(news.path, news.params, etags.get(news.url, ""))
            at = at or self.now()
            if answer.status == 304:
                continue
            tags[news.url] = answer.etag
            while since:
                entries: list[Json] = answer.body if isinstance(answer.body, list) else []
                new = [entry for entry in entries if entry["updated_at"] >= since]
                numbers = found[news.of_pulls]
                for number, changed in filter(None, map(news.read, new)):
                    numbers[number] = max(changed, numbers.get(number, ""))
                if len(new) < len(entries) or not answer.next:
                    break
                answer = await self._wire.get(answer.next)
        return Changes(at, found[True], found[False], {url: etag for url, etag in tags.items() if etag})

    async def everything(self, scope: Scope, since: str = "", resume: str = "") -> AsyncIterator[Batch]:
        gathering = Gathering()
        cursor, more, seen, total = resume, True, 0, 0
        while more:
            asked_at = self.now()
            repository = await self._repository(scope, partial(self._page_question, scope, cursor))
            page = repository["pullRequests"]
            nodes = [node for node in page["nodes"] or () if node]
            seen, total = seen + len(nodes), total or page["totalCount"]
            wanted = [node for node in nodes if node["updatedAt"] >= since]
            gathering.begin(self._readings(wanted, repository, asked_at))
            more = page["pageInfo"]["hasNextPage"] and len(wanted) == len(nodes)
            cursor = page["pageInfo"]["endCursor"] or cursor
            async for batch in self._gather(gathering, last=not more):
                yield replace(batch, total=total)
            if more and not gathering.open:
                yield Batch(cursor=cursor)
        if seen < total and not since and not resume:
            words = f"{seen} of {total} pull requests were read; those that changed meanwhile come with the next pull"
            yield Batch(notices=(words,))

    async def some(self, scope: Scope, numbers: Sequence[int]) -> AsyncIterator[Batch]:
        gathering = Gathering()
        left = sorted(set(numbers))
        while left:
            asked_at = self.now()
            repository = await self._repository(scope, partial(self._numbers_question, scope, left))
            asked, left = left[: self._size], left[self._size :]
            nodes = [repository[f"p{number}"] for number in asked if repository.get(f"p{number}")]
            self._notices += [
                f"there is no pull request {n} in {scope.repo}" for n in asked if not repository.get(f"p{n}")
            ]
            gathering.begin(self._readings(nodes, repository, asked_at))
            async for batch in self._gather(gathering, last=not left):
                yield batch

    async def permission(self, repo: str, login: str) -> str | None:
        try:
            answer = await self._wire.get(f"/repos/{repo}/collaborators/{quote(login, safe='')}/permission")
        except ForgeError as error:
            if error.kind not in ("not_found", "forbidden"):
                raise
            return "none" if error.kind == "not_found" else None
        role, base = str(answer.body.get("role_name") or ""), str(answer.body.get("permission") or "none")
        return role if role in _ROLES else base

    async def _gather(self, gathering: Gathering, last: bool) -> AsyncIterator[Batch]:
        """What came, with the rests that must be there now, a full request of them, or (`last`) all."""
        while True:
            if not gathering.urgent:
                batch = gathering.batch()
                yield replace(batch, notices=(*self._take_notices(), *batch.notices))
            if not gathering.missing or not (last or gathering.urgent or len(gathering.missing) >= RESTS):
                return
            answer = await self._ask(partial(self._rests_question, gathering.missing))
            gathering.add(answer.data or {}, len(self._rests(gathering.missing)))

    async def _repository(self, scope: Scope, question: Question) -> Json:
        answer = await self._ask(question)
        repository = (answer.data or {}).get("repository")
        if not repository:
            raise ForgeError(
                "not_found",
                f"{self.host} knows no {scope.repo}, or the token may not see it: check the name, and the token",
            )
        return repository

    async def _ask(self, question: Question) -> GraphAnswer:
        """The answer to a question, which is put anew, for less, where it was too much."""
        while True:
            smallest = self._size <= FEWEST
            try:
                answer = await self._wire.query(*question(), attempts=99 if smallest else 2)
                self._note_errors(answer, smallest)
            except ForgeError as error:
                if error.kind != "overload" or smallest:
                    raise
                self._size = max(FEWEST, self._size // 2)
            else:
                return answer

    def _note_errors(self, answer: GraphAnswer, smallest: bool) -> None:
        """Errors that stand beside an answer: too much was asked, the token may not, or something is gone."""
        for error in answer.errors:
            kind, said = str(error.get("type") or ""), self._clean(str(error.get("message") or ""))
            of_checks = bool(_OF_CHECKS & {str(step) for step in error.get("path") or ()})
            overloaded = kind in _OVERLOAD or bool(_TOO_LONG.search(said))
            if overloaded and not (smallest and of_checks):
                raise ForgeError("overload", f"{self.host} can not put the answer together: {said}; try again later")
            if kind == "INVALID_CURSOR_ARGUMENTS":
                raise ForgeError("cursor", f"{self.host} knows the page no more: {said}; read it all again")
            if of_checks:
                self._without_checks(said)
            elif kind != "NOT_FOUND" and not answer.data:
                raise ForgeError("forbidden" if kind else "malformed", f"{self.host} refuses the question: {said}")
            elif kind != "NOT_FOUND":
                self._notices.append(f"{self.host} left something out: {said}")

    def _without_checks(self, said: str) -> None:
        if self._checks:
            self._checks = False
            self._notices.append(f"checks can not be read: {said}; give the token the permission to read checks")

    def _take_notices(self) -> tuple[str, ...]:
        taken, self._notices = self._notices, []
        return tuple(dict.fromkeys([*taken, *self._of_token()]))

    def _of_token(self) -> list[str]:
        scopes = {scope.strip() for scope in self._wire.scopes.split(",")}
        may = sorted(scopes & {"repo", "public_repo"})
        return [f"the token may write ({may[0]}); one that may only read pull requests is enough"] if may else []

    def _readings(self, nodes: Sequence[Json], repository: Json, asked_at: str) -> list[Reading]:
        return [Reading(node, repository["nameWithOwner"], asked_at, self._clean) for node in nodes]

    def _page_question(self, scope: Scope, cursor: str) -> tuple[str, dict[str, Json]]:
        more = {"first": self._size, "after": cursor or None, "labels": list(scope.labels) or None}
        return PAGE_QUERY, self._variables(scope) | more

    def _numbers_question(self, scope: Scope, numbers: Sequence[int]) -> tuple[str, dict[str, Json]]:
        return numbers_query(numbers[: self._size]), self._variables(scope)

    def _rests_question(self, missing: Sequence[Missing]) -> tuple[str, dict[str, Json]]:
        return rest_query([one.rest for one in self._rests(missing)]), {}

    def _rests(self, missing: Sequence[Missing]) -> Sequence[Missing]:
        return missing[: max(1, RESTS * self._size // PULLS)]

    def _variables(self, scope: Scope) -> dict[str, Json]:
        owner, _, name = scope.repo.partition("/")
        return {"owner": owner, "name": name, "files": scope.files, "checks": self._checks}


@dataclass(frozen=True, slots=True)
class _News:
    """One of REST's lists that are sorted by the newest change."""

    path: str
    params: Mapping[str, str | int]
    read: Callable[[Json], tuple[int, str] | None]
    """An entry's pull request and time; None for what belongs to none."""
    of_pulls: bool = False

    @property
    def url(self) -> str:
        """What its ETag is filed under."""
        return f"{self.path}?{urlencode(self.params)}"


def _news(scope: Scope) -> Iterator[_News]:
    base = f"/repos/{scope.repo}"
    if not scope.labels:
        yield _News(f"{base}/pulls", {"state": "all", **_NEWEST}, _of_pull, of_pulls=True)
    for label in scope.labels:
        yield _News(f"{base}/issues", {"state": "all", "labels": label, **_NEWEST}, _of_issue, of_pulls=True)
    yield _News(f"{base}/pulls/comments", _NEWEST, _of_inline)
    yield _News(f"{base}/issues/comments", _NEWEST, _of_conversation)


def _of_pull(entry: Json) -> tuple[int, str]:
    return int(entry["number"]), entry["updated_at"]


def _of_issue(entry: Json) -> tuple[int, str] | None:
    return _of_pull(entry) if entry.get("pull_request") else None


def _of_inline(entry: Json) -> tuple[int, str]:
    return int(entry["pull_request_url"].rsplit("/", 1)[1]), entry["updated_at"]


def _of_conversation(entry: Json) -> tuple[int, str] | None:
    of_pull = re.search(r"/pull/(\d+)#", entry["html_url"])
    return (int(of_pull[1]), entry["updated_at"]) if of_pull else None
