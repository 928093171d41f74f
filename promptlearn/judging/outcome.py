"""ExitCode, TestsPassed, DiffContains and DiffTouches: what a command left behind, against what is wanted.

Knows a rollout's evidence (`programs/command.py` says what is in it), nothing about processes. A rollout without that
evidence is not judged; nor is one whose diff was too long to keep, where the answer may stand in the missing part.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from promptlearn.errors import ConfigError
from promptlearn.judging.excerpt import code, counted, cut_end, listing, quote
from promptlearn.judging.finding import found, not_judged
from promptlearn.records import Example, Failure, Json, Rollout, Verdict
from promptlearn.reviews import path_matches

_LINES_SHOWN = 3
_OUTPUT_SHOWN = 600


@dataclass(frozen=True, slots=True)
class ExitCode:
    """Scores 1 where the command ended with one of the `allowed` codes. Labels: `right`, `wrong`, `killed`."""

    allowed: Sequence[int] = (0,)
    name: str = "exit_code"

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        given = rollout.evidence.get("exit_code")
        if not isinstance(given, int):
            return _no_evidence(self.name, rollout, "an exit code")
        if given in self.allowed:
            return found(self.name, rollout, 1.0, f"the command ended with exit code {given}", label="right")
        how = f"was killed by {rollout.stop_reason}" if given < 0 else f"ended with exit code {given}"
        said = _last_lines(rollout.evidence.get("stderr"))
        explanation = f"the command {how}{f': {said}' if said else ''}"
        return found(self.name, rollout, 0.0, explanation, label="killed" if given < 0 else "wrong")


@dataclass(frozen=True, slots=True)
class TestsPassed:
    """Scores 1 where the check ended with exit code 0. Labels: `right`, `failed`.

    With `partial`, the score of a check that failed is the share of its tests that passed, where it told their number.
    """

    partial: bool = False
    name: str = "tests_passed"
    __test__ = False  # pytest takes a class of this name for tests

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        check = rollout.evidence.get("check")
        if not isinstance(check, dict):
            return _no_evidence(self.name, rollout, "a check")
        passed, failed = check.get("passed"), check.get("failed")
        known = isinstance(passed, int) and isinstance(failed, int)
        if check.get("exit_code") == 0:
            words = f"{counted(int(passed or 0), 'test')} passed" if known else "the check ended with exit code 0"
            return found(self.name, rollout, 1.0, words, label="right")
        share = passed / (passed + failed) if self.partial and known and failed else 0.0
        return found(self.name, rollout, share, _failures(check, known), label="failed", passed=False)


def _failures(check: dict[str, Json], known: bool) -> str:
    names = [code(name) for name in check.get("names") or ()]
    if known and names:
        total = check["passed"] + check["failed"]
        return f"{check['failed']} of {counted(total, 'test')} failed: {listing(names, 5)}"
    said = _last_lines(check.get("output"))
    return f"the check ended with exit code {check.get('exit_code')}{f': {said}' if said else ''}"


@dataclass(frozen=True, slots=True)
class DiffContains:
    """Scores the share of conditions that the changed lines keep; passes where all do. Labels: `right`, `wrong`.

    Conditions are regular expressions, each looked for in every line that was added (or removed: `side`). Of
    `required`, each has to be found; of `forbidden`, none. `paths` are globs of the files that count, such as `src/**`;
    all by default. `meaning` says in words what a change has to be like (`logs instead of printing`): it makes the
    critique readable, and, with `suggest`, the suggestion.
    """

    required: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    paths: Sequence[str] = ()
    side: Literal["added", "removed"] = "added"
    meaning: str = ""
    suggest: bool = False
    name: str = "diff_contains"
    _required: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)
    _forbidden: tuple[re.Pattern[str], ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not self.required and not self.forbidden:
            raise ConfigError(f"judge {self.name}: give `required` or `forbidden` expressions")
        object.__setattr__(self, "_required", tuple(_compiled(self.name, text) for text in self.required))
        object.__setattr__(self, "_forbidden", tuple(_compiled(self.name, text) for text in self.forbidden))

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        diff = rollout.evidence.get("diff")
        if not isinstance(diff, str):
            return _no_evidence(self.name, rollout, "a diff")
        lines = [(path, line) for path, line in changed_lines(diff, self.side) if _matches(path, self.paths)]
        missing = [p.pattern for p in self._required if not any(p.search(line) for _, line in lines)]
        broken = [next(((path, line) for path, line in lines if p.search(line)), None) for p in self._forbidden]
        bad = [place for place in broken if place is not None]
        if rollout.evidence.get("diff_left_out") and (missing or len(bad) < len(broken)):
            return not_judged(self.name, rollout, Failure("truncated", "the diff was too long to be kept whole"))
        total = len(self._required) + len(self._forbidden)
        wanted = f" ({self.meaning})" if self.meaning else ""
        if not missing and not bad:
            return found(self.name, rollout, 1.0, f"the {self.side} lines are as they should be{wanted}", label="right")
        faults = [f"no {self.side} line has {code(pattern)}" for pattern in missing]
        faults += [f"{path}: {quote(line)}" for path, line in bad]
        suggestion = f"Every change {self.meaning.rstrip('.')}." if self.suggest and self.meaning else None
        return found(
            self.name,
            rollout,
            1 - (len(missing) + len(bad)) / total,
            f"{'; '.join(faults)}{wanted}",
            label="wrong",
            suggestion=suggestion,
        )


@dataclass(frozen=True, slots=True)
class DiffTouches:
    """Scores the share of conditions that the touched files keep; passes where all do. Labels: `right`, `wrong`.

    Globs of paths: `*` stays within a folder, `**` does not. Of `required`, each has to match a touched file; of
    `forbidden`, none may.
    """

    required: Sequence[str] = ()
    forbidden: Sequence[str] = ()
    name: str = "diff_touches"

    def __post_init__(self) -> None:
        if not self.required and not self.forbidden:
            raise ConfigError(f"judge {self.name}: give `required` or `forbidden` globs, such as tests/**")

    async def judge(self, example: Example, rollout: Rollout) -> Verdict:
        files = rollout.evidence.get("files")
        if not isinstance(files, dict):
            return _no_evidence(self.name, rollout, "a list of touched files")
        missing = [glob for glob in self.required if not any(path_matches(path, glob) for path in files)]
        bad = {glob: path for glob in self.forbidden for path in files if path_matches(path, glob)}
        if rollout.evidence.get("files_left_out") and (missing or len(bad) < len(self.forbidden)):
            return not_judged(self.name, rollout, Failure("truncated", "too many files were touched to list them all"))
        if not missing and not bad:
            return found(self.name, rollout, 1.0, f"touched {_touched(files)}", label="right")
        faults = [f"no file of {code(glob)} was touched" for glob in missing]
        faults += [f"{code(path)} was {files[path]}, which {code(glob)} forbids" for glob, path in bad.items()]
        share = 1 - (len(missing) + len(bad)) / (len(self.required) + len(self.forbidden))
        return found(self.name, rollout, share, f"{'; '.join(faults)}; touched {_touched(files)}", label="wrong")


def changed_lines(diff: str, side: Literal["added", "removed"]) -> Iterator[tuple[str, str]]:
    """(Path, line without its sign) of every added or removed line of a diff in git's form."""
    sign, header = ("+", "+++ b/") if side == "added" else ("-", "--- a/")
    path, old, new = "", 0, 0
    for line in diff.split("\n"):
        if line.startswith(_CUT):
            old = new = 0
        elif old > 0 or new > 0:  # within a hunk a line that looks like a header is none
            if line.startswith(sign):
                yield path, line[1:]
            old -= line[:1] in {"-", " ", ""}
            new -= line[:1] in {"+", " ", ""}
        elif match := _HUNK.match(line):
            old, new = (int(match[number] or 1) for number in (1, 2))
        elif line.startswith("diff --git "):
            path = ""
        elif line.startswith(header):
            path = line[len(header) :].removesuffix("\t")


_CUT = "[… "
"""Begins the mark of what was left out; no line of a hunk begins like this."""
_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def _compiled(name: str, text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise ConfigError(f"judge {name}: {text!r} is no regular expression: {error}") from error


def _matches(path: str, globs: Sequence[str]) -> bool:
    return not globs or any(path_matches(path, glob) for glob in globs)


def _touched(files: dict[str, Any]) -> str:
    return listing([code(path) for path in files], 6) or "no file"


def _last_lines(text: Json) -> str:
    """The last lines of what a program wrote, on one line."""
    lines = [line.strip() for line in str(text or "").splitlines() if line.strip()]
    return cut_end(" / ".join(lines[-_LINES_SHOWN:]), _OUTPUT_SHOWN)


def _no_evidence(name: str, rollout: Rollout, what: str) -> Verdict:
    return not_judged(
        name, rollout, Failure("program", f"the rollout is without {what}; {name} judges what a command left")
    )
