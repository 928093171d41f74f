"""Judges: how they score each version, where they fail, where they contradict each other and people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from promptlearn.records import Split, Verdict
from promptlearn.report.names import find_run, locate
from promptlearn.store.request_rows import DisputeRow
from promptlearn.store.rows import HUMAN

if TYPE_CHECKING:
    from promptlearn.store import Store

PAGE = 50


@dataclass(frozen=True, slots=True)
class JudgeOnVersion:
    """One judge on one prompt and split."""

    number: int
    """Of the candidate; -1 for a prompt that is none."""
    digest: str
    split: Split
    verdicts: int
    errors: int
    """What it could not judge (invariant 4)."""
    skipped: int
    """What it was not asked about, because a judge before it did not pass."""
    passed: int
    mean: float | None
    """Over what was judged; None where nothing was."""

    @property
    def pass_rate(self) -> float | None:
        """Of those that were judged; None where none was."""
        judged = self.verdicts - self.errors - self.skipped
        return self.passed / judged if judged else None


@dataclass(frozen=True, slots=True)
class JudgeLabels:
    """What one judge may answer, and so a person who answers its question."""

    scores: Mapping[str, float]
    """Label → score, the best first."""
    pass_at: float
    """The lowest score that passes."""


@dataclass(frozen=True, slots=True)
class JudgeReport:
    name: str
    by_version: tuple[JudgeOnVersion, ...]
    """By candidate and split."""
    labelled: int
    """Rollouts that people labelled and this judge scored."""
    agreed: int
    """Of these, how many scores are close (less than 0.5 apart)."""

    @property
    def verdicts(self) -> int:
        return sum(one.verdicts for one in self.by_version)

    @property
    def errors(self) -> int:
        return sum(one.errors for one in self.by_version)

    @property
    def agreement(self) -> float | None:
        """With people; None where nobody labelled anything."""
        return self.agreed / self.labelled if self.labelled else None


def judges(store: Store, which: str = "latest") -> tuple[JudgeReport, ...]:
    """Every judge of a run, by name; people are not among them. Raises `UsageError` naming runs."""
    run = find_run(store, which).id
    numbers = {digest: number for number, digest in store.reader.candidate_digests(run).items()}
    agreement = {row.judge: row for row in store.views.agreement(run)}
    found: dict[str, list[JudgeOnVersion]] = {}
    for row in store.views.judges(run):
        if row.judge.startswith(HUMAN):
            continue
        number = numbers.get(row.prompt, -1)
        errors = row.verdicts - row.scored - row.skipped
        one = JudgeOnVersion(number, row.prompt, row.split, row.verdicts, errors, row.skipped, row.passed, row.mean)
        found.setdefault(row.judge, []).append(one)
    reports = []
    for name, rows in found.items():
        known = agreement.get(name)
        ordered = tuple(sorted(rows, key=lambda one: (one.number, one.split)))
        reports.append(JudgeReport(name, ordered, known.pairs if known else 0, known.agreed if known else 0))
    return tuple(reports)


def judge_labels(store: Store, which: str = "latest") -> dict[str, JudgeLabels]:
    """The labels of a run's judges; judges that have none are not in it. Raises `UsageError` naming runs."""
    begun = store.views.events(find_run(store, which).id, kinds=("started",), limit=1, newest=True)
    kept = begun[0].body.get("judges") or {} if begun else {}
    return {
        name: JudgeLabels(dict(sorted(one["scores"].items(), key=lambda item: -item[1])), one["pass_at"])
        for name, one in kept.items()
    }


def disagreements(
    store: Store,
    run: str,
    version: str | int = "best",
    with_people: bool = False,
    offset: int = 0,
    limit: int = PAGE,
) -> list[DisputeRow]:
    """Verdicts on one output that are at least 0.5 apart, a page of them: of two judges, or of a judge and a person."""
    found = locate(store, run, version)
    return store.views.disputes(found.run, found.digest, with_people, offset, limit)


def judge_errors(store: Store, run: str, judge: str, version: str | int = "best", limit: int = 20) -> list[Verdict]:
    """What one judge could not judge, with the reason."""
    found = locate(store, run, version)
    return store.views.judge_errors(found.run, found.digest, judge, limit)
