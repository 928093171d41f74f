"""Answers the GraphQL that GitHub would: reads the query, checks it, pages for real. For `github_server`.

Knows the part of GitHub's schema that pull requests need (field names as in github.com's public schema) and refuses any
other field, connections without bounds, pages above 100, unused fragments, and more than 500,000 possible nodes.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from github_world import CheckRun, Pull, Repo, Review, ReviewComment, Said, Status, Thread, User, World

NODE_LIMIT = 500_000
REACTIONS = ("THUMBS_UP", "THUMBS_DOWN", "LAUGH", "HOORAY", "CONFUSED", "HEART", "ROCKET", "EYES")
_TOKEN = re.compile(r'\s*(?:#[^\n]*\s*)*(\.\.\.|"(?:[^"\\]|\\.)*"|[\w$@-]+|[{}()\[\]:!,=])')


class Refused(Exception):
    """A query that GitHub would not answer."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Field:
    name: str
    alias: str
    args: dict[str, Any]
    include: Any = True
    selections: list[Any] = field(default_factory=list)


@dataclass
class Part:
    """A fragment, used by name (`selections` is None) or in line."""

    name: str
    on: str | None
    selections: list[Any] | None


@dataclass
class Variable:
    name: str


@dataclass
class Document:
    name: str
    selections: list[Any]
    fragments: dict[str, Part]


@lru_cache(maxsize=64)
def parse(text: str) -> Document:
    return _Parser(text).document()


