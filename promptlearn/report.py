"""What happened in a run: read-only questions to the store, plain frozen records out.

For the CLI and the dashboard. Imports no model, judge or stage, and nothing of SQLAlchemy: it asks `store.reader` and
puts the answers together. A *version* names one prompt of a run: `baseline`, `best`, a candidate's number, or the
beginning of a digest.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import (
    ROLES,
    Candidate,
    Decision,
    Failure,
    Json,
    Message,
    Prompt,
    Role,
    Rule,
    Split,
    Usage,
    Verdict,
    as_text,
)
from promptlearn.store.rows import EVALUATION, TUNING, CandidateRow, EventRow, FailedRow, RunRow, RunState, ScoreRow
from promptlearn.store.tuning_rows import TuningSample, TuningStep, TuningValidation

if TYPE_CHECKING:
    from promptlearn.store import Store

SHOWN = 5
"""How many names an error message offers."""


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One line of the list of runs."""

    id: str
    created_at: str
    """ISO 8601, UTC."""
    state: RunState
    stop_reason: str
    seed: int
    config_digest: str
    active_seconds: float
    decision: str | None
    """`improved`, `not_proven` or `regressed`; None before the test split was read."""
    baseline_score: float | None
    """Mean score on the test split; None before that was read. So are the next two."""
    best_score: float | None
    """Of an evaluation: the score that it measured, on whatever split. Of a training run, both are validation's."""
    delta: float | None

    @property
    def is_evaluation(self) -> bool:
        """Whether this run only measured a prompt and learned nothing."""
        return self.config_digest.startswith(EVALUATION)

    @property
    def is_tuning(self) -> bool:
        """Whether this run trained weights; `tuning` reads it."""
        return self.config_digest.startswith(TUNING)


@dataclass(frozen=True, slots=True)
class CandidateReport:
    """One prompt of the run: how it came to be, what it scored, what was decided."""

    number: int
    """0 is the baseline."""
    digest: str
    parents: tuple[str, ...]
    proposer: str
    rationale: str
    usage: Usage
    """What proposing it cost."""
    rules: tuple[Rule, ...]
    decisions: tuple[Decision, ...]
    """In the order in which they were taken."""
    scores: tuple[ScoreRow, ...]
    """Each judge's mean, for each split that the prompt was run on."""
    failures: tuple[FailedRow, ...]
    """Rollouts and how many of them failed, for each split."""

    @property
    def outcome(self) -> str | None:
        """Of the last decision; None where none was taken."""
        return self.decisions[-1].outcome if self.decisions else None


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything about one run but its rollouts and events' rows, which are asked for when they are shown."""

    summary: RunSummary
    config: Json
    versions: Mapping[str, str]
    result: Json
    """What `run --json` printed; None before the run is finished."""
    baseline: str | None
    """Digest."""
    best: str | None
    """Digest: of the result, or of the last accepted candidate so far."""
    candidates: tuple[CandidateReport, ...]
    usage: Mapping[Role, Usage]
    test_reads: int
    """How often the test split was read (invariant 5)."""
    events: tuple[EventRow, ...]

    @property
    def id(self) -> str:
        return self.summary.id


@dataclass(frozen=True, slots=True)
class ExampleReport:
    """One row of one prompt: what went in, what came out, and what was said about it."""

    id: str
    split: Split
    inputs: Mapping[str, Json]
    """Empty where the run did not keep its examples. `expected` is None then."""
    expected: Json
    output: str
    error: Failure | None
    verdicts: tuple[Verdict, ...]
    """By judge's name; each with its explanation (invariant 11)."""
    usage: Usage
    seconds: float
    evidence: Mapping[str, Json] = field(default_factory=dict)
    """What a command left behind."""


@dataclass(frozen=True, slots=True)
class TuningReport:
    """A run that trains weights, as far as it has come."""

    summary: RunSummary
    config: Json
    """Of the run; `tuning` stands in it as the run has it."""
    result: Json
    """What `tune run --json` printed; None before the run is finished."""
    steps: tuple[TuningStep, ...]
    validations: tuple[TuningValidation, ...]
    """Readings of the validation split; the first is of the base."""
    warnings: tuple[str, ...]
    """What was said about the set-up before and at the beginning of training."""

    @property
    def id(self) -> str:
        return self.summary.id


