"""From a run that improved to a pull request: which files change how, on which branch, and how often it may be said.

    proposal = make_proposal(find_winner(store, "latest"), {"prompts/support.md": data})
    async with connect(address, credentials, repo, writes=True) as wire:
        done = await submit(Writer(wire, repo), winner, ["prompts/support.md"])

The branch is named after the files and the prompt that they hold now, so that a later and better run updates the pull
request that is still open. A file that no longer says what the run began with is refused: what was measured is not what
would be merged. A branch or a pull request that people have worked on is theirs. Nothing here merges.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from promptlearn.errors import PromptError, UsageError
from promptlearn.forge import body as words
from promptlearn.forge.managed import is_agent_file, put_block, read_block
from promptlearn.forge.winner import Winner
from promptlearn.prompt import parse_prompt
from promptlearn.prompt.bundle import with_section
from promptlearn.prompt.file import PromptFile
from promptlearn.records import Prompt, fingerprint
from promptlearn.report import unified_diff

if TYPE_CHECKING:
    from promptlearn.forge.writing import Pull, StoredFile, Writer

_KEYED = frozenset({".yaml", ".yml", ".json"})
_SLUG = re.compile(r"[^a-z0-9]+")
_MARK = re.compile(r"^Promptlearn-Content: ([0-9a-f]{16})$", re.MULTILINE)

Action = Literal["opened", "updated", "unchanged", "nothing"]


@dataclass(frozen=True, slots=True)
class Change:
    """One file of a proposal."""

    path: str
    """From the root of the repository."""
    old: bytes | None
    """On the base branch; None where it is not there."""
    new: bytes

    @property
    def mark(self) -> str:
        """Names the new bytes, in the commit that writes them."""
        return content_mark(self.new)

    def diff(self) -> str:
        old, new = ((data or b"").decode("utf-8", "replace") for data in (self.old, self.new))
        return unified_diff(old, new, (f"a/{self.path}" if self.old is not None else "/dev/null", f"b/{self.path}"))


@dataclass(frozen=True, slots=True)
class Proposal:
    branch: str
    title: str
    body: str
    changes: tuple[Change, ...]
    """Empty: the files already say what was learned."""


@dataclass(frozen=True, slots=True)
class Submission:
    """What became of a proposal."""

    action: Action
    branch: str
    base: str
    number: int | None = None
    url: str | None = None


def make_proposal(winner: Winner, bases: Mapping[str, bytes | None], where: str = "on the base branch") -> Proposal:
    """The proposal for files (by path from the root of the repository) as they are on the base branch.

    Raises `UsageError` for a file that no longer says what the run began with; `where` says which file that is.
    """
    paths = list(bases)
    changes = [Change(path, old, _placed(winner, path, old, where)) for path, old in bases.items()]
    return Proposal(
        branch=branch_name(winner, paths),
        title=words.title(winner, paths[0]),
        body=words.body(winner, paths),
        changes=tuple(change for change in changes if change.new != change.old),
    )


def branch_name(winner: Winner, paths: Sequence[str]) -> str:
    """`promptlearn/support-1f0c9a3e`: the same until the files or the prompt on the base branch are others."""
    slug = _SLUG.sub("-", PurePosixPath(paths[0]).stem.lower()).strip("-")[:40].strip("-") or "prompt"
    return f"promptlearn/{slug}-{fingerprint([sorted(paths), winner.old.digest], 8)}"


def content_mark(data: bytes) -> str:
    return sha256(data).hexdigest()[:16]


async def submit(
    writer: Writer,
    winner: Winner,
    paths: Sequence[str],
    base: str | None = None,
    *,
    draft: bool = True,
    again: bool = False,
) -> Submission:
    """Open the pull request for a winner, or bring the one that is open up to date. Doing it twice is doing it once.

    `again` proposes what somebody has closed without merging. Raises `UsageError` for whatever a person has to decide.
    """
    default = await writer.default_branch()
    base = base or default
    commit = await writer.tip(base)
    if commit is None:
        raise UsageError(f"{writer.repo} has no branch {base}; name one with --base")
    stored = {path: await writer.read(path, commit) for path in paths}
    bases = {path: None if file is None else file.data for path, file in stored.items()}
    proposal = make_proposal(winner, bases, f"on {base}")
    if not proposal.changes:
        return Submission("nothing", proposal.branch, base)
    pulls = [pull for pull in await writer.pulls(proposal.branch) if pull.base == base]
    pull = next((pull for pull in pulls if pull.state == "open"), None)
    if pull is None and not again:
        _refuse_closed(pulls, winner)
    written = await _commit(writer, winner, proposal, commit)
    if pull is None:
        pull = await writer.open_pull(proposal.branch, base, proposal.title, proposal.body, draft)
        return Submission("opened", proposal.branch, base, pull.number, pull.url)
    if (pull.title, _lines(pull.body)) != (proposal.title, _lines(proposal.body)):
        pull = await writer.update_pull(pull.number, proposal.title, proposal.body)
        written = True
    return Submission("updated" if written else "unchanged", proposal.branch, base, pull.number, pull.url)


def _lines(text: str) -> list[str]:
    """As GitHub may give a body back: with other line ends."""
    return text.strip().splitlines()


def _refuse_closed(pulls: Sequence[Pull], winner: Winner) -> None:
    closed = next((one for one in pulls if one.state == "closed" and f"`{winner.new.digest}`" in one.body), None)
    if closed is not None:
        raise UsageError(
            f"pull request {closed.number} proposed this prompt and was closed without merging ({closed.url}); "
            "reopen it there, or give --again"
        )


async def _commit(writer: Writer, winner: Winner, proposal: Proposal, commit: str) -> bool:
    """Bring the branch to the proposal's files; whether that took a commit."""
    branch = proposal.branch
    if await writer.tip(branch) is None:
        await writer.create_branch(branch, commit)
    held = {change.path: await writer.read(change.path, branch) for change in proposal.changes}
    for change in proposal.changes:
        await _refuse_foreign(writer, branch, change, held[change.path])
    todo = [change for change in proposal.changes if _data(held[change.path]) != change.new]
    for change in todo:
        message = words.message(winner, change.path, change.mark)
        await writer.write(change.path, change.new, held[change.path], branch, message)
    return bool(todo)


