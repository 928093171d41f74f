"""Runs any executable with the prompt's file in place and an example as JSON, in a temporary copy of a repository.

    program:
      command: [python, agent.py]
      repo: .
      prompt_path: AGENTS.md
      check: [pytest, -q]

The command finds the prompt at `prompt_path` in the copy (and its path in PROMPTLEARN_PROMPT; of several prompts, each
path in PROMPTLEARN_PROMPT_NAME), and the example,
`{"id": …, "inputs": {…}}`, on stdin and in the file that PROMPTLEARN_EXAMPLE names. What it may say is in
`protocol.py`. Afterwards `check` runs in the same copy; it alone sees the example's `expected` and `metadata`, and none
of the keys that `env` names. Judges read what came of it from `Rollout.evidence`:

    exit_code    of the command; negative: the signal that ended it
    stderr       of the command
    diff         of the copy, in git's form, taken before the check; diff_left_out: characters of its middle
    files        path → added, changed or deleted
    check        exit_code, output, and passed, failed, skipped, names where a summary or a JUnit file told

An exit code that is not zero is a result, for judges to judge. A command that can not be started or runs past its time
is a failure, and so is one that says `{"error": …}`.

To the run a command is its task model: asked with the prompt's file and the example, it answers with its outcome as
JSON. So the journal keeps outcomes, and the ledger counts runs, as they do with any model's replies.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from subprocess import SubprocessError

from promptlearn.errors import ConfigError, ModelError, PromptError, SystemicError
from promptlearn.models.base import Model, ModelBase, Reply, Sampling
from promptlearn.programs.placing import Place, find_place, find_places
from promptlearn.programs.process import Bounds, Ended, NotStarted, OutOfTime
from promptlearn.programs.protocol import Report, read_report
from promptlearn.programs.repository import Diff, digest_of, find_files
from promptlearn.programs.tally import LARGEST_REPORT, read_tally
from promptlearn.programs.workshop import Room, Workshop, search_path
from promptlearn.prompt import PromptFile
from promptlearn.prompt.bundle import Bundle
from promptlearn.records import (
    Example,
    Failure,
    Json,
    Message,
    Prompt,
    Rollout,
    ToolCall,
    Turn,
    Usage,
    fingerprint,
)

FORM = 1
"""Raised whenever the same command would get something else than before, or its outcome is written differently."""
LONGEST_DIFF = 200_000
"""Characters."""
MOST_FILES = 1000
_STDERR_KEPT = 20_000
_CHECK_KEPT = 40_000
_HASHED = 50_000_000
"""Bytes of a file on the command line up to which its content counts; a larger one counts by name and size."""
_SHORTEST_SECRET = 8
_NO_SECRETS = frozenset({"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TERM", "TZ", "USER"})


@dataclass(frozen=True, slots=True)
class CommandOptions:
    """The configuration's `program`, with words and paths as they will be used."""

    command: tuple[str, ...]
    repo: Path | None = None
    prompt_path: str | None = None
    check: tuple[str, ...] = ()
    junit: str | None = None
    timeout_s: float = 600
    env: tuple[str, ...] = ()
    cwd: str = "."
    output_bytes: int = 200_000
    git: bool = False
    version: str | int = ""
    bounds: Bounds = Bounds()
    leave_out: tuple[Path, ...] = ()
    """Files that no copy has, because the answers stand in them or because they change with every run."""


class Command:
    """A command that is ready to be run: what it is, and the model and program that a run makes of it."""

    def __init__(
        self, options: CommandOptions, file: PromptFile | Bundle | None = None, secrets: Sequence[str] = ()
    ) -> None:
        """`file` is where the prompt comes from; the prompts of a bundle stand in a file each. `secrets` are taken out
        of whatever the command says or writes.

        Raises ConfigError for what is not there, and for a limit that this system can not keep.
        """
        self.options = options
        self.place: Place = (
            find_places(file, options.repo)
            if isinstance(file, Bundle)
            else find_place(file, options.repo, options.prompt_path)
        )
        found = find_files(options.repo) if options.repo is not None else ()
        files = tuple(path for path in found if path not in self.place.paths and not _is_left_out(path, options))
        digest = digest_of(options.repo, files) if options.repo is not None else ""
        _check_words(options, files)
        keys = _keys(options.env)
        options.bounds.check()
        words = [[_identity(word) for word in words] for words in (options.command, options.check)]
        bounds = asdict(options.bounds)
        rest = [options.junit, options.env, options.cwd, options.output_bytes, options.git, options.version, bounds]
        self.identity = f"command/{fingerprint([FORM, words, digest, self.place.path, *rest], 32)}"
        secret = [value for name, value in keys.items() if name not in _NO_SECRETS]
        hidden = tuple(text for text in (*secret, *secrets) if len(text) >= _SHORTEST_SECRET)
        workshop = Workshop(options.repo, files, digest, options.git, options.bounds)
        self.model = CommandModel(self, workshop, keys, hidden)

    @property
    def name(self) -> str:
        shown = [Path(word).name if Path(word).is_absolute() else word for word in self.options.command]
        return f"command/{' '.join(shown)}"[:60]

    @property
    def warnings(self) -> tuple[str, ...]:
        return self.options.bounds.warnings

    @property
    def takes_demonstrations(self) -> bool:
        return True

    def open(self, model: Model) -> CommandProgram:
        """The program that asks `model`: `self.model`, with whatever a run has put around it."""
        return CommandProgram(model, self.place, bool(self.options.check))