class _Parser:
    def __init__(self, text: str) -> None:
        self._tokens = [*_TOKEN.findall(text), ""]
        self._at = 0

    def document(self) -> Document:
        operation: Document | None = None
        fragments: dict[str, Part] = {}
        while self._peek():
            kind = self._next()
            if kind == "query":
                name = self._next() if self._peek() not in "({" else ""
                if self._peek() == "(":
                    while self._next() != ")":
                        pass
                operation = Document(name, self._selections(), fragments)
            elif kind == "fragment":
                name, _, on = self._next(), self._next(), self._next()
                fragments[name] = Part(name, on, self._selections())
            else:
                raise Refused("PARSE", f"unexpected {kind}")
        if operation is None:
            raise Refused("PARSE", "no query")
        return operation

    def _selections(self) -> list[Any]:
        self._expect("{")
        found: list[Any] = []
        while self._peek() != "}":
            found.append(self._selection())
        self._next()
        return found

    def _selection(self) -> Any:
        name = self._next()
        if name == "...":
            if self._peek() == "on":
                self._next()
                return Part("", self._next(), self._selections())
            return Part(self._next(), None, None)
        alias = name
        if self._peek() == ":":
            self._next()
            name = self._next()
        made = Field(name, alias, self._args())
        if self._peek() == "@include":
            self._next()
            made.include = self._args()["if"]
        if self._peek() == "{":
            made.selections = self._selections()
        return made

    def _args(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._peek() == "(":
            self._next()
            while self._peek() != ")":
                name = self._next()
                self._expect(":")
                found[name] = self._value()
                if self._peek() == ",":
                    self._next()
            self._next()
        return found

    def _value(self) -> Any:
        token = self._next()
        if token.startswith("$"):
            return Variable(token[1:])
        if token.startswith('"'):
            return json.loads(token)
        if token == "[":
            items = []
            while self._peek() != "]":
                items.append(self._value())
                if self._peek() == ",":
                    self._next()
            self._next()
            return items
        if token == "{":
            members = {}
            while self._peek() != "}":
                name = self._next()
                self._expect(":")
                members[name] = self._value()
                if self._peek() == ",":
                    self._next()
            self._next()
            return members
        return (
            int(token)
            if re.fullmatch(r"-?\d+", token)
            else {"true": True, "false": False, "null": None}.get(token, token)
        )

    def _peek(self) -> str:
        return str(self._tokens[self._at])

    def _next(self) -> str:
        self._at += 1
        return str(self._tokens[self._at - 1])

    def _expect(self, token: str) -> None:
        found = self._next()
        if found != token:
            raise Refused("PARSE", f"expected {token}, found {found}")


@dataclass(slots=True)
class Page:
    """A connection, cut to what was asked for."""

    typename: str
    total: int
    nodes: Sequence[Any]
    more: bool
    end: str | None


@dataclass(frozen=True)
class Size:
    nodes: int
    cost: int


class Executor:
    def __init__(self, world: World, query: str, variables: Mapping[str, Any]) -> None:
        self._world = world
        self._document = parse(query)
        self._variables = variables
        self.errors: list[dict[str, Any]] = []
        self._check_fragments()
        self.size = self._measure()

    def run(self, rate: Mapping[str, Any]) -> dict[str, Any]:
        """`data`; beside it `errors` fill up."""
        self._rate = rate
        return self._select(self._document.selections, self._world, "Query", ())

    def _check_fragments(self) -> None:
        used: set[str] = set()

        def walk(selections: Sequence[Any]) -> None:
            for one in selections:
                if isinstance(one, Part) and one.selections is None:
                    if one.name not in self._document.fragments:
                        raise Refused("undefinedFragment", f"fragment {one.name} is not defined")
                    if one.name not in used:
                        used.add(one.name)
                        walk(self._document.fragments[one.name].selections or [])
                else:
                    walk(one.selections or [])

        walk(self._document.selections)
        if unused := set(self._document.fragments) - used:
            raise Refused("useAndDefineFragment", f"fragment {min(unused)} was defined, but not used")

    def _measure(self) -> Size:
        """Nodes that could come back, and points: https://docs.github.com/en/graphql/overview/…limits…"""
        total, asked = 0, 0

        def walk(selections: Sequence[Any], times: int) -> None:
            nonlocal total, asked
            for one in selections:
                if isinstance(one, Part):
                    part = self._document.fragments[one.name] if one.selections is None else one
                    walk(part.selections or (), times)
                elif self._value(one.include):
                    first = self._bound(one)
                    asked += times if first else 0
                    total += times * first
                    walk(one.selections, times * (first or 1))

        walk(self._document.selections, 1)
        if total > NODE_LIMIT:
            raise Refused("MAX_NODE_LIMIT_EXCEEDED", f"{total} possible nodes exceed the maximum limit of {NODE_LIMIT}")
        return Size(total, max(1, round(asked / 100)))

    def _bound(self, one: Field) -> int:
        """How many nodes a field may bring; 0 where it is no connection, or none of its nodes are asked for."""
        first = self._value(one.args.get("first", one.args.get("last")))
        if first is None:
            if {"nodes", "edges"} & {sub.name for sub in one.selections if isinstance(sub, Field)}:
                raise Refused("MISSING_PAGINATION_BOUNDARIES", f"{one.name} needs `first` or `last`")
            return 0
        if not 1 <= first <= 100:
            raise Refused("EXCESSIVE_PAGINATION", f"{one.name}: {first} is not within 1 and 100")
        return int(first)

    def _select(self, selections: Sequence[Any], thing: Any, typename: str, path: tuple[Any, ...]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        self._into(found, selections, thing, typename, path)
        return found

    def _into(
        self, found: dict[str, Any], selections: Sequence[Any], thing: Any, typename: str, path: tuple[Any, ...]
    ) -> None:
        for one in selections:
            if isinstance(one, Part):
                part = self._document.fragments[one.name] if one.selections is None else one
                if part.on == typename or typename in INTERFACES.get(str(part.on), ()):
                    self._into(found, part.selections or (), thing, typename, path)
            elif self._value(one.include):
                found[one.alias] = self._field(one, thing, typename, (*path, one.alias))

    def _field(self, one: Field, thing: Any, typename: str, path: tuple[Any, ...]) -> Any:
        if one.name == "__typename":
            return typename
        if one.name == "rateLimit" and typename == "Query":
            return {sub.alias: self._rate[sub.name] for sub in one.selections}
        try:
            resolve = FIELDS[typename][one.name]
        except KeyError:
            raise Refused("undefinedField", f"Field '{one.name}' doesn't exist on type '{typename}'") from None
        args = {name: self._value(value) for name, value in one.args.items()} if one.args else {}
        try:
            return self._complete(resolve(thing, args), one, path)
        except Refused as error:
            if error.kind not in ("NOT_FOUND", "FORBIDDEN"):
                raise
            self.errors.append({"type": error.kind, "path": list(path), "message": str(error)})
            return None

    def _complete(self, value: Any, one: Field, path: tuple[Any, ...]) -> Any:
        if isinstance(value, list | tuple):
            return [self._complete(item, one, (*path, index)) for index, item in enumerate(value)]
        if not one.selections or value is None:
            return value
        typename = value["__typename"] if isinstance(value, dict) else value.typename
        return self._select(one.selections, value, typename, path)

    def _value(self, value: Any) -> Any:
        if isinstance(value, Variable):
            return self._variables.get(value.name)
        if isinstance(value, list):
            return [self._value(item) for item in value]
        return value


def page(typename: str, items: Sequence[Any], args: Mapping[str, Any]) -> Page:
    """Cut by position."""
    if "last" in args:
        return Page(typename, len(items), items[-args["last"] :], False, None)
    after = args.get("after")
    start = int(_opened(after)) + 1 if after else 0
    end = min(len(items), start + args.get("first", 0))
    return Page(
        typename, len(items), items[start:end], end < len(items), _cursor(str(end - 1)) if end > start else None
    )


def newest_page(repo: Repo, args: Mapping[str, Any]) -> Page:
    """Pull requests by their last update; the cursor names a place in that order, as GitHub's does."""
    labels = args.get("labels")
    pulls = [pull for pull in repo.newest() if not labels or set(labels) & set(pull.labels)]
    left = pulls
    if args.get("after"):
        try:
            at, number = json.loads(_opened(args["after"]))
        except ValueError:
            message = f"`{args['after']}` does not appear to be a valid cursor."
            raise Refused("INVALID_CURSOR_ARGUMENTS", message) from None
        left = [pull for pull in pulls if (pull.updated_at, pull.number) < (at, number)]
    found = left[: args["first"]]
    end = _cursor(json.dumps([found[-1].updated_at, found[-1].number])) if found else None
    return Page("PullRequestConnection", len(pulls), found, len(left) > len(found), end)


def _cursor(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _opened(cursor: str) -> str:
    return base64.b64decode(cursor).decode()


Resolve = Callable[[Any, dict[str, Any]], Any]


def _attributes(**names: str) -> dict[str, Resolve]:
    """GraphQL name → attribute."""

    def reads(name: str) -> Resolve:
        return lambda thing, args: getattr(thing, name)

    return {graphql: reads(name) for graphql, name in names.items()}


def _computed(**fields: Callable[[Any], Any]) -> dict[str, Resolve]:
    def reads(compute: Callable[[Any], Any]) -> Resolve:
        return lambda thing, args: compute(thing)

    return {name: reads(compute) for name, compute in fields.items()}


def _connection(**fields: tuple[str, Callable[[Any], Sequence[Any]]]) -> dict[str, Resolve]:
    def reads(typename: str, items: Callable[[Any], Sequence[Any]]) -> Resolve:
        return lambda thing, args: page(typename, items(thing), args)

    return {name: reads(typename, items) for name, (typename, items) in fields.items()}


def _commit(oid: str | None) -> dict[str, Any] | None:
    return {"__typename": "Commit", "id": f"C_{oid}", "oid": oid} if oid else None


def _reaction_groups(said: Said) -> list[dict[str, Any]]:
    return [
        {"__typename": "ReactionGroup", "content": one, "reactors": {"totalCount": said.reactions.get(one, 0)}}
        for one in REACTIONS
    ]


def _pull(repo: Repo, args: Mapping[str, Any]) -> Pull:
    found = repo.pulls.get(args["number"])
    if found is None:
        raise Refused("NOT_FOUND", f"Could not resolve to a PullRequest with the number of {args['number']}.")
    return found


def _repository(world: World, args: Mapping[str, Any]) -> Repo:
    name = f"{args['owner']}/{args['name']}"
    found = world.find(name)
    if found is None:
        raise Refused("NOT_FOUND", f"Could not resolve to a Repository with the name '{name}'.")
    return found


def _node(world: World, args: Mapping[str, Any]) -> Any:
    wanted = args["id"]
    for repo in world.repos.values():
        for pull in repo.pulls.values():
            if pull.id == wanted:
                return pull
            if f"C_{pull.head}" == wanted:
                return _head(pull)
            for thing in [*pull.threads, *pull.checks]:
                if thing.id == wanted:
                    return thing
    raise Refused("NOT_FOUND", f"Could not resolve to a node with the global id of '{wanted}'")


def _head(pull: Pull) -> dict[str, Any]:
    return {"__typename": "Commit", "id": f"C_{pull.head}", "oid": pull.head, "pull": pull}


def _rollup(commit: Any, args: Mapping[str, Any]) -> Any:
    pull: Pull = commit["pull"]
    if pull.repo.hides_checks:
        raise Refused("FORBIDDEN", "Resource not accessible by personal access token")
    return {"__typename": "StatusCheckRollup", "checks": pull.checks} if pull.checks else None


def _annotation(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {"__typename": "CheckAnnotation", **entry}


_SAID: dict[str, Resolve] = {
    **_attributes(
        id="id", url="url", body="body", author="author", authorAssociation="association", createdAt="created_at",
        updatedAt="updated_at", lastEditedAt="edited_at", minimizedReason="minimized",
    ),
    **_computed(isMinimized=lambda said: said.minimized is not None, reactionGroups=_reaction_groups),
}  # fmt: skip
_CONNECTION: dict[str, Resolve] = {
    **_attributes(totalCount="total", nodes="nodes"),
    **_computed(
        pageInfo=lambda page: {"__typename": "PageInfo", "hasNextPage": page.more, "endCursor": page.end},
    ),
}


def _members(*names: str) -> dict[str, Resolve]:
    def reads(name: str) -> Resolve:
        return lambda thing, args: thing[name]

    return {name: reads(name) for name in names}


def _of_thread(name: str) -> Callable[[ReviewComment], Any]:
    return lambda said: getattr(said.thread, name)


_APP = {"__typename": "App", "id": "A_1", "slug": "ci"}
FIELDS: dict[str, dict[str, Resolve]] = {
    "Query": {"repository": _repository, "node": _node},
    "Repository": {**_attributes(nameWithOwner="name"), "pullRequest": _pull, "pullRequests": newest_page},
    "PullRequest": {
        **_attributes(
            id="id", number="number", url="url", title="title", state="state", isDraft="draft",
            isCrossRepository="fork", createdAt="created_at", updatedAt="updated_at", headRefOid="head",
            headRefName="head_ref", baseRefName="base_ref", author="author",
        ),
        **_connection(
            labels=("LabelConnection", lambda pull: [{"__typename": "Label", "name": name} for name in pull.labels]),
            files=(
                "PullRequestChangedFileConnection",
                lambda pull: [{"__typename": "PullRequestChangedFile", "path": path} for path in pull.files],
            ),
            reviewThreads=("PullRequestReviewThreadConnection", lambda pull: pull.threads),
            reviews=("PullRequestReviewConnection", lambda pull: pull.reviews),
            comments=("IssueCommentConnection", lambda pull: pull.comments),
            commits=(
                "PullRequestCommitConnection",
                lambda pull: [{"__typename": "PullRequestCommit", "commit": _head(pull)}],
            ),
        ),
    },
    "PullRequestReviewThread": {
        **_attributes(id="id", path="path", line="line", isOutdated="outdated", resolvedBy="resolved_by"),
        **_computed(isResolved=lambda thread: thread.resolved_by is not None, diffSide=lambda thread: "RIGHT"),
        **_connection(comments=("PullRequestReviewCommentConnection", lambda thread: thread.comments)),
    },
    "PullRequestReviewComment": {
        **_SAID,
        **_attributes(state="state", diffHunk="hunk", replyTo="reply_to", pullRequestReview="review"),
        **_computed(
            path=_of_thread("path"), line=_of_thread("line"), originalLine=_of_thread("original_line"),
            startLine=_of_thread("start_line"), originalStartLine=_of_thread("start_line"),
            subjectType=lambda said: "FILE" if said.thread.whole_file else "LINE",
            commit=lambda said: _commit(said.commit), originalCommit=lambda said: _commit(said.original_commit),
        ),
    },
    "PullRequestReview": {
        **_SAID,
        **_attributes(state="state", submittedAt="created_at"),
        **_computed(commit=lambda review: _commit(review.commit)),
    },
    "IssueComment": _SAID,
    "CheckRun": {
        **_attributes(id="id", name="name", conclusion="conclusion", title="title", summary="summary"),
        **_attributes(startedAt="at", completedAt="at"),
        **_computed(
            url=lambda run: f"https://github.example/checks/{run.number}",
            checkSuite=lambda run: {"__typename": "CheckSuite", "app": _APP},
        ),
        **_connection(
            annotations=("CheckAnnotationConnection", lambda run: [_annotation(entry) for entry in run.annotations])
        ),
    },
    "StatusContext": {
        **_attributes(id="id", context="context", state="state", description="description"),
        **_attributes(createdAt="at", creator="by"),
        **_computed(targetUrl=lambda status: None),
    },
    "CheckAnnotation": {
        **_members("path", "message", "title"),
        **_computed(
            annotationLevel=lambda entry: entry["level"],
            location=lambda entry: {
                "__typename": "CheckAnnotationSpan",
                "start": {"__typename": "CheckAnnotationPosition", "line": entry["line"]},
            },
        ),
    },
    "CheckAnnotationSpan": _members("start"),
    "CheckAnnotationPosition": _members("line"),
    "CheckSuite": _members("app"),
    "App": _members("id", "slug"),
    "Commit": {**_members("id", "oid"), "statusCheckRollup": _rollup},
    "StatusCheckRollup": _connection(
        contexts=("StatusCheckRollupContextConnection", lambda rollup: rollup["checks"])
    ),
    "PullRequestCommit": _members("commit"),
    "PullRequestChangedFile": _members("path"),
    "Label": _members("name"),
    "PageInfo": _members("hasNextPage", "endCursor"),
    "ReactionGroup": {
        **_members("content"),
        **_computed(reactors=lambda group: {"__typename": "ReactorConnection", **group["reactors"]}),
    },
    "ReactorConnection": _members("totalCount"),
    **dict.fromkeys(("User", "Bot", "Mannequin"), _attributes(id="id", login="login")),
    **dict.fromkeys(
        (
            "PullRequestConnection", "LabelConnection", "PullRequestChangedFileConnection",
            "PullRequestReviewThreadConnection", "PullRequestReviewCommentConnection", "PullRequestReviewConnection",
            "IssueCommentConnection", "PullRequestCommitConnection", "StatusCheckRollupContextConnection",
            "CheckAnnotationConnection",
        ),
        _CONNECTION,
    ),
}  # fmt: skip
INTERFACES: dict[str, tuple[str, ...]] = {
    "Actor": ("User", "Bot", "Mannequin"),
    "Node": tuple(name for name, fields in FIELDS.items() if "id" in fields),
}

__all__ = ["CheckRun", "Executor", "Page", "Refused", "Review", "Size", "Status", "Thread", "User"]