async def _refuse_foreign(writer: Writer, branch: str, change: Change, held: StoredFile | None) -> None:
    """A file on our branch that is neither the base's nor ours is somebody's work."""
    data = _data(held)
    if data in (change.old, change.new):
        return
    mark = _MARK.search(await writer.last_message(branch, change.path))
    if data is None or mark is None or mark[1] != content_mark(data):
        raise UsageError(
            f"somebody has changed {change.path} on the branch {branch}; merge or close its pull request, delete the "
            "branch, and propose again"
        )


def _data(file: StoredFile | None) -> bytes | None:
    return None if file is None else file.data


def _placed(winner: Winner, path: str, base: bytes | None, where: str) -> bytes:
    """The file's bytes with the learned prompt in it."""
    own = _as_prompt_file(winner, path, base)
    if winner.files:
        return _section_placed(winner, path, base, own, where)
    if own is not None and base is not None:
        if replace(own.prompt, contract=winner.old.contract).digest == winner.old.digest:
            return own.render_file(winner.new)
        if _already_says(own, winner.new):
            return base
    if _is_own(winner, path) or not _takes_block(path, base):
        raise _outdated(winner, path, base, where)
    return _in_block(winner, path, base, where)


def _section_placed(winner: Winner, path: str, base: bytes | None, own: PromptFile | None, where: str) -> bytes:
    """The bytes of one of several files, with its own part of what was learned in it."""
    name = next((name for name, file in winner.files.items() if _names(file, path)), None)
    if name is None:
        known = ", ".join(file.as_posix() for file in winner.files.values())
        raise UsageError(f"{path} is none of the prompts that run {winner.run} learned, which are {known}")
    names = tuple(winner.files)
    if own is not None:
        old, new = (with_section(own, prompt, name, names) for prompt in (winner.old, winner.new))
        if own.prompt in (old, new):
            return own.render_file(new)
    raise _outdated(winner, path, base, where)


def _outdated(winner: Winner, path: str, base: bytes | None, where: str) -> UsageError:
    if base is None:
        return UsageError(f"there is no {path} {where}; say with --path where the prompt's file is")
    return UsageError(
        f"{path} {where} is not what run {winner.run} began with, so what was measured is not what would be merged; "
        "bring the file up to date and run again"
    )


def _as_prompt_file(winner: Winner, path: str, base: bytes | None) -> PromptFile | None:
    """The file read as the run read its own; None where it can not be."""
    if base is None:
        return None
    key = winner.key if PurePosixPath(path).suffix.lower() in _KEYED else None
    try:
        return parse_prompt(base, path, key, literals=winner.literals)
    except PromptError:
        return None


def _already_says(file: PromptFile, prompt: Prompt) -> bool:
    try:
        return file.render_file(prompt) == file.source
    except PromptError:
        return False


def _is_own(winner: Winner, path: str) -> bool:
    """Whether this is the file that the run read."""
    return winner.file is not None and _names(winner.file, path)


def _names(file: Path, path: str) -> bool:
    """Whether `path`, from the root of a repository, is where this file stands."""
    return f"/{file.as_posix()}".endswith(f"/{path}")


def _takes_block(path: str, base: bytes | None) -> bool:
    return is_agent_file(path) or (base is not None and read_block(base, path) is not None)


def _in_block(winner: Winner, path: str, base: bytes | None, where: str) -> bytes:
    """The learned text as the managed block of a file that agents read."""
    _refuse_what_no_block_says(winner, path)
    old, new = (prompt.learned_text().strip("\n") for prompt in (winner.old, winner.new))
    held = None if base is None else read_block(base, path)
    if held is not None and held.strip("\n") not in ("", old, new):
        raise UsageError(
            f"the promptlearn block of {path} {where} is not what run {winner.run} began with; bring the run's prompt "
            "up to date with it and run again, or empty the block"
        )
    return put_block(base, new, path)


def _refuse_what_no_block_says(winner: Winner, path: str) -> None:
    new = winner.new
    if len(new.messages) > 1 or (new.demonstrations and new.layout.demonstrations == "turns"):
        raise UsageError(f"{path} can hold the text of one message, and this prompt has several or chat turns")
    if new.variables:
        names = ", ".join(f"{{{name}}}" for name in sorted(new.variables))
        raise UsageError(f"{path} is read as it is, and this prompt has variables to fill in: {names}")
