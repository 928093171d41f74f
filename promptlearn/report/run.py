"""One run as a whole: its candidates with their scores and decisions, and what it used."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from promptlearn.records import ROLES, Candidate, Decision, Json, Role, Rule, Usage
from promptlearn.report.names import baseline_of, best_of, find_run, find_version, value_at
from promptlearn.report.prompts import changed
from promptlearn.report.runs import RunSummary, summarise
from promptlearn.store.rows import CandidateRow, EventRow, FailedRow, RunRow, ScoreRow

if TYPE_CHECKING:
    from promptlearn.store import Store


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
    changed: tuple[str, ...] = ()
    """Which of a program's several prompts differ from the first parent's."""

    @property
    def outcome(self) -> str | None:
        """Of the decision that counts; None where none was taken."""
        return self.fate.outcome if self.fate else None

    @property
    def fate(self) -> Decision | None:
        """The decision that counts."""
        return fate(self.proposer, self.decisions)


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

    @property
    def alarms(self) -> tuple[str, ...]:
        """Signs, found on the test split, that judges may be fooled: where a person should look; one line each."""
        found = self.result.get("alarms", ()) if isinstance(self.result, dict) else ()
        return tuple(f"alarm ({alarm['kind']}): {alarm['message']}" for alarm in found)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the run warned of in its result."""
        return tuple(self.result.get("warnings", ())) if isinstance(self.result, dict) else ()


def load_run(store: Store, which: str = "latest") -> RunReport:
    """A run by id, by the beginning of its id that no other has, or the `latest`.

    The latest is the newest that learns a user's prompt; where none does, the newest that does not learn a judge's
    (an evaluation, say). Raises `UsageError` naming runs.
    """
    row = find_run(store, which)
    decisions = store.reader.decisions(row.id)
    scores, failures = store.reader.scores(row.id), store.reader.failures(row.id)
    candidates = _candidates(store.reader.candidates(row.id), decisions, scores, failures)
    baseline = baseline_of(row, {candidate.number: candidate.digest for candidate in candidates})
    return RunReport(
        summary=summarise(store, row),
        config=row.config,
        versions=row.versions,
        result=row.result,
        baseline=baseline,
        best=best_of(row, decisions, baseline),
        candidates=candidates,
        usage=_usage(row, (one.usage for one in candidates), scores, failures),
        test_reads=len(store.reader.test_reads(row.id)),
        events=tuple(store.reader.events(row.id)),
    )


def fate(proposer: str, decisions: Sequence[Decision]) -> Decision | None:
    """The last decision about a prompt; None where none was taken. That leaving out a part of another prompt led back
    to it, and was not worth it, says nothing about a prompt that was there before.
    """
    own = [one for one in decisions if one.stage != "prune" or one.outcome == "accepted" or proposer == "prune"]
    return own[-1] if own else None


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

    known = [(row.number, row.candidate) for row in rows]
    prompts = {candidate.digest: candidate.prompt for _, candidate in known}

    def report(number: int, candidate: Candidate) -> CandidateReport:
        digest = candidate.digest
        parent = prompts.get(candidate.parents[0]) if candidate.parents else None
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
            changed=changed(parent, candidate.prompt) if parent else (),
        )

    return tuple(report(number, candidate) for number, candidate in known)


def usage_of(store: Store, row: RunRow, candidates: Iterable[CandidateRow]) -> dict[Role, Usage]:
    """What a run used, by role."""
    proposing = (one.candidate.usage for one in candidates)
    return _usage(row, proposing, store.reader.scores(row.id), store.reader.failures(row.id))


def _usage(
    row: RunRow, proposing: Iterable[Usage], scores: Iterable[ScoreRow], failures: Iterable[FailedRow]
) -> dict[Role, Usage]:
    """By role: as the result counts it, or summed up from what is stored so far."""
    counted = value_at(row.result, "usage")
    if counted:
        names = {field.name for field in fields(Usage)}
        return {
            role: Usage(**{name: value for name, value in counted.get(role, {}).items() if name in names})
            for role in ROLES
        }
    return {
        "task": sum((found.usage for found in failures), Usage()),
        "judge": sum((found.usage for found in scores), Usage()),
        "meta": sum(proposing, Usage()),
    }