class CommandProgram:
    """Puts the prompt's file and the example before the command, and reads its outcome as a rollout."""

    name = "command"

    def __init__(self, model: Model, place: Place, has_check: bool) -> None:
        self._model = model
        self._place = place
        self._has_check = has_check

    async def run(self, prompt: Prompt, example: Example) -> Rollout:
        try:
            content = self._place.content(prompt).decode("utf-8", "surrogateescape")
            reply = await self._model.complete((Message("system", content), Message("user", self._asked(example))))
        except SystemicError:
            raise
        except ModelError as error:
            return Rollout(prompt.digest, example.id, error=Failure(error.kind, str(error)))
        except PromptError as error:  # this candidate can not stand in the file; another may
            return Rollout(prompt.digest, example.id, error=Failure("program", str(error)))
        said = json.loads(reply.text)
        return Rollout(
            prompt=prompt.digest,
            example=example.id,
            output=said["output"],
            turns=tuple(_turn(turn) for turn in said["turns"]),
            stop_reason=reply.finish_reason,
            usage=reply.usage,
            seconds=reply.seconds,
            evidence=said["evidence"],
        )

    def _asked(self, example: Example) -> str:
        asked: dict[str, Json] = {"id": example.id, "inputs": dict(example.inputs)}
        if self._has_check:
            asked |= {"expected": example.expected, "metadata": dict(example.metadata)}
        return json.dumps(asked, ensure_ascii=False, sort_keys=True)


class CommandError(ModelError):
    """It failed in a way that another try costs as much as the first, and mends nothing."""

    @property
    def retryable(self) -> bool:
        return False


class CommandModel(ModelBase):
    """The command as a model: the file of the prompt and the example in, the outcome as JSON out."""

    in_process = True
    counts_itself = True
    """Its usage is what the command reports; nothing is estimated from the size of questions and answers."""

    def __init__(self, command: Command, workshop: Workshop, keys: Mapping[str, str], hidden: Sequence[str]) -> None:
        super().__init__(command.name, command.identity, Sampling(max_tokens=1), None)
        self._options = command.options
        self._place = command.place
        self._workshop = workshop
        self._keys = keys
        self._hidden = tuple(hidden)

    async def complete(
        self,
        messages: Sequence[Message],
        sampling: Sampling | None = None,
        schema: Mapping[str, Json] | None = None,
        repeat: int = 0,
    ) -> Reply:
        prompt, example = messages
        asked = json.loads(example.content)
        seen = json.dumps({key: asked[key] for key in ("id", "inputs")}, ensure_ascii=False)
        written = self._place.files(prompt.content.encode("utf-8", "surrogateescape"))
        try:
            async with self._workshop.room(written, seen) as room:
                return await self._outcome(room, example.content)
        except (NotStarted, OutOfTime, OSError, SubprocessError, ValueError) as error:
            kind = "timeout" if isinstance(error, OutOfTime) else "program"
            raise CommandError(kind, f"{self.name}: {self._clean_words(str(error))}") from None

    async def close(self) -> None:
        self._workshop.close()

    async def _outcome(self, room: Room, whole_example: str) -> Reply:
        options, clean = self._options, _Cleaner(room, self._hidden)
        env = {**self._keys, **{name: str(room.repo / path) for name, path in self._place.variables.items()}}
        ended = await self._workshop.run(
            room,
            options.command,
            env=env,
            cwd=options.cwd,
            timeout_s=options.timeout_s,
            keep=options.output_bytes,
        )
        report = read_report(clean(ended.stdout.text))
        if report.error is not None:
            raise ModelError(report.error.kind, f"{self.name}: {report.error.message}")
        diff = await self._workshop.diff(room)
        evidence: dict[str, Json] = {"exit_code": ended.code, **_shown_diff(diff, clean)}
        if ended.stderr.text.strip():
            evidence["stderr"] = _ends(clean(ended.stderr.text), _STDERR_KEPT)[0]
        if options.check:
            evidence["check"] = await self._checked(room, whole_example, clean)
        return _reply(report, ended, evidence)

    async def _checked(self, room: Room, whole_example: str, clean: _Cleaner) -> dict[str, Json]:
        """The check's verdict on the copy; it gets the whole example, and no keys."""
        options = self._options
        room.ask(whole_example)
        try:
            ended = await self._workshop.run(
                room, options.check, env={}, cwd=options.cwd, timeout_s=options.timeout_s, keep=_CHECK_KEPT
            )
        except (NotStarted, OutOfTime) as error:
            raise type(error)(f"program.check: {error}") from None
        output = clean("\n".join(filter(None, (ended.stdout.text.rstrip(), ended.stderr.text.rstrip()))))
        junit = _junit(room, options)
        tally = read_tally(output, clean(junit) if junit is not None else None)
        counted = {} if tally is None else {**asdict(tally), "names": list(tally.names)}
        return {"exit_code": ended.code, "output": output, **counted}

    def _clean_words(self, text: str) -> str:
        for secret in self._hidden:
            text = text.replace(secret, "[redacted]")
        return text