@dataclass(frozen=True, slots=True)
class Version:
    """One prompt of a run."""

    run: str
    digest: str


def list_runs(store: Store, limit: int | None = None) -> list[RunSummary]:
    """Every run or the newest `limit`, the newest first. How many rollouts they have costs nothing."""
    return [_summary(row) for row in store.reader.runs(limit)]


def load_run(store: Store, which: str = "latest") -> RunReport:
    """A run by id, by the beginning of its id that no other has, or the `latest`.

    The latest is the newest that learns, or the newest evaluation where none does. Raises `UsageError` naming runs.
    """
    row = _find_run(store, which)
    decisions = store.reader.decisions(row.id)
    scores, failures = store.reader.scores(row.id), store.reader.failures(row.id)
    candidates = _candidates(store.reader.candidates(row.id), decisions, scores, failures)
    baseline = _baseline(row, {candidate.number: candidate.digest for candidate in candidates})
    return RunReport(
        summary=_summary(row),
        config=row.config,
        versions=row.versions,
        result=row.result,
        baseline=baseline,
        best=_best(row, decisions, baseline),
        candidates=candidates,
        usage=_usage(row, candidates, scores, failures),
        test_reads=len(store.reader.test_reads(row.id)),
        events=tuple(store.reader.events(row.id)),
    )


def prompt(store: Store, run: str, version: str | int = "best") -> Prompt:
    """Any prompt of a run. Raises `UsageError` naming versions where there is none such."""
    return _prompt(store, locate(store, run, version))


def locate(store: Store, which: str, version: str | int = "best") -> Version:
    """The run and the digest that two names mean, without adding up any rows. Raises `UsageError` with what exists."""
    row = _find_run(store, which)
    digests = store.reader.candidate_digests(row.id)
    baseline = _baseline(row, digests)
    best = _best(row, store.reader.decisions(row.id), baseline)
    return Version(row.id, _named(row.id, version, baseline, best, digests))


def run_config(store: Store, run: str) -> Json:
    """The configuration that a run was started with. Raises `UsageError` naming runs."""
    return _find_run(store, run).config


def find_version(report: RunReport, version: str | int) -> str:
    """The digest that a version names. Raises `UsageError` with what exists."""
    digests = {candidate.number: candidate.digest for candidate in report.candidates}
    return _named(report.id, version, report.baseline, report.best, digests)


def _named(run: str, version: str | int, baseline: str | None, best: str | None, candidates: Mapping[int, str]) -> str:
    name = str(version)
    named = {"baseline": baseline, "best": best}
    named |= {str(number): digest for number, digest in candidates.items()}
    if digest := named.get(name):
        return digest
    known = {digest for digest in named.values() if digest}
    found = sorted(digest for digest in known if name and digest.startswith(name))
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"several prompts of run {run} begin with {name!r}: {_some(found)}; give more of it")
    exist = [name for name, digest in named.items() if digest]
    raise UsageError(
        f"run {run} has no prompt {name!r}: there are {_some(exist) or 'none yet'}, or a digest's beginning"
    )


def examples(
    store: Store, run: str, version: str | int = "best", split: Split | None = "validation"
) -> list[ExampleReport]:
    """The rows that a prompt was run on (`split=None`: of every split), with the words of their verdicts."""
    found = locate(store, run, version)
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in store.reader.verdicts(found.run, found.digest, split):
        verdicts[verdict.rollout].append(verdict)
    kept = {row.example.id: row.example for row in store.reader.examples(found.run, split)}
    rows = []
    for row in store.reader.rollouts(found.run, found.digest, split):
        rollout, example = row.rollout, kept.get(row.rollout.example)
        rows.append(
            ExampleReport(
                id=rollout.example,
                split=row.split,
                inputs=example.inputs if example else {},
                expected=example.expected if example else None,
                output=rollout.output,
                error=rollout.error,
                verdicts=tuple(verdicts[rollout.id]),
                usage=rollout.usage,
                seconds=rollout.seconds,
                evidence=rollout.evidence,
            )
        )
    return rows


