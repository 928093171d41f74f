"""What a run has to propose: the prompt that won, the prompt that it beat, and the evidence. Read from the store alone.

Knows reports; knows nothing about files in git, Markdown or a forge. Everything here is the same each time it is read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from promptlearn.errors import UsageError
from promptlearn.records import Demonstration, Interval, Json, Prompt, Role, Rule, Usage
from promptlearn.report import ExampleReport, RunReport, examples, lineage, load_run
from promptlearn.report import prompt as stored_prompt
from promptlearn.result import Difference, Measure

if TYPE_CHECKING:
    from promptlearn.store import Store


@dataclass(frozen=True, slots=True)
class Winner:
    run: str
    seed: int
    versions: Mapping[str, str]
    config: Mapping[str, Json]
    """As it was given; empty for a run that was started from Python."""
    old: Prompt
    new: Prompt
    before: Measure
    after: Measure
    difference: Difference
    worse: tuple[str, ...]
    """Ids of test examples that a judge scored lower than before, or that have no score any more; by id."""
    better: tuple[str, ...]
    """Ids of test examples that a judge scored higher, and none lower."""
    steps: tuple[tuple[str, str], ...]
    """Proposer and rationale of each prompt on the way, the oldest first."""
    usage: Mapping[Role, Usage]
    test_reads: int

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Rules that the old prompt does not have."""
        known = {rule.text for rule in self.old.rules}
        return tuple(rule for rule in self.new.rules if rule.text not in known)

    @property
    def dropped_rules(self) -> tuple[Rule, ...]:
        kept = {rule.text for rule in self.new.rules}
        return tuple(rule for rule in self.old.rules if rule.text not in kept)

    @property
    def demonstrations(self) -> tuple[Demonstration, ...]:
        """Demonstrations that the old prompt does not have."""
        known = {(str(demo.inputs), demo.output) for demo in self.old.demonstrations}
        return tuple(demo for demo in self.new.demonstrations if (str(demo.inputs), demo.output) not in known)

    @property
    def is_rewritten(self) -> bool:
        """Whether the learned text itself says something else, rules and demonstrations apart."""
        return self.old.text != self.new.text

    @property
    def file(self) -> Path | None:
        """The prompt file of the run, as its configuration names it."""
        source = self.config.get("prompt")
        return Path(source["file"]) if isinstance(source, dict) and source.get("file") else None

    @property
    def files(self) -> dict[str, Path]:
        """Those of a program's several prompts, by name; empty where the run learned one prompt."""
        source = self.config.get("prompt")
        found = source.get("files") if isinstance(source, dict) else None
        return {name: Path(path) for name, path in (found or {}).items()}

    @property
    def own_files(self) -> tuple[Path, ...]:
        """All that the run read its prompts from; empty for a run that was started from Python."""
        return tuple(self.files.values()) if self.file is None else (self.file,)

    @property
    def key(self) -> str | None:
        """The key of the prompt inside that file."""
        source = self.config.get("prompt")
        return source.get("key") if isinstance(source, dict) else None

    @property
    def literals(self) -> tuple[str, ...]:
        contract = self.config.get("contract")
        return tuple(contract.get("literals") or ()) if isinstance(contract, dict) else ()


def find_winner(store: Store, which: str = "latest") -> Winner:
    """The winner of a run. Raises `UsageError` for a run that has proven no improvement (invariant 7)."""
    report = load_run(store, which)
    result = _proven(report)
    old, new = (stored_prompt(store, report.id, version) for version in ("baseline", "best"))
    before, after = (examples(store, report.id, version, "test") for version in ("baseline", "best"))
    worse, better = _changes(before, after)
    delta = result["delta"]
    return Winner(
        run=report.id,
        seed=report.summary.seed,
        versions=report.versions,
        config=report.config if isinstance(report.config, dict) else {},
        old=old,
        new=new,
        before=_measure(result["baseline"]["test"]),
        after=_measure(result["best"]["test"]),
        difference=Difference(
            delta["score"], Interval(*delta["ci95"]), delta["p_value"], str(delta["test"]), delta["n"]
        ),
        worse=worse,
        better=better,
        steps=tuple((step.proposer, step.rationale) for step in lineage(report) if step.parents),
        usage=report.usage,
        test_reads=report.test_reads,
    )


def _proven(report: RunReport) -> dict[str, Json]:
    """The result of a run that improved."""
    if report.summary.is_evaluation:
        raise UsageError(f"{report.id} is an evaluation, which learns nothing; name a run (see `promptlearn runs`)")
    if report.summary.is_tuning:
        raise UsageError(f"{report.id} trained weights, and no prompt; name another run (see `promptlearn runs`)")
    if report.summary.aligns:
        raise UsageError(f"{report.id} learned a judge's prompt; name a run of your own (see `promptlearn runs`)")
    if report.summary.decision is None or not isinstance(report.result, dict):
        raise UsageError(
            f"run {report.id} is {report.summary.state} and has no result yet; "
            f"finish it with `promptlearn resume {report.id}`"
        )
    if report.summary.decision != "improved":
        raise UsageError(
            f"run {report.id} is {report.summary.decision}: no improvement is proven on its test split, so there is "
            f"nothing to propose; see what it tried with `promptlearn show {report.id}`"
        )
    return report.result


def _changes(
    before: Sequence[ExampleReport], after: Sequence[ExampleReport]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Examples that are worse and better now, judge by judge: no weights, so that none hides a loss."""
    known = {row.id: _scores(row) for row in before}
    worse, better = [], []
    for row in after:
        now = _scores(row)
        pairs = [(score, now.get(judge)) for judge, score in known.get(row.id, {}).items()]
        if any(new is None or new < old for old, new in pairs):
            worse.append(row.id)
        elif any(new is not None and new > old for old, new in pairs):
            better.append(row.id)
    return tuple(sorted(worse)), tuple(sorted(better))


def _scores(row: ExampleReport) -> dict[str, float]:
    return {verdict.name: verdict.score for verdict in row.verdicts if verdict.score is not None}


def _measure(measured: Json) -> Measure:
    return Measure(measured["score"], measured["n"], measured["errors"], Interval(*measured["ci95"]))