class _Cleaner:
    """Takes keys out of a command's words, and the names of its temporary folders, which differ from run to run."""

    def __init__(self, room: Room, hidden: Sequence[str]) -> None:
        spelled = {spelling for text in hidden for spelling in (text, json.dumps(text)[1:-1])}
        self._pairs = [(text, "[redacted]") for text in sorted(spelled, key=len, reverse=True)]
        self._pairs += [(f"{room.repo}/", ""), (str(room.repo), "."), (str(room.folder), "/tmp")]  # noqa: S108

    def __call__(self, text: str) -> str:
        for old, new in self._pairs:
            text = text.replace(old, new)
        return text


def _reply(report: Report, ended: Ended, evidence: Mapping[str, Json]) -> Reply:
    if ended.stdout.left_out:
        evidence = {**evidence, "stdout_left_out": ended.stdout.left_out}
    outcome = {"output": report.output, "turns": [asdict(turn) for turn in report.turns], "evidence": evidence}
    return Reply(
        text=json.dumps(outcome, ensure_ascii=False),
        finish_reason=report.stop_reason or ended.reason,
        usage=report.usage or Usage(calls=1, cost_usd=None),
        seconds=ended.seconds,
    )


def _shown_diff(diff: Diff, clean: _Cleaner) -> dict[str, Json]:
    text, left_out = _ends(clean(diff.text), LONGEST_DIFF)
    files = dict(list(diff.files.items())[:MOST_FILES])
    shown: dict[str, Json] = {"diff": text, "files": files}
    if left_out:
        shown["diff_left_out"] = left_out
    if len(diff.files) > MOST_FILES:
        shown["files_left_out"] = len(diff.files) - MOST_FILES
    return shown


def _ends(text: str, limit: int) -> tuple[str, int]:
    """The first and last characters of a text that is too long, and how many are missing."""
    left_out = max(0, len(text) - limit)
    if not left_out:
        return text, 0
    half = limit // 2
    return f"{text[: limit - half]}\n[… {left_out:,} characters left out …]\n{text[len(text) - half :]}", left_out


def _junit(room: Room, options: CommandOptions) -> str | None:
    """What the check left at `junit`; a link is not followed."""
    if options.junit is None:
        return None
    path = room.repo / options.cwd / options.junit
    if path.is_symlink() or not path.is_file() or not path.resolve().is_relative_to(room.repo):
        return None
    return path.read_text("utf-8", "replace") if path.stat().st_size <= LARGEST_REPORT else None


def _turn(said: Mapping[str, Json]) -> Turn:
    calls = tuple(ToolCall(**call) for call in said["tool_calls"])
    return Turn(said["role"], said["content"], calls, said.get("prompt", ""))


def _is_left_out(path: str, options: CommandOptions) -> bool:
    """Whether it is one of those files, or what a database keeps beside it (`store.db-wal`)."""
    whole = str((options.repo or Path()).resolve() / path)
    return any(whole == str(one) or whole.startswith(f"{one}-") for one in map(Path.resolve, options.leave_out))


def _check_words(options: CommandOptions, files: Sequence[str]) -> None:
    """Raises ConfigError for a program that is not there, and for a working folder that the repository lacks."""
    cwd = Path(options.cwd)
    if cwd.is_absolute() or ".." in cwd.parts:
        raise ConfigError(f"program.cwd: {options.cwd!r} is no folder within the repository")
    here = "" if cwd == Path() else f"{cwd.as_posix()}/"
    if here and not any(path.startswith(here) for path in files):
        raise ConfigError(f"program.cwd: the repository has no folder {options.cwd!r}")
    for key, words in (("command", options.command), ("check", options.check)):
        if words and not _is_there(words[0], here, files):
            raise ConfigError(
                f"program.{key}: there is no program {words[0]!r} on the PATH, beside the configuration or in the "
                "repository; install it, or name it by its path"
            )


def _is_there(word: str, here: str, files: Sequence[str]) -> bool:
    if "/" not in word or Path(word).is_absolute():
        return shutil.which(word, path=search_path()) is not None
    return os.path.normpath(f"{here}{word}") in files


def _keys(names: Sequence[str]) -> dict[str, str]:
    missing = [name for name in names if name not in os.environ]
    if missing:
        raise ConfigError(f"program.env names {missing[0]}, which is not set; set it, or take it out")
    return {name: os.environ[name] for name in names}


def _identity(word: str) -> Json:
    """A word of the command line; a file that it names by its path counts by name and content, wherever it lies."""
    path = Path(word)
    if not path.is_absolute() or not path.is_file():
        return word
    size = path.stat().st_size
    return [path.name, size, digest_of(path.parent, [path.name]) if size <= _HASHED else ""]