def tuning(store: Store, which: str = "latest") -> TuningReport:
    """A run that trains weights, by id or its beginning, or the `latest`; ask again to follow it.

    Raises `UsageError` naming runs.
    """
    newest = store.reader.runs(1, tunes=True) if which == "latest" else []
    if which == "latest" and not newest:
        raise UsageError(f"the store at {store.where} has no training run yet: start one with `promptlearn tune run`")
    row = newest[0] if newest else _find_run(store, which)
    summary = _summary(row)
    if not summary.is_tuning:
        raise UsageError(f"run {row.id} trained no weights: see it with `promptlearn show {row.id}`")
    said = [event.body for event in store.reader.events(row.id) if event.kind in ("started", "warning")]
    return TuningReport(
        summary=summary,
        config=row.config,
        result=row.result,
        steps=tuple(store.tuning.steps(row.id)),
        validations=tuple(store.tuning.validations(row.id)),
        warnings=tuple(dict.fromkeys(text for body in said for text in body.get("warnings", ()))),
    )


def tuning_samples(store: Store, run: str, step: int) -> list[TuningSample]:
    """What one step of a training run sampled, with rewards and the judges' words."""
    return store.tuning.samples(run, step)


def lineage(report: RunReport, version: str | int = "best") -> tuple[CandidateReport, ...]:
    """A prompt and all its ancestors, the oldest first."""
    by_digest = {candidate.digest: candidate for candidate in report.candidates}
    found: dict[str, CandidateReport] = {}
    waiting = [find_version(report, version)]
    while waiting:
        digest = waiting.pop()
        if digest in by_digest and digest not in found:
            found[digest] = by_digest[digest]
            waiting.extend(by_digest[digest].parents)
    return tuple(sorted(found.values(), key=lambda candidate: candidate.number))


def diff(store: Store, run: str, old: str | int = "baseline", new: str | int = "best") -> str:
    """What changed between two prompts of a run, as a unified diff; empty where nothing did."""
    texts = [as_document(prompt(store, run, version)) for version in (old, new)]
    return unified_diff(texts[0], texts[1], (str(old), str(new)))


def unified_diff(a: str, b: str, names: tuple[str, str] = ("baseline", "best")) -> str:
    """A unified diff of two texts, lines ending at `\\n` alone; empty where they are equal."""
    lines = difflib.unified_diff(_lines(a), _lines(b), *names)
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def as_document(prompt: Prompt) -> str:
    """Everything that a prompt says, as one text for people: its messages by role, then demonstrations as turns."""
    messages = list(prompt.messages)
    learned = prompt.layout.before + prompt.learned_text() + prompt.layout.after
    messages[prompt.learned] = Message(messages[prompt.learned].role, learned)
    turns = prompt.demonstrations if prompt.layout.demonstrations == "turns" else ()
    if len(messages) == 1 and not turns:
        return learned
    parts = [f"[{message.role}]\n{message.content}" for message in messages]
    for demo in turns:
        shown = "\n".join(f"{name}: {as_text(value)}" for name, value in demo.inputs.items())
        parts.append(f"[example]\n{shown}\nAnswer: {demo.output}")
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _find_run(store: Store, which: str) -> RunRow:
    if which == "latest":
        newest = store.reader.runs(1, learns=True) or store.reader.runs(1)
        if newest:
            return newest[0]
    found = store.reader.runs(SHOWN + 1, begins=which.lower()) if which else []
    if len(found) == 1:
        return found[0]
    if found:
        raise UsageError(f"several runs begin with {which!r}: {_newest(found)}; give more of it")
    names = _newest(store.reader.runs(SHOWN + 1))
    if not names:
        raise UsageError(f"the store at {store.where} has no run yet: start one with `promptlearn run`")
    raise UsageError(f"the store at {store.where} has no run {which!r}: the newest are {names}; or say `latest`")


