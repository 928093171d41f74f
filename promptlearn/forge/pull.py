"""Takes what people said on pull requests into the store: all of it the first time, and then only what is new.

    async with open_github(address, credentials, "acme/shop") as forge:
        summary = await pull(forge, store.feedback, store.pulls, Request("acme/shop"))

Knows the order of things and no HTTP: comments come in batches, are sanitised and judged one by one, and are on the
disk before the next batch is asked for. A pull that is killed goes on where it stopped; one that is given again asks
three lists of news, and reads again only the pull requests that they name. Nothing is approved here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from promptlearn.comments import Comment, Kept, Progress, PullRequest, Received, Removal
from promptlearn.errors import ForgeError, Interrupted, UsageError
from promptlearn.forge.base import Batch, Forge, Scope
from promptlearn.forge.sanitize import sanitize
from promptlearn.forge.trust import Permissions, Policy, judge, needs_permission
from promptlearn.reviews import path_pattern

if TYPE_CHECKING:
    from promptlearn.store.feedback import Feedback
    from promptlearn.store.feedback_rows import FeedbackRow
    from promptlearn.store.pulls import Pulls

OVERLAP = 120
"""Seconds by which readings overlap: for changes that a forge's lists show late, and clocks that differ."""
_NOTICES = 50
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Request:
    """What to pull."""

    repo: str
    """`owner/name`."""
    numbers: tuple[int, ...] = ()
    """Only these pull requests, again and to their ends."""
    since: str = ""
    """Leave out what was not updated since then (ISO 8601, UTC, ending in Z)."""
    paths: tuple[str, ...] = ()
    """Comments on files that match (`*`, `**`, `?`), and what is said on pull requests that change such files."""
    labels: tuple[str, ...] = ()
    """Pull requests with any of these."""


@dataclass(slots=True)
class Summary:
    """What a pull came to, or has come to so far."""

    repo: str
    pulls: int = 0
    total: int | None = None
    """Pull requests that there are, where the forge said so."""
    kept: Kept = field(default_factory=Kept)
    dropped: Counter[str] = field(default_factory=Counter)
    """Comments that were stored and are not used, by reason (`trust.REASONS`)."""
    removals: Counter[str] = field(default_factory=Counter)
    """What sanitising took out of comments, by kind."""
    outside: int = 0
    """Comments that the paths left out; these are not stored."""
    rejudged: int = 0
    """Comments that another policy of trust judges otherwise than before."""
    notices: list[str] = field(default_factory=list)

    def note(self, notices: Sequence[str]) -> None:
        for notice in notices:
            if notice not in self.notices and len(self.notices) < _NOTICES:
                self.notices.append(notice)


async def pull(
    forge: Forge,
    feedback: Feedback,
    pulls: Pulls,
    request: Request,
    policy: Policy | None = None,
    observe: Callable[[Summary], None] | None = None,
    stopping: Callable[[], bool] = lambda: False,
) -> Summary:
    """Pull; see the module. `observe` hears of every batch, `stopping` is asked after each.

    Raises `ForgeError` and `StoreError`; what was read before is kept, and the same call goes on from there.
    """
    work = _Work(forge, feedback, pulls, request, policy or Policy())
    async for _ in work.batches():
        if observe:
            observe(work.summary)
        if stopping():
            raise Interrupted("stopped; what was read is kept, and the same command goes on from there")
    return work.summary


