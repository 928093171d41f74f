"""GitHubServer: a real HTTP server on loopback that answers as GitHub does, over a `World` that tests fill.

    async with GitHubServer(world) as server:
        server.fail(status=502, times=2)                       # the next two requests
        server.fail("graphql", status=403, headers={"Retry-After": "1"}, message="… a secondary rate limit …")
        ... server.url, token=READ ...
    server.requests          # what came in: method, path, query, body, status

    with GitHubServer(world).in_thread() as url:               # for code that is not async
        ...

Speaks GraphQL (`github_graphql`) and REST below `/` and below `/api/v3`: pages with Link headers, ETags by token and
304, hourly limits, faults, Apps with installation tokens, and what it takes to open a pull request. `READ` may read,
`WRITE` may write, and an App's token may do what it was asked for.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import unquote, urlencode

from aiohttp import web
from github_git import Commit
from github_graphql import Executor, Refused
from github_world import CheckRun, IssueComment, Pull, Repo, Review, ReviewComment, Said, User, World

READ, WRITE = "github_pat_reads0000000000", "github_pat_writes000000000"


@dataclass
class Fault:
    """How the next requests go wrong."""

    where: str
    """A regular expression that the path contains."""
    status: int
    headers: Mapping[str, str]
    message: str
    times: int
    cut: bool = False
    """Close the connection without an answer."""
    method: str = ""
    """Only requests of this method; empty: of any."""


@dataclass(frozen=True)
class Seen:
    """One request that came in, and how it was answered."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any
    status: int


@dataclass
class Limit:
    """An hourly limit; None where there is none, as on an Enterprise Server."""

    left: int = 5000
    resets_in: float = 3600
    """Seconds, by the world's clock."""


class NoSuch(Exception):
    """404."""


class Wrong(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Rest:
    """A request to REST, as its handler sees it."""

    server: GitHubServer
    world: World
    match: re.Match[str]
    query: Mapping[str, str]
    body: Any
    token: str

    @property
    def repo(self) -> Repo:
        found = self.world.find(f"{self.match['owner']}/{self.match['name']}")
        if found is None:
            raise NoSuch
        return found

    @property
    def pull(self) -> Pull:
        found = self.repo.pulls.get(int(self.match["number"]))
        if found is None:
            raise NoSuch
        return found


Handler = Callable[[Rest], Any]
_ROUTES: list[tuple[str, re.Pattern[str], Handler]] = []


def _route(method: str, path: str) -> Callable[[Handler], Handler]:
    pattern = re.escape(path).replace(r"\{", "{").replace(r"\}", "}")
    pattern = re.sub(r"\{(\w+)\*\}|\{(\w+)\\\*\}", lambda m: f"(?P<{m[1] or m[2]}>.+)", pattern)
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)

    def add(handler: Handler) -> Handler:
        _ROUTES.append((method, re.compile(pattern), handler))
        return handler

    return add


def _find_route(method: str, path: str) -> tuple[re.Match[str], Handler] | None:
    for known, pattern, handler in _ROUTES:
        match = pattern.fullmatch(path)
        if match and known == method:
            return match, handler
    return None


