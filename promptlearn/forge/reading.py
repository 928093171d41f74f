"""One pull request while it is read: gathers what is said on it, page by page, and knows what is still missing.

Sans I/O: takes GitHub's objects, gives records and the `Rest`s to ask for. Compares what came with the counts that
GitHub names, so that nothing is missing in silence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from promptlearn.comments import Annotation, Check, Comment, PullRequest, Thread
from promptlearn.forge import shapes
from promptlearn.forge.base import Batch, Done
from promptlearn.forge.queries import Connection, Rest
from promptlearn.forge.shapes import Clean
from promptlearn.records import Json

_NAMES: dict[Connection, str] = {
    "threads": "review threads",
    "replies": "comments of a thread",
    "reviews": "reviews",
    "conversation": "comments of the conversation",
    "files": "files",
    "checks": "checks",
    "annotations": "annotations of a check",
}


@dataclass(slots=True)
class _Owner:
    """Whose connection it is: the pull request's, or that of one of its threads or check runs."""

    id: str
    thread: Thread | None = None
    side: str = ""
    run: Json = None
    annotations: list[Annotation] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Missing:
    """A rest that is to be asked for, and where it belongs."""

    rest: Rest
    reading: Reading
    owner: _Owner


class Reading:
    """`asked_at` is the forge's clock when the pull request was asked for."""

    def __init__(self, node: Json, repo: str, asked_at: str, clean: Clean) -> None:
        self.asked_at = asked_at
        self._clean = clean
        self._pull = shapes.pull_request(node, repo)
        self._files: list[str] | None = None
        self._checks: list[Check] = []
        self._comments: list[Comment] = []
        self._ids: set[str] = set()
        self._missing: list[Missing] = []
        self._open = 0
        self._got: dict[tuple[Connection, str], int] = {}
        self._total: dict[tuple[Connection, str], int] = {}
        self._begin(node)

    @property
    def pull(self) -> PullRequest:
        """As far as it is known."""
        files = None if self._files is None else tuple(self._files)
        return replace(self._pull, files=files, checks=tuple(self._checks))

    @property
    def done(self) -> bool:
        """Whether nothing is missing any more."""
        return self._open == 0

    def take_comments(self) -> list[Comment]:
        """What came since the last time."""
        taken, self._comments = self._comments, []
        return taken

    def take_missing(self) -> list[Missing]:
        """What is to be asked for, each once; give its page to `add`."""
        taken, self._missing = self._missing, []
        return taken

    def add(self, missing: Missing, node: Json) -> None:
        """The node that a rest query found; None where it is gone."""
        self._open -= 1
        if missing.rest.connection == "checks":
            node = (node or {}).get("statusCheckRollup")
        page = (node or {}).get("page")
        if page is not None:
            self._absorb(missing.rest.connection, page, missing.owner)

    def notices(self) -> list[str]:
        """Where fewer came than GitHub counted."""
        return [
            f"pull request {self._pull.number}: {self._got[key]} of {total} {_NAMES[key[0]]} could be read"
            for key, total in self._total.items()
            if self._got[key] < total
        ]

    def result(self) -> Done:
        """What being done means."""
        return Done(self.asked_at, None if self.notices() else frozenset(self._ids))

    def _begin(self, node: Json) -> None:
        own = _Owner(self._pull.id)
        if node.get("files"):
            self._files = []
            self._absorb("files", node["files"], own)
        self._absorb("threads", node["reviewThreads"], own)
        self._absorb("reviews", node["reviews"], own)
        self._absorb("conversation", node["comments"], own)
        for entry in (node.get("commits") or {}).get("nodes") or ():
            commit = (entry or {}).get("commit") or {}
            if commit.get("statusCheckRollup"):
                self._absorb("checks", commit["statusCheckRollup"]["contexts"], _Owner(commit["id"]))

    def _absorb(self, connection: Connection, page: Json, owner: _Owner) -> None:
        nodes = [node for node in page["nodes"] or () if node]
        key = (connection, owner.id)
        self._got[key] = self._got.get(key, 0) + len(nodes)
        self._total[key] = int(page["totalCount"])
        for node in nodes:
            self._take(connection, node, owner)
        if page["pageInfo"]["hasNextPage"]:
            self._open += 1
            rest = Rest(connection, owner.id, page["pageInfo"]["endCursor"])
            self._missing.append(Missing(rest, self, owner))
        elif connection == "annotations":
            self._conclude_check(owner)

    def _take(self, connection: Connection, node: Json, owner: _Owner) -> None:
        if connection == "threads":
            self._absorb("replies", node["comments"], _Owner(node["id"], shapes.thread(node), node["diffSide"]))
        elif connection == "replies" and owner.thread is not None:
            self._said(shapes.inline(node, self._pull, owner.thread, owner.side, self._clean))
            self._ids.add(node["id"])
        elif connection == "reviews":
            if node["body"].strip() or node["state"] != "COMMENTED":  # else it only holds inline comments
                self._said(shapes.review(node, self._pull, self._clean))
            self._ids.add(node["id"])
        elif connection == "conversation":
            self._said(shapes.conversation(node, self._pull, self._clean))
            self._ids.add(node["id"])
        elif connection == "files" and self._files is not None:
            self._files.append(node["path"])
        elif connection == "annotations":
            owner.annotations.append(shapes.annotation(node, self._clean))
        elif connection == "checks":
            self._check(node)

    def _check(self, node: Json) -> None:
        self._checks.append(shapes.check(node))
        owner = _Owner(node["id"], run=node)
        if node.get("annotations"):
            self._absorb("annotations", node["annotations"], owner)
        else:
            self._conclude_check(owner)

    def _conclude_check(self, owner: _Owner) -> None:
        self._said(shapes.words_of_check(owner.run, self._pull, owner.annotations, self._clean))

    def _said(self, comment: Comment | None) -> None:
        if comment is not None:
            self._comments.append(comment)


class Gathering:
    """The pull requests that are being read, and what is missing of them all."""

    def __init__(self) -> None:
        self.missing: list[Missing] = []
        self._readings: list[Reading] = []

    @property
    def urgent(self) -> bool:
        """Whether something is missing without which comments can not be judged: the files of a pull request."""
        return any(one.rest.connection == "files" for one in self.missing)

    @property
    def open(self) -> bool:
        """Whether anything is missing."""
        return bool(self.missing)

    def begin(self, readings: Sequence[Reading]) -> None:
        for reading in readings:
            self._readings.append(reading)
            self.missing += reading.take_missing()

    def add(self, nodes: Json, count: int) -> None:
        """What a rest query found for the first `count` that were missing: fields `r0`, `r1`, …"""
        found, self.missing = self.missing[:count], self.missing[count:]
        for index, one in enumerate(found):
            one.reading.add(one, nodes.get(f"r{index}"))
            self.missing += one.reading.take_missing()

    def batch(self) -> Batch:
        """What came since the last one; forgets what is done."""
        pulls, comments = [], []
        for reading in self._readings:
            came = reading.take_comments()
            comments += came
            if came or reading.done:
                pulls.append(reading.pull)
        done = [reading for reading in self._readings if reading.done]
        self._readings = [reading for reading in self._readings if not reading.done]
        return Batch(
            pulls=tuple(pulls),
            comments=tuple(comments),
            done={reading.pull.number: reading.result() for reading in done},
            notices=tuple(notice for reading in done for notice in reading.notices()),
        )