class _Work:
    def __init__(self, forge: Forge, feedback: Feedback, pulls: Pulls, request: Request, policy: Policy) -> None:
        self._forge = forge
        self._feedback = feedback
        self._pulls = pulls
        self._request = request
        self._policy = policy
        self._scope = Scope(request.repo, tuple(sorted(request.labels)), bool(request.paths))
        self._wanted = [path_pattern(path) for path in request.paths]
        self._permissions = Permissions(forge, pulls, request.repo)
        self._source = pulls.source(forge.host, request.repo, [sorted(request.labels), sorted(request.paths)])
        self._seen: set[int] = set()
        self.summary = Summary(request.repo)

    async def batches(self) -> AsyncIterator[None]:
        """Do the work, a batch at a time."""
        if self._request.numbers:
            async for batch in self._forge.some(self._scope, self._request.numbers):
                await self._take(batch)
                await self._withdraw(batch, batch.done)
                yield
            return
        progress = self._pulls.progress(self._source)
        if progress.policy not in ("", self._policy.digest):
            await self._judge_anew()
        read = progress.complete_at and (not progress.floor or progress.floor <= (self._request.since or ""))
        async for _ in self._catch_up(progress) if read else self._read_all(progress):
            yield

    async def _read_all(self, progress: Progress) -> AsyncIterator[None]:
        """Everything down to the floor, the newest first, from where an earlier attempt stopped."""
        if progress.resume and progress.wanted == self._request.since:
            try:
                async for _ in self._read_on(progress):
                    yield
                return
            except ForgeError as error:
                if error.kind != "cursor":
                    raise
                self.summary.note(["the place where the last reading stopped is gone; all is read again"])
        news = await self._forge.changes(self._scope, "", {})
        progress = replace(progress, resume="", wanted=self._request.since, started_at=news.at, etags=news.etags)
        async for _ in self._read_on(progress):
            yield

    async def _read_on(self, progress: Progress) -> AsyncIterator[None]:
        since = progress.wanted
        async for batch in self._forge.everything(self._scope, since, progress.resume):
            await self._take(batch)
            await self._conclude(batch)
            if batch.cursor:
                progress = replace(progress, resume=batch.cursor, policy=self._policy.digest)
                await self._save(progress)
            yield
        await self._pulls.set_etags(self._forge.identity, self._source, progress.etags)
        await self._save(Progress(progress.started_at, since, self._policy.digest))

    async def _catch_up(self, progress: Progress) -> AsyncIterator[None]:
        """What the forge's lists of news name, as far as it was not read since."""
        etags = self._pulls.etags(self._forge.identity, self._source)
        news = await self._forge.changes(self._scope, earlier(progress.complete_at), etags)
        reads = self._pulls.reads(self._source, [*news.numbers, *news.commented])
        stale = {number for number, at in news.numbers.items() if self._is_news(number, at, reads)}
        for number, at in news.commented.items():
            # With labels, a comment may be on a pull request that has none of them.
            if (number in reads or not self._scope.labels) and self._is_news(number, at, reads):
                stale.add(number)
        async for batch in self._forge.some(self._scope, sorted(stale)):
            await self._take(batch)
            await self._conclude(batch)
            yield
        await self._pulls.set_etags(self._forge.identity, self._source, news.etags)
        if news.etags or progress.policy != self._policy.digest:
            await self._save(replace(progress, complete_at=news.at, policy=self._policy.digest))

    def _is_news(self, number: int, at: str, reads: dict[int, str]) -> bool:
        return number not in reads or at > earlier(reads[number])

    async def _save(self, progress: Progress) -> None:
        await self._pulls.set_progress(self._source, self._forge.host, self._request.repo, progress)

    async def _take(self, batch: Batch) -> None:
        found = {one.number: one for one in batch.pulls}
        received = []
        for comment in batch.comments:
            if self._is_wanted(comment, found[comment.pull]):
                received.append(await self._receive(comment, found[comment.pull].head))
            else:
                self.summary.outside += 1
        kept = await self._feedback.keep(self._forge.host, received)
        await self._pulls.note_pulls(self._forge.host, batch.pulls)
        self._count(batch, received, kept)

    async def _conclude(self, batch: Batch) -> None:
        """Its pull requests are read; what stood on them before and does not any more was deleted."""
        await self._withdraw(batch, set(self._pulls.reads(self._source, list(batch.done))))
        await self._pulls.note_reads(self._source, {number: done.asked_at for number, done in batch.done.items()})

    async def _withdraw(self, batch: Batch, numbers: Collection[int]) -> None:
        """What is stored of these pull requests, which were read before, and is not there any more."""
        gone: list[Received] = []
        for pull in batch.pulls:
            done = batch.done.get(pull.number)
            if pull.number in numbers and done is not None and done.ids is not None:
                stored = self._feedback.items(self._forge.host, pull.repo, pull.number)
                gone += [replace(row.received, dropped="withdrawn") for row in stored if _is_gone(row, done.ids)]
        kept = await self._feedback.keep(self._forge.host, gone)
        self.summary.kept += replace(kept, unchanged=0)

    def _count(self, batch: Batch, received: Sequence[Received], kept: Kept) -> None:
        self._seen.update(batch.done)
        summary = self.summary
        summary.pulls = len(self._seen)
        summary.total = summary.total if batch.total is None else batch.total
        summary.kept += kept
        summary.dropped.update(one.dropped for one in received if one.dropped)
        summary.removals.update(removal.kind for one in received for removal in one.removals)
        summary.note(batch.notices)
        if self._permissions.refused:
            summary.note(["the token may not ask what authors may do; their association with the repository decides"])

    async def _receive(self, comment: Comment, head: str, permission: str = "") -> Received:
        clean = sanitize(comment.body)
        if not permission and needs_permission(comment, clean.text, self._policy):
            permission = await self._permissions.of(comment.author)
        return Received(
            comment=comment,
            text=clean.text,
            removals=tuple(Removal(finding.kind, finding.detail) for finding in clean.findings),
            permission=permission,
            dropped=judge(comment, clean.text, permission, self._policy),
            head=head,
            suggestions=tuple(sanitize(suggestion.after).text for suggestion in comment.suggestions),
        )

    async def _judge_anew(self) -> None:
        """The rules of trust are others than last time: what is stored is judged by the new ones."""
        changed: list[Received] = []
        for row in self._feedback.items(host=self._forge.host):
            old = row.received
            if old.comment.repo.lower() != self._request.repo.lower() or old.dropped == "withdrawn":
                continue
            new = await self._receive(old.comment, old.head, old.permission)
            if new.dropped != old.dropped:
                changed.append(replace(old, permission=new.permission, dropped=new.dropped))
        for start in range(0, len(changed), _CHUNK):
            await self._feedback.keep(self._forge.host, changed[start : start + _CHUNK])
        self.summary.rejudged = len(changed)

    def _is_wanted(self, comment: Comment, of: PullRequest) -> bool:
        if not self._wanted:
            return True
        if comment.kind == "inline":
            return self._matches(comment.path or "")
        paths = [*(of.files or ()), *(annotation.path for annotation in comment.annotations)]
        return any(map(self._matches, paths))

    def _matches(self, path: str) -> bool:
        return any(pattern.fullmatch(path) for pattern in self._wanted)


def _is_gone(row: FeedbackRow, ids: Collection[str]) -> bool:
    comment = row.received.comment
    return comment.kind not in ("check", "note") and comment.id not in ids


def earlier(moment: str) -> str:
    """A time (ISO 8601 ending in Z), `OVERLAP` before."""
    shifted = datetime.fromisoformat(moment) - timedelta(seconds=OVERLAP)
    return shifted.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_since(text: str) -> str:
    """A date or time as people write it (ISO 8601; UTC where it names no zone), as GitHub does; nothing is nothing."""
    if not text:
        return ""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no date; write one such as 2026-01-31 or 2026-01-31T12:00Z") from None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