def _summary(row: RunRow) -> RunSummary:
    evaluated = row.config_digest.startswith(EVALUATION)
    trained = row.config_digest.startswith(TUNING)
    return RunSummary(
        id=row.id,
        created_at=row.created_at,
        state=row.state,
        stop_reason=row.stop_reason,
        seed=row.seed,
        config_digest=row.config_digest,
        active_seconds=row.active_seconds,
        decision=_at(row.result, "decision"),
        baseline_score=_at(row.result, *(("baseline",) if trained else ("baseline", "test", "score"))),
        best_score=_at(row.result, *(("score",) if evaluated else ("best",) if trained else ("best", "test", "score"))),
        delta=_at(row.result, "delta", "score"),
    )


def _candidates(
    rows: Iterable[CandidateRow],
    decisions: Iterable[Decision],
    scores: Iterable[ScoreRow],
    failures: Iterable[FailedRow],
) -> tuple[CandidateReport, ...]:
    taken: dict[str, list[Decision]] = defaultdict(list)
    for decision in decisions:
        taken[decision.candidate].append(decision)
    scored: dict[str, list[ScoreRow]] = defaultdict(list)
    for score in scores:
        scored[score.prompt].append(score)
    failed: dict[str, list[FailedRow]] = defaultdict(list)
    for failure in failures:
        failed[failure.prompt].append(failure)

    def report(number: int, candidate: Candidate) -> CandidateReport:
        digest = candidate.digest
        return CandidateReport(
            number=number,
            digest=digest,
            parents=candidate.parents,
            proposer=candidate.proposer,
            rationale=candidate.rationale,
            usage=candidate.usage,
            rules=candidate.prompt.rules,
            decisions=tuple(taken[digest]),
            scores=tuple(scored[digest]),
            failures=tuple(failed[digest]),
        )

    return tuple(report(row.number, row.candidate) for row in rows)


def _prompt(store: Store, version: Version) -> Prompt:
    """As this run has it, with its provenance; otherwise as the store has it."""
    own = store.reader.candidate(version.run, version.digest)
    found = own.prompt if own else store.reader.prompt(version.digest)
    if found is None:
        what = f"run {version.run} names the prompt {version.digest}"
        raise UsageError(f"{what}, and the store at {store.where} does not have its text")
    return found


def _baseline(row: RunRow, candidates: Mapping[int, str]) -> str | None:
    digest: str | None = _at(row.result, "baseline", "digest") or candidates.get(0)
    return digest


def _best(row: RunRow, decisions: Iterable[Decision], baseline: str | None) -> str | None:
    digest: str | None = _at(row.result, "best", "digest") or _last_accepted(decisions) or baseline
    return digest


def _usage(
    row: RunRow, candidates: Iterable[CandidateReport], scores: Iterable[ScoreRow], failures: Iterable[FailedRow]
) -> dict[Role, Usage]:
    """By role: as the result counts it, or summed up from what is stored so far."""
    counted = _at(row.result, "usage")
    if counted:
        names = {field.name for field in fields(Usage)}
        return {
            role: Usage(**{name: value for name, value in counted.get(role, {}).items() if name in names})
            for role in ROLES
        }
    return {
        "task": sum((found.usage for found in failures), Usage()),
        "judge": sum((found.usage for found in scores), Usage()),
        "meta": sum((found.usage for found in candidates), Usage()),
    }


def _last_accepted(decisions: Iterable[Decision]) -> str | None:
    """The incumbent: only a race or pruning makes one."""
    accepted = [d.candidate for d in decisions if d.outcome == "accepted" and d.stage in ("race", "prune")]
    return accepted[-1] if accepted else None


def _at(value: Json, *path: str) -> Json:
    """The value under a path of keys; None where one is missing."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _lines(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def _newest(runs: Sequence[RunRow]) -> str:
    return ", ".join(row.id for row in runs[:SHOWN]) + (" and older ones" if len(runs) > SHOWN else "")


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