class GitHubServer:
    def __init__(self, world: World) -> None:
        self.world = world
        self.url = ""
        """Base URL of REST, as an Enterprise Server has it."""
        self.requests: list[Seen] = []
        self.limits: dict[str, Limit | None] = {"core": Limit(), "graphql": Limit()}
        self.slow_above = 1000
        """Pull requests in one GraphQL page that the server still can put together in time."""
        self.tokens: dict[str, Mapping[str, str]] = {READ: {}, WRITE: {"contents": "write", "pull_requests": "write"}}
        """Token → what it may do beyond reading."""
        self.scopes = ""
        """`X-OAuth-Scopes`, as for a classic token."""
        self.apps: dict[str, str] = {}
        """App id → PEM of its public key."""
        self.installation = 77
        self.app_permissions = ("metadata", "pull_requests", "issues", "contents", "checks")
        self.faults: list[Fault] = []
        self.answers: list[Any] = []
        """What the next GraphQL queries are answered with, whatever they ask."""
        self._runner: web.AppRunner | None = None

    def fail(
        self,
        where: str = "",
        *,
        status: int = 502,
        headers: Mapping[str, str] | None = None,
        message: str = "Server Error",
        times: int = 1,
        cut: bool = False,
        method: str = "",
    ) -> None:
        """Let the next requests whose path matches go wrong."""
        self.faults.append(Fault(where, status, headers or {}, message, times, cut, method))

    def count(self, where: str = "", status: int | None = None) -> int:
        """Requests that came in so far."""
        return sum(bool(re.search(where, one.path)) and status in (None, one.status) for one in self.requests)

    async def __aenter__(self) -> GitHubServer:
        app = web.Application(client_max_size=64 << 20)
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}/api/v3"
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @contextmanager
    def in_thread(self) -> Iterator[str]:
        """Serve from a thread of its own; gives the base URL."""
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True)
        thread.start()
        asyncio.run_coroutine_threadsafe(self.__aenter__(), loop).result(10)
        try:
            yield self.url
        finally:
            asyncio.run_coroutine_threadsafe(self.__aexit__(), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(10)
            loop.close()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = json.loads(raw) if raw else None
        path = request.path.removeprefix("/api/v3") if request.path.startswith("/api/v3") else request.path
        path = path.removeprefix("/api") if path == "/api/graphql" else path
        response = self._answer(request, path, body)
        status = 0 if response is None else response.status
        self.requests.append(Seen(request.method, path, dict(request.query), dict(request.headers), body, status))
        if response is None:
            if request.transport is not None:
                request.transport.abort()
            return web.Response()
        response.headers["Date"] = format_datetime(self.world.clock, usegmt=True)
        if self.scopes:
            response.headers["X-OAuth-Scopes"] = self.scopes
        return response

    def _answer(self, request: web.Request, path: str, body: Any) -> web.Response | None:
        for fault in self.faults:
            if fault.times and fault.method in ("", request.method) and re.search(fault.where, path):
                fault.times -= 1
                if fault.cut:
                    return None
                return _json({"message": fault.message}, fault.status, fault.headers)
        token = request.headers.get("Authorization", "").partition(" ")[2]
        by_app = path.startswith("/app/") or path.endswith("/installation")
        if not by_app and token not in self.tokens:
            return _json({"message": "Bad credentials"}, 401)
        if path == "/graphql":
            return self._graphql(body)
        return self._rest(request, path, body, token)

    def _graphql(self, body: Any) -> web.Response:
        limit = self.limits["graphql"]
        headers = self._limit_headers("graphql")
        if self.answers:
            return _json(self.answers.pop(0), 200, headers)
        try:
            executor = Executor(self.world, body["query"], body.get("variables") or {})
            cost = executor.size.cost
            if limit is not None and limit.left < cost:
                error = {"type": "RATE_LIMITED", "message": "API rate limit exceeded"}
                return _json({"errors": [error]}, 200, headers)
            if limit is not None:
                limit.left -= cost
            left, reset = ("0", "") if limit is None else (str(limit.left), self._reset(limit))
            data = executor.run(
                {"cost": cost, "remaining": int(left), "resetAt": reset, "nodeCount": executor.size.nodes}
            )
        except Refused as error:
            return _json({"errors": [{"type": error.kind, "message": str(error)}]}, 200, headers)
        repository = data.get("repository") or {}
        pulls = len((repository.get("pullRequests") or {}).get("nodes") or ())
        if max(pulls, sum(name[0] == "p" and name[1:].isdigit() for name in repository)) > self.slow_above:
            return _json({"message": "We couldn't respond to your request in time."}, 502)
        answer = {"data": data} | ({"errors": executor.errors} if executor.errors else {})
        return _json(answer, 200, self._limit_headers("graphql"))

    def _rest(self, request: web.Request, path: str, body: Any, token: str) -> web.Response:
        limit = self.limits["core"]
        if limit is not None and limit.left < 1:
            return _json({"message": "API rate limit exceeded for user ID 1."}, 403, self._limit_headers("core"))
        found_route = _find_route(request.method, unquote(path))
        if found_route is None:
            return _json({"message": "Not Found"}, 404)
        match, handler = found_route
        moved = self._moved(match, path)
        if moved:
            return _json({"message": "Moved Permanently"}, 301, {"Location": f"{self.url}{moved}"})
        if refused := self._refused(request.method, path, token):
            return _json({"message": refused}, 403)
        try:
            found = handler(Rest(self, self.world, match, dict(request.query), body, token))
        except NoSuch:
            return _json({"message": "Not Found"}, 404)
        except Wrong as error:
            return _json({"message": str(error)}, error.status)
        return self._found(request, path, found, token, limit)

    def _found(self, request: web.Request, path: str, found: Any, token: str, limit: Limit | None) -> web.Response:
        headers: dict[str, str] = {}
        status = 200
        if isinstance(found, web.Response):
            return found
        if isinstance(found, tuple):
            status, found = found
        if request.method == "GET":
            if isinstance(found, list):
                found, headers["Link"] = self._paged(request, path, found)
            etag = f'W/"{hashlib.sha256((token + json.dumps(found)).encode()).hexdigest()}"'
            headers["ETag"] = etag
            if request.headers.get("If-None-Match") == etag:  # costs nothing
                return web.Response(status=304, headers=headers | self._limit_headers("core"))
        if limit is not None:
            limit.left -= 1
        return _json(found, status, headers | self._limit_headers("core"))

    def _paged(self, request: web.Request, path: str, found: list[Any]) -> tuple[list[Any], str]:
        size = min(100, int(request.query.get("per_page", 30)))
        number = int(request.query.get("page", 1))
        pages = max(1, -(-len(found) // size))
        links = []
        for rel, other in (("next", number + 1), ("last", pages)):
            if number < pages:
                query = urlencode(dict(request.query) | {"page": str(other)})
                links.append(f'<{self.url}{path}?{query}>; rel="{rel}"')
        return found[(number - 1) * size : number * size], ", ".join(links)

    def _moved(self, match: re.Match[str], path: str) -> str:
        if "owner" not in match.groupdict():
            return ""
        old = f"{match['owner']}/{match['name']}"
        new = self.world.renamed.get(old.lower())
        return path.replace(old, new, 1) if new else ""

    def _refused(self, method: str, path: str, token: str) -> str:
        if method == "GET" or path.startswith("/app/"):
            return ""
        area = "pull_requests" if re.search(r"/(pulls|issues)\b", path) else "contents"
        if self.tokens[token].get(area) == "write":
            return ""
        return "Resource not accessible by personal access token"

    def _limit_headers(self, name: str) -> dict[str, str]:
        limit = self.limits[name]
        if limit is None:
            return {}
        return {
            "X-RateLimit-Limit": "5000",
            "X-RateLimit-Remaining": str(limit.left),
            "X-RateLimit-Reset": str(int((self.world.clock + timedelta(seconds=limit.resets_in)).timestamp())),
            "X-RateLimit-Resource": name,
        }

    def _reset(self, limit: Limit) -> str:
        return (self.world.clock + timedelta(seconds=limit.resets_in)).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers=dict(headers or {}))


REPO = "/repos/{owner}/{name}"


@_route("GET", REPO)
def _repo(rest: Rest) -> Any:
    return {"full_name": rest.repo.name, "default_branch": rest.repo.default_branch, "private": False}


@_route("GET", f"{REPO}/pulls")
def _pulls(rest: Rest) -> Any:
    found = rest.repo.newest()
    state, head, base = rest.query.get("state", "open"), rest.query.get("head"), rest.query.get("base")
    if state != "all":
        found = [pull for pull in found if (pull.state == "OPEN") == (state == "open")]
    if head:
        found = [pull for pull in found if f"{_owner(pull.repo)}:{pull.head_ref}" == head]
    if base:
        found = [pull for pull in found if pull.base_ref == base]
    return [_pull(pull) for pull in found]


@_route("GET", f"{REPO}/pulls/comments")
def _all_review_comments(rest: Rest) -> Any:
    return [_review_comment(said) for said in _sorted(rest, rest.repo.review_comments())]


@_route("GET", f"{REPO}/issues/comments")
def _all_issue_comments(rest: Rest) -> Any:
    return [_issue_comment(said) for said in _sorted(rest, rest.repo.issue_comments())]


@_route("GET", f"{REPO}/issues")
def _issues(rest: Rest) -> Any:
    wanted = set(filter(None, rest.query.get("labels", "").split(",")))
    found = [pull for pull in rest.repo.newest() if wanted <= set(pull.labels)]
    return [_pull(pull) | {"pull_request": {"url": pull.url}} for pull in found]


@_route("GET", f"{REPO}/pulls/{{number}}")
def _one_pull(rest: Rest) -> Any:
    return _pull(rest.pull)


@_route("GET", f"{REPO}/pulls/{{number}}/comments")
def _review_comments(rest: Rest) -> Any:
    return [_review_comment(said) for thread in rest.pull.threads for said in thread.comments]


@_route("GET", f"{REPO}/pulls/{{number}}/reviews")
def _reviews(rest: Rest) -> Any:
    return [_review(review) for review in rest.pull.reviews]


@_route("GET", f"{REPO}/pulls/{{number}}/files")
def _files(rest: Rest) -> Any:
    return [{"filename": path, "status": "modified"} for path in rest.pull.files]


@_route("GET", f"{REPO}/issues/{{number}}/comments")
def _issue_comments(rest: Rest) -> Any:
    return [_issue_comment(said) for said in rest.pull.comments]


@_route("GET", f"{REPO}/commits/{{sha}}/check-runs")
def _check_runs(rest: Rest) -> Any:
    runs = [
        check
        for pull in rest.repo.pulls.values()
        for check in pull.checks
        if pull.head == rest.match["sha"] and isinstance(check, CheckRun)
    ]
    return {"total_count": len(runs), "check_runs": [_check_run(run) for run in runs]}


@_route("GET", f"{REPO}/check-runs/{{number}}/annotations")
def _annotations(rest: Rest) -> Any:
    for pull in rest.repo.pulls.values():
        for check in pull.checks:
            if isinstance(check, CheckRun) and check.number == int(rest.match["number"]):
                return [
                    {
                        "path": entry["path"],
                        "start_line": entry["line"],
                        "annotation_level": entry["level"].lower(),
                        "title": entry["title"],
                        "message": entry["message"],
                    }
                    for entry in check.annotations
                ]
    raise NoSuch


@_route("GET", f"{REPO}/collaborators/{{login}}/permission")
def _permission(rest: Rest) -> Any:
    if rest.repo.hides_permissions:
        raise Wrong(403, "Must have push access to view collaborator permission.")
    for user in rest.world.users:
        if user.login.lower() == rest.match["login"].lower() and not user.gone:
            permission, role = rest.repo.permissions.get(user.id, ("read", "read"))
            return {"permission": permission, "role_name": role, "user": _user(user)}
    raise NoSuch


@_route("GET", f"{REPO}/installation")
def _installation(rest: Rest) -> Any:
    _check_app(rest)
    return {"id": rest.server.installation, "permissions": dict.fromkeys(rest.server.app_permissions, "read")}


@_route("POST", "/app/installations/{number}/access_tokens")
def _access_token(rest: Rest) -> Any:
    _check_app(rest)
    if int(rest.match["number"]) != rest.server.installation:
        raise NoSuch
    wanted = dict((rest.body or {}).get("permissions") or {})
    if set(wanted) - set(rest.server.app_permissions):
        raise Wrong(422, "The permissions requested are not granted to this installation.")
    token = f"ghs_{len(rest.server.tokens):020d}"
    rest.server.tokens[token] = wanted
    until = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return 201, {"token": token, "expires_at": until, "permissions": wanted, "repository_selection": "selected"}


def _check_app(rest: Rest) -> None:
    """A JSON web token that one of the known Apps signed."""
    import jwt

    try:
        issuer = str(jwt.decode(rest.token, options={"verify_signature": False})["iss"])
        jwt.decode(rest.token, rest.server.apps[issuer], algorithms=["RS256"])
    except (jwt.PyJWTError, KeyError):
        raise Wrong(401, "A JSON web token could not be decoded") from None


@_route("GET", f"{REPO}/git/ref/heads/{{branch*}}")
def _ref(rest: Rest) -> Any:
    sha = rest.repo.git.branches.get(rest.match["branch"])
    if sha is None:
        raise NoSuch
    return _a_ref(rest.match["branch"], sha)


@_route("POST", f"{REPO}/git/refs")
def _make_ref(rest: Rest) -> Any:
    name = str(rest.body["ref"]).removeprefix("refs/heads/")
    if name in rest.repo.git.branches:
        raise Wrong(422, "Reference already exists")
    if rest.body["sha"] not in rest.repo.git.commits:
        raise Wrong(422, "Object does not exist")
    rest.repo.git.branches[name] = rest.body["sha"]
    return 201, _a_ref(name, rest.body["sha"])


@_route("PATCH", f"{REPO}/git/refs/heads/{{branch*}}")
def _move_ref(rest: Rest) -> Any:
    git, name, sha = rest.repo.git, rest.match["branch"], rest.body["sha"]
    if name not in git.branches:
        raise Wrong(422, "Reference does not exist")
    if not rest.body.get("force") and not git.is_ancestor(git.branches[name], sha):
        raise Wrong(422, "Update is not a fast forward")
    git.branches[name] = sha
    return _a_ref(name, sha)


@_route("GET", f"{REPO}/git/commits/{{sha}}")
def _git_commit(rest: Rest) -> Any:
    found = rest.repo.git.commits.get(rest.match["sha"])
    if found is None:
        raise NoSuch
    return _a_commit(found)


@_route("POST", f"{REPO}/git/commits")
def _make_commit(rest: Rest) -> Any:
    made = rest.repo.git.add_commit(rest.body["tree"], rest.body["message"], tuple(rest.body.get("parents", ())))
    return 201, _a_commit(made)


@_route("GET", f"{REPO}/git/trees/{{sha}}")
def _tree(rest: Rest) -> Any:
    git = rest.repo.git
    files = git.trees.get(rest.match["sha"]) or git.files(rest.match["sha"])
    return {"tree": [{"path": path, "type": "blob", "sha": sha} for path, sha in sorted(files.items())]}


@_route("POST", f"{REPO}/git/trees")
def _make_tree(rest: Rest) -> Any:
    git = rest.repo.git
    files = dict(git.trees.get(rest.body.get("base_tree"), {}))
    for entry in rest.body["tree"]:
        if "content" in entry:
            files[entry["path"]] = git.blob(entry["content"].encode())
        elif entry["sha"] is None:
            files.pop(entry["path"], None)
        else:
            files[entry["path"]] = entry["sha"]
    return 201, {"sha": git.tree(files)}


@_route("GET", f"{REPO}/git/blobs/{{sha}}")
def _blob(rest: Rest) -> Any:
    data = rest.repo.git.blobs.get(rest.match["sha"])
    if data is None:
        raise NoSuch
    return {"sha": rest.match["sha"], "content": base64.b64encode(data).decode(), "encoding": "base64"}


@_route("POST", f"{REPO}/git/blobs")
def _make_blob(rest: Rest) -> Any:
    raw = rest.body["content"]
    data = base64.b64decode(raw) if rest.body.get("encoding") == "base64" else raw.encode()
    return 201, {"sha": rest.repo.git.blob(data)}


@_route("GET", f"{REPO}/commits")
def _commits(rest: Rest) -> Any:
    ref = rest.query.get("sha", rest.repo.default_branch)
    if rest.repo.git.resolve(ref) is None:
        raise NoSuch
    log = rest.repo.git.log(ref, rest.query.get("path", ""))
    return [{"sha": one.sha, "commit": {"message": one.message}} for one in log]


@_route("GET", f"{REPO}/contents/{{path*}}")
def _contents(rest: Rest) -> Any:
    ref, path = rest.query.get("ref", rest.repo.default_branch), rest.match["path"]
    files = rest.repo.git.files(ref)
    if path not in files:
        below = [name for name in files if name.startswith(f"{path}/")]
        if not below:
            raise NoSuch
        return [{"type": "file", "path": name} for name in below]
    return _a_file(rest.repo, path, files[path])


@_route("PUT", f"{REPO}/contents/{{path*}}")
def _put_contents(rest: Rest) -> Any:
    git, path = rest.repo.git, rest.match["path"]
    branch = rest.body.get("branch", rest.repo.default_branch)
    if branch not in git.branches:
        raise Wrong(404, f"Branch {branch} not found")
    there = git.files(branch).get(path)
    if there != rest.body.get("sha"):
        status = 422 if rest.body.get("sha") is None else 409
        raise Wrong(status, f"{path} does not match {rest.body.get('sha')}")
    made = git.commit({path: base64.b64decode(rest.body["content"])}, rest.body["message"], branch)
    for pull in rest.repo.pulls.values():
        if pull.head_ref == branch and pull.state == "OPEN":
            pull.head, pull.updated_at = made.sha, rest.world.now
    return 200 if there else 201, {
        "content": _a_file(rest.repo, path, git.files(branch)[path]),
        "commit": _a_commit(made),
    }


@_route("POST", f"{REPO}/pulls")
def _make_pull(rest: Rest) -> Any:
    body, git = rest.body, rest.repo.git
    head, base = str(body["head"]).rpartition(":")[2], body["base"]
    if head not in git.branches or base not in git.branches:
        raise Wrong(422, "Validation Failed: head or base is invalid")
    if any(
        pull.head_ref == head and pull.base_ref == base and pull.state == "OPEN" for pull in rest.repo.pulls.values()
    ):
        raise Wrong(422, f"Validation Failed: A pull request already exists for {_owner(rest.repo)}:{head}.")
    if git.branches[head] == git.branches[base]:
        raise Wrong(422, f"Validation Failed: No commits between {base} and {head}")
    by = next((user for user in rest.world.users if user.login == "proposer"), None)
    made = rest.repo.pull(
        by=by or rest.world.user("proposer"),
        title=body["title"],
        head=git.branches[head],
        head_ref=head,
        base_ref=base,
        body=body.get("body") or "",
        draft=bool(body.get("draft")),
    )
    return 201, _pull(made)


@_route("PATCH", f"{REPO}/pulls/{{number}}")
def _change_pull(rest: Rest) -> Any:
    pull = rest.pull
    for name in ("title", "body"):
        if name in rest.body:
            setattr(pull, name, rest.body[name])
    if rest.body.get("state") == "closed":
        pull.state = "CLOSED"
    pull.updated_at = rest.world.now
    return _pull(pull)


@_route("POST", f"{REPO}/issues/{{number}}/labels")
def _add_labels(rest: Rest) -> Any:
    rest.pull.labels += [name for name in rest.body["labels"] if name not in rest.pull.labels]
    return 200, [{"name": name} for name in rest.pull.labels]


@_route("POST", f"{REPO}/issues/{{number}}/comments")
def _add_comment(rest: Rest) -> Any:
    by = next((user for user in rest.world.users if user.login == "proposer"), None)
    return 201, _issue_comment(rest.pull.say(rest.body["body"], by=by or rest.world.user("proposer")))


def _sorted(rest: Rest, found: Iterator[Any]) -> list[Any]:
    """As the lists of all comments are: by creation, or by `sort` and `direction`, from `since` on."""
    since = rest.query.get("since", "")
    wanted: Sequence[Said] = [said for said in found if said.updated_at >= since]
    key = "updated_at" if rest.query.get("sort") == "updated" else "created_at"
    down = rest.query.get("direction") == "desc"
    return sorted(wanted, key=lambda said: (getattr(said, key), said.number), reverse=down)


def _owner(repo: Repo) -> str:
    return repo.name.partition("/")[0]


def _user(user: User | None) -> dict[str, Any] | None:
    if user is None:
        return None
    bot = user.typename == "Bot"
    return {
        "login": f"{user.login}[bot]" if bot else user.login,
        "node_id": user.id,
        "type": "Bot" if bot else "User",
    }


def _pull(pull: Pull) -> dict[str, Any]:
    merged = pull.state == "MERGED"
    return {
        "number": pull.number,
        "node_id": pull.id,
        "html_url": pull.url,
        "url": f"/repos/{pull.repo.name}/pulls/{pull.number}",
        "state": "open" if pull.state == "OPEN" else "closed",
        "merged_at": pull.updated_at if merged else None,
        "title": pull.title,
        "body": pull.body,
        "draft": pull.draft,
        "user": _user(pull.author),
        "labels": [{"name": name} for name in pull.labels],
        "created_at": pull.created_at,
        "updated_at": pull.updated_at,
        "head": {"ref": pull.head_ref, "sha": pull.head, "repo": {"full_name": pull.repo.name, "fork": pull.fork}},
        "base": {"ref": pull.base_ref, "repo": {"full_name": pull.repo.name}},
    }


def _said(said: Said) -> dict[str, Any]:
    return {
        "id": said.number,
        "node_id": said.id,
        "html_url": said.url,
        "body": said.body,
        "user": _user(said.author),
        "author_association": said.association,
        "created_at": said.created_at,
        "updated_at": said.updated_at,
        "reactions": {"total_count": sum(said.reactions.values())},
    }


def _review_comment(said: ReviewComment) -> dict[str, Any]:
    return _said(said) | {
        "pull_request_url": f"/repos/{said.pull.repo.name}/pulls/{said.pull.number}",
        "pull_request_review_id": said.review.number,
        "path": said.thread.path,
        "line": said.thread.line,
        "original_line": said.thread.original_line,
        "diff_hunk": said.hunk,
        "commit_id": said.commit,
        "original_commit_id": said.original_commit,
        **({"in_reply_to_id": said.reply_to.number} if said.reply_to else {}),
    }


def _issue_comment(said: IssueComment) -> dict[str, Any]:
    return _said(said) | {"issue_url": f"/repos/{said.pull.repo.name}/issues/{said.pull.number}"}


def _review(review: Review) -> dict[str, Any]:
    shown = {
        name: value for name, value in _said(review).items() if name not in ("created_at", "updated_at", "reactions")
    }
    return shown | {"state": review.state, "commit_id": review.commit, "submitted_at": review.created_at}


def _check_run(run: CheckRun) -> dict[str, Any]:
    output = {"title": run.title, "summary": run.summary, "annotations_count": len(run.annotations)}
    return {
        "id": run.number,
        "node_id": run.id,
        "name": run.name,
        "conclusion": (run.conclusion or "").lower(),
        "output": output,
    }


def _a_ref(branch: str, sha: str) -> dict[str, Any]:
    return {"ref": f"refs/heads/{branch}", "object": {"type": "commit", "sha": sha}}


def _a_commit(commit: Commit) -> dict[str, Any]:
    parents = [{"sha": sha} for sha in commit.parents]
    return {"sha": commit.sha, "message": commit.message, "tree": {"sha": commit.tree}, "parents": parents}


def _a_file(repo: Repo, path: str, sha: str) -> dict[str, Any]:
    content = base64.encodebytes(repo.git.blobs[sha]).decode()
    return {"type": "file", "path": path, "sha": sha, "encoding": "base64", "content": content}


__all__ = ["READ", "WRITE", "Fault", "GitHubServer", "Limit", "Repo", "Seen", "User", "World"]
